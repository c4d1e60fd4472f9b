"""Every sampling value is sent, the neutral ones too; what a strict server refuses is left out
where the eval stays the same, and named where it does not."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sekft_engine.contract.chat import Chat
from sekft_engine.contract.fields import NEUTRAL, FieldNeeded
from sekft_engine.contract.http import client as http
from sekft_engine.contract.http.client import Client
from tests.contract.conftest import Base, Check
from tests.contract.servers import (
    Answer,
    Body,
    ModelServer,
    Reply,
    error,
    models,
    raw_server,
    transformers_feed,
)

CHAT = "POST /v1/chat/completions"
TURNS = [{"role": "user", "content": "$"}]
GOOD: dict[str, Any] = {"choices": [{"message": {"content": "ls"}, "finish_reason": "stop"}]}
Refuse = Callable[[Body], Reply | dict[str, Any] | None]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_FIRST_PAUSE", 0.001)


@pytest.fixture
def serve() -> Iterator[Callable[[Refuse], ModelServer]]:
    """A server that answers ``ls`` wherever ``refuse`` does not answer."""
    running: list[ModelServer] = []

    def serve(refuse: Refuse) -> ModelServer:
        routes: dict[str, Answer] = {CHAT: lambda body: refuse(body) or GOOD}
        server = ModelServer(models("m") | routes).__enter__()
        running.append(server)
        return server

    yield serve
    for server in running:
        server.__exit__()


def ask(server: ModelServer, temperature: float = 0.0, times: int = 1) -> Chat:
    with Client(server.url) as client:
        chat = Chat(client, "m", turn_tokens=16, temperature=temperature)
        for seed in range(times):
            assert chat.ask(TURNS, seed=seed).text == "ls"
    return chat


Serve = Callable[[Refuse], ModelServer]


def test_all_sampling_values_are_sent(serve: Serve) -> None:
    server = serve(lambda _: None)
    chat = ask(server)
    (body,) = server.asked(CHAT)
    assert {name: body[name] for name in NEUTRAL} == NEUTRAL
    assert body["top_k"] == 0
    assert (body["max_tokens"], body["temperature"], body["stream"]) == (16, 0, False)
    assert chat.sent.refused == {}
    assert chat.rows == {"words": 1}


def openai(body: Body) -> Reply | None:
    """Names what it does not know in its words."""
    strange = [name for name in ("top_p", "min_p", "repetition_penalty") if name in body]
    if strange:
        return error(400, f"Unrecognized request argument supplied: {strange[0]}")
    return None


def fastapi(body: Body) -> Reply | None:
    """Names what it does not know in a field of its own."""
    strange = [name for name in ("top_p", "min_p") if name in body]
    detail = [
        {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}
        for name in strange
    ]
    return Reply(422, {"detail": detail}) if strange else None


def careless(body: Body) -> Reply | None:
    """Passes on what it gets, and dies of it."""
    if "min_p" in body:
        return error(500, "generate() got an unexpected keyword argument 'min_p'")
    return None


def wordless(body: Body) -> Reply | None:
    """Refuses without saying what."""
    return error(400, "invalid request") if NEUTRAL.keys() & body.keys() else None


def gateway(body: Body) -> dict[str, Any] | None:
    """Refuses inside a 200."""
    if "repeat_penalty" in body:
        return {"error": {"message": "repeat_penalty: unknown", "code": 400}}
    return None


@pytest.mark.parametrize(
    ("refuse", "left_out"),
    [
        (openai, {"top_p", "min_p", "repetition_penalty"}),
        (fastapi, {"top_p", "min_p"}),
        (careless, {"min_p"}),
        (wordless, {*NEUTRAL, "seed"}),
        (gateway, {"repeat_penalty"}),
    ],
)
def test_what_a_strict_server_refuses_is_left_out_and_remembered(
    refuse: Refuse, left_out: set[str], serve: Serve
) -> None:
    server = serve(refuse)
    chat = ask(server, times=2)
    assert chat.sent.refused.keys() == left_out
    assert all(chat.sent.refused.values()), "in the server's own words"
    assert not left_out & server.asked(CHAT)[-1].keys()
    assert server.asked(CHAT)[-1]["temperature"] == 0
    asked = chat.rows["field_dropped"]
    assert len(server.asked(CHAT)) == asked + 2, "the second time it is known"


def test_all_tokens_are_asked_for_in_either_way(serve: Serve) -> None:
    """Servers disagree on whether 0 or -1 means that none is cut off."""

    def old_vllm(body: Body) -> Reply | None:
        words = "top_k must be -1 (disable), or at least 1, got 0."
        return error(400, words) if body.get("top_k") == 0 else None

    def no_top_k(body: Body) -> Reply | None:
        return error(400, "unknown field: top_k") if "top_k" in body else None

    chat = ask(serve(old_vllm))
    assert chat.sent.fields["top_k"] == -1
    assert chat.sent.refused.keys() == {"top_k 0"}
    assert ask(serve(no_top_k)).sent.refused.keys() == {"top_k 0", "top_k"}


def test_a_server_that_hangs_up_over_a_field_is_asked_without() -> None:
    """Some die of what they do not know, without an answer."""

    def talk(connection: socket.socket, _: threading.Event) -> None:
        connection.settimeout(5)
        asked = asking.pop(connection, b"")
        while not asked.endswith(b"}"):
            asked += connection.recv(65536)
        data = json.dumps(GOOD).encode()
        if b"min_p" not in asked:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)

    asking: dict[socket.socket, bytes] = {}
    with raw_server(talk, asking) as url, Client(url) as client:
        chat = Chat(client, "m", turn_tokens=16, temperature=0.0)
        assert chat.ask(TURNS, seed=1).text == "ls"
        assert set(NEUTRAL) <= chat.sent.refused.keys()
        assert chat.rows == {"field_dropped": 1, "words": 1}


def test_a_refusal_that_fields_do_not_explain_leaves_them_in(serve: Serve) -> None:
    """Where it refuses without them too, they were not to blame."""

    def dumps(body: Body) -> Reply | None:
        # Some repeat the whole request, the names of its fields included.
        return error(400, f"messages: bad role. Input: {sorted(body)}") if body["seed"] else None

    server = serve(dumps)
    with Client(server.url) as client:
        chat = Chat(client, "m", turn_tokens=16, temperature=0.7)
        assert chat.ask(TURNS, seed=7).kind == "refused"
        assert chat.sent.refused == {}
        assert chat.ask(TURNS, seed=0).text == "ls"
        assert server.asked(CHAT)[-1].keys() >= NEUTRAL.keys()
        asked = len(server.asked(CHAT))
        assert chat.ask(TURNS, seed=7).kind == "refused"
    assert chat.sent.refused == {}
    assert len(server.asked(CHAT)) > asked


def test_the_tokens_of_a_turn_go_by_their_newer_name_where_that_is_taken(serve: Serve) -> None:
    def newer(body: Body) -> Reply | None:
        if "max_tokens" not in body:
            return None
        words = "Unsupported parameter: 'max_tokens' is not supported with this model. "
        return error(400, words + "Use 'max_completion_tokens' instead.")

    chat = ask(serve(newer))
    assert chat.sent.fields["max_completion_tokens"] == 16
    assert chat.sent.refused.keys() == {"max_tokens"}
    neither = serve(
        lambda body: error(400, f"{next(name for name in body if name.startswith('max_'))} > 8")
    )
    with pytest.raises(FieldNeeded, match=r"refuses max_completion_tokens 16 .*--turn-tokens"):
        ask(neither)


def test_another_temperature_or_no_seed_would_be_another_eval(serve: Serve) -> None:
    def warm(body: Body) -> Reply | None:
        words = "Unsupported value: 'temperature' does not support this value. Only 1 is supported."
        return error(400, words) if body.get("temperature", 1) != 1 else None

    def unseeded(body: Body) -> Reply | None:
        return error(400, "seed is not supported") if "seed" in body else None

    def no_temperature(body: Body) -> Reply | None:
        return error(400, "unknown field: temperature") if "temperature" in body else None

    with pytest.raises(FieldNeeded, match=r"m: the server refuses temperature 0 .*--temperature"):
        ask(serve(warm))
    assert ask(serve(warm), temperature=1.0).sent.refused == {}
    # What is the default of every server need not be said.
    assert ask(serve(no_temperature), temperature=1.0).sent.refused.keys() == {"temperature"}
    # A greedy model draws nothing.
    assert ask(serve(unseeded)).sent.refused.keys() == {"seed"}
    with pytest.raises(FieldNeeded, match=r"refuses seed .*--temperature 0"):
        ask(serve(unseeded), temperature=0.7)


def test_an_error_that_passes_is_waited_for_and_one_about_a_field_is_not(serve: Serve) -> None:
    asked: list[int] = []

    def stumbles(body: Body) -> Reply | dict[str, Any] | None:
        asked.append(1)
        if len(asked) == 1:
            return {"error": {"message": "Rate limit exceeded", "code": 429}}
        if len(asked) == 2:
            return {"choices": [{"message": {"content": ""}, "finish_reason": "error"}]}
        return None

    assert ask(serve(stumbles)).rows == {"busy": 1, "finish_error": 1, "words": 1}
    assert ask(serve(careless)).rows == {"field_dropped": 1, "words": 1}


def test_the_contract_check_does_without_fields_too(check: Check, smol: Base) -> None:
    feed = transformers_feed(smol.theirs)

    def chat(body: Body) -> Reply | dict[str, Any]:
        for name in ("return_token_ids", "temperature"):
            if name in body:
                return error(400, f"Unsupported parameter: {name}")
        if "max_tokens" in body:
            return error(400, "'max_tokens' is not supported. Use 'max_completion_tokens' instead.")
        return GOOD | {"usage": {"prompt_tokens": len(feed(body["messages"]))}}

    done = check(models("base") | {CHAT: chat})
    assert (done.status, done.document["strength"]) == (0, "counts")
