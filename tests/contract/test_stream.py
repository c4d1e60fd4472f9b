"""Answers that come word by word are judged as if they had come whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sekft_engine.contract.chat import Chat
from sekft_engine.contract.http.client import Client
from sekft_engine.contract.http.stream import StreamedCompletion
from tests.contract.servers import ModelServer, Reply, error

ROUTE = "POST /v1/chat/completions"
EVENTS = {"Content-Type": "text/event-stream; charset=utf-8"}
HISTORY = [{"role": "user", "content": "$"}]


def piece(**choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, **choice}]}


def stream(*chunks: Any, done: bool = True) -> Reply:
    lines = [f"data: {json.dumps(chunk)}\r\n\r\n" for chunk in chunks]
    return Reply(200, "".join([*lines, "data: [DONE]\n\n" * done]).encode(), EVENTS)


WORDS = (
    piece(delta={"role": "assistant", "content": ""}, finish_reason=None),
    piece(delta={"content": "ls "}),
    piece(delta={"content": "nötes"}, finish_reason="stop"),
    {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}},
)


def ask(answer: Any) -> tuple[Any, list[str], list[Any]]:
    """How an answer is judged, the words as they came, and what was asked."""
    written: list[str] = []
    with (
        ModelServer({ROUTE: answer}) as server,
        Client(server.url, attempts=2, sleep=lambda _: None) as client,
    ):
        chat = Chat(client, "m", turn_tokens=8, temperature=0)
        judged = chat.ask(HISTORY, seed=0, written=written.append)
        return judged, written, server.asked(ROUTE)


def test_a_stream_gives_its_words_and_the_answer_of_one_that_is_whole() -> None:
    judged, written, asked = ask(lambda _body: stream(*WORDS))
    assert (judged.kind, judged.text, judged.prompt_tokens) == ("words", "ls nötes", 7)
    assert written[-1] == "ls nötes"
    assert asked[0]["stream"] is True
    assert asked[0]["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_pieces_may_be_cut_anywhere(size: int) -> None:
    data = stream(*WORDS).data
    streamed = StreamedCompletion()
    seen = []
    for at in range(0, len(data), size):
        streamed.feed(data[at : at + size])
        seen.append(streamed.text)
    streamed.close()
    assert streamed.whole
    assert streamed.body()["choices"][0]["message"]["content"] == "ls nötes"
    assert seen == sorted(seen, key=len), "words are only added"


def test_a_server_that_takes_no_stream_is_asked_for_the_whole() -> None:
    def answer(body: Any) -> Any:
        if body["stream"]:
            return error(400, "stream is not supported")
        return piece(message={"content": "exit"}, finish_reason="stop")

    judged, written, asked = ask(answer)
    assert (judged.kind, judged.text, written) == ("words", "exit", [])
    assert [body["stream"] for body in asked] == [True, False]


def test_a_stream_that_breaks_off_is_no_answer() -> None:
    judged, _, _ = ask(lambda _body: stream(*WORDS[:2], done=False))
    assert judged.kind == "lost"


def test_an_error_within_a_stream_is_the_servers() -> None:
    failed = {"error": {"message": "CUDA out of memory", "code": 500}}
    judged, _, _ = ask(lambda _body: stream(WORDS[1], failed))
    assert judged.decision != "act"


def test_thoughts_in_a_stream_are_not_typed() -> None:
    thinks = piece(delta={"reasoning_content": "hm"})
    judged, written, _ = ask(lambda _body: stream(thinks, *WORDS))
    assert (judged.text, judged.thought) == ("ls nötes", True)
    assert "hm" not in "".join(written)


@pytest.mark.parametrize(
    "junk",
    [
        b"data: {\n\n",
        b"data: [[[[\n\n",
        b"data: 7\n\ndata: {}\n\n",
        b'data: {"choices": 3}\n\n',
        b'data: {"choices": [{"delta": 5, "finish_reason": {}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": {"a": 1}}}]}\n\n',
        b"\xff\xfe\n\n",
    ],
)
def test_a_hostile_stream_ends_in_a_judgement(junk: bytes) -> None:
    judged, _, _ = ask(lambda _body: Reply(200, junk + b"data: [DONE]\n\n", EVENTS))
    assert judged.kind


def test_a_key_is_in_no_word_that_is_shown() -> None:
    key = "sk-very-secret-0123456789"
    halves = [piece(delta={"content": half}) for half in (f"echo {key[:9]}", key[9:])]
    written: list[str] = []
    with (
        ModelServer({ROUTE: lambda _body: stream(*halves, WORDS[3])}) as server,
        Client(server.url, api_key=key) as client,
    ):
        chat = Chat(client, "m", turn_tokens=8, temperature=0)
        judged = chat.ask(HISTORY, seed=0, written=written.append)
    assert key not in judged.text
    assert all(key not in words for words in written)
