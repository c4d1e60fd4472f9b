"""No server, a slow one, a broken one: one line that says what is wrong and the way out."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.contract import Client, key_from
from sekft_engine.contract.http import client
from sekft_engine.core.errors import BadInput, Unavailable
from tests.contract.conftest import Base, Check, write
from tests.contract.servers import (
    Answer,
    Body,
    ModelServer,
    Reply,
    chat_counts,
    error,
    models,
    raw_server,
    transformers_feed,
    vllm,
)

SECRET = "sk-a1b2c3d4e5f6"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_FIRST_PAUSE", 0.001)


@pytest.fixture
def right(smol: Base) -> dict[str, Answer]:
    return vllm(transformers_feed(smol.theirs), smol.theirs)


def failed(check: Check, server: Any, *options: str) -> str:
    """The error line of a check that ends with status 2; its document says the same."""
    done = check(server, *options)
    assert (done.status, done.document["exit"]) == (2, 2)
    line, *more = done.err.splitlines()
    assert done.document["error"]["what"] in line
    assert not more
    assert line.startswith("sekft: error: ")
    return line


def test_nothing_listens(check: Check) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    line = failed(check, f"http://127.0.0.1:{port}")
    assert f"http://127.0.0.1:{port}: nothing listens there (start the server" in line


def test_no_such_host(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    assert "http://gpu-box:8000: no such host" in failed(check, "http://gpu-box:8000")


def test_https_where_http_is_spoken(check: Check) -> None:
    with ModelServer({}) as server:
        line = failed(check, server.url.replace("http://", "https://"))
    assert "no TLS there (try it with http://)" in line


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_a_certificate_that_nobody_signed(check: Check, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -keyout {key} "
        f"-out {certificate} -addext subjectAltName=IP:127.0.0.1".split(),
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ModelServer({}, tls=context) as server:
        line = failed(check, server.url)
    assert "its TLS certificate is not trusted: self-signed certificate" in line
    assert "SSL_CERT_FILE" in line


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("localhost:8000", "no http:// or https:// address"),
        ("ftp://box", "no http:// or https:// address"),
        ("http://", "no http:// or https:// address"),
        ("http://box:99999", "no usable address"),
        ("http://box/v1?key=abc", "an address has no ? or # part"),
    ],
)
def test_what_is_no_address(address: str, why: str, check: Check) -> None:
    assert f"--endpoint: {why} (" in failed(check, address)


def test_a_server_without_any_of_the_routes(check: Check) -> None:
    line = failed(check, {})
    for route in ("/tokenize", "/v1/tokenize", "/apply-template", "/v1/chat/completions"):
        assert f"POST {route}: HTTP 404 Not Found" in line
    assert "give the address of an OpenAI-compatible server" in line


def test_a_web_page_instead_of_a_server(check: Check) -> None:
    def page(_: Body) -> Reply:
        return Reply(200, b"<!doctype html><title>Router</title>", {"Content-Type": "text/html"})

    pages: dict[str, Answer] = {
        f"POST {path}": page
        for path in ("/tokenize", "/v1/tokenize", "/apply-template", "/v1/chat/completions")
    }
    line = failed(check, pages | {"GET /v1/models": page})
    assert "POST /v1/chat/completions: HTML instead of JSON" in line
    assert "doctype" not in line


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b'{"usage": {"prompt_tokens": 1', "JSON that is cut off"),
        (b"", "an empty answer"),
        (b"ready", "no JSON"),
        (b"[1, 2]", "no JSON object"),
        (b"\xff\xfe{}", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"choices": []}', "no usage.prompt_tokens"),
        (b'{"usage": {"prompt_tokens": "9"}}', "no usage.prompt_tokens"),
    ],
    ids=["cut off", "empty", "text", "a list", "not UTF-8", "deep", "no usage", "a string"],
)
def test_answers_that_nobody_can_use(answer: bytes, why: str, check: Check) -> None:
    line = failed(check, {"POST /v1/chat/completions": lambda _: Reply(200, answer)})
    assert f"POST /v1/chat/completions: {why}" in line


def test_a_tokenize_route_that_counts_without_tokens_is_passed_over(
    check: Check, smol: Base
) -> None:
    routes = chat_counts(transformers_feed(smol.theirs))
    odd: dict[str, Answer] = {"POST /tokenize": lambda _: {"count": 3, "tokens": [1, "two", 3]}}
    assert check(routes | odd).document["strength"] == "counts"


def test_a_server_that_hangs(check: Check) -> None:
    with raw_server(lambda _, done: done.wait()) as url:
        line = failed(check, url, "--timeout", "0.2")
    assert "no whole answer within 0.2 s (is the server busy" in line
    assert "--timeout" in line


def test_a_server_that_answers_byte_by_byte_without_end(check: Check) -> None:
    def dribble(connection: socket.socket, done: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not done.wait(0.02):
            connection.sendall(b" ")

    with raw_server(dribble) as url:
        assert "no whole answer within 0.3 s" in failed(check, url, "--timeout", "0.3")


def test_a_server_that_hangs_up(check: Check) -> None:
    with raw_server(lambda *_: None) as url:
        assert "it hung up, or does not speak HTTP" in failed(check, url)


def test_a_server_that_does_not_speak_http(check: Check) -> None:
    with raw_server(lambda connection, _: connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")) as url:
        assert "it hung up, or does not speak HTTP" in failed(check, url)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_that_fails_now_and_then_is_asked_again(
    status: int, check: Check, right: dict[str, Answer]
) -> None:
    seen: list[int] = []

    def flaky(route: str) -> Answer:
        def answer(body: Body) -> Reply | dict[str, Any]:
            seen.append(1)
            if len(seen) % 3:
                return error(status, "not now", {"Retry-After": "0"})
            return right[route](body)

        return answer

    done = check({route: flaky(route) for route in right})
    assert done.status == 0
    assert len(seen) > 3 * 6


def test_a_server_that_fails_for_good(check: Check) -> None:
    with ModelServer(
        {"POST /v1/chat/completions": lambda _: error(500, "out of memory")}
    ) as server:
        line = failed(check, server.url)
        assert len(server.asked("POST /v1/chat/completions")) == client.ATTEMPTS
    assert "POST /v1/chat/completions: HTTP 500 out of memory" in line


def test_a_server_that_breaks_midway(check: Check, right: dict[str, Answer]) -> None:
    asked: list[int] = []

    def dies(body: Body) -> Reply | dict[str, Any]:
        asked.append(1)
        return right["POST /tokenize"](body) if len(asked) < 3 else Reply(200, b'{"tokens": [1')

    line = failed(check, right | {"POST /tokenize": dies})
    assert (
        "POST /tokenize stopped answering: JSON that is cut off (look at the server's log)" in line
    )


def test_waiting_grows_and_has_an_end() -> None:
    pauses: list[float] = []
    with (
        ModelServer({"GET /x": lambda _: error(429, "slow", {"Retry-After": "9999"})}) as server,
        Client(server.url, sleep=pauses.append) as asking,
    ):
        assert asking.get("/x").status == 429
    assert len(pauses) == client.ATTEMPTS - 1
    assert max(pauses) <= 8


def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    with (
        ModelServer({"GET /x": lambda _: Reply(200, b" " * 5_000_000)}) as server,
        Client(server.url, limit=1 << 20) as asking,
        pytest.raises(Unavailable, match="longer than 1 MiB"),
    ):
        asking.get("/x")


# --- keys -----------------------------------------------------------------------------------------


def test_the_key_is_sent_and_never_shown(
    check: Check, right: dict[str, Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    with ModelServer(right) as server:
        done = check(server.url, "--api-key-env", "MY_KEY")
        assert {heads["Authorization"] for _, heads, _ in server.requests} == {f"Bearer {SECRET}"}
    assert done.status == 0
    assert SECRET not in done.out + done.err


def test_a_wrong_key_is_said_so_even_if_the_server_repeats_it(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    refuses: dict[str, Answer] = {
        "GET /v1/models": lambda _: error(401, f"Incorrect API key provided: {SECRET}.")
    }
    line = failed(check, refuses)
    assert "the server wants another API key (HTTP 401: Incorrect API key provided: ***.)" in line
    assert "--api-key-env" in line
    assert SECRET not in line


def test_a_variable_that_is_not_set_or_is_the_key_itself(check: Check) -> None:
    assert "variable NO_SUCH_KEY is not set" in failed(
        check, "http://box", "--api-key-env", "NO_SUCH_KEY"
    )
    line = failed(check, "http://box", "--api-key-env", SECRET)
    assert SECRET not in line
    assert "takes the name of a variable" in line


def test_a_key_with_a_line_break_is_refused_unseen(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", f"{SECRET}\nX-Evil: 1")
    line = failed(check, "http://127.0.0.1:9", "--api-key-env", "MY_KEY")
    assert "holds characters that no header can carry" in line
    assert SECRET not in line


def test_the_usual_key_goes_to_tls_and_to_this_machine_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("BOX_KEY", "other")
    assert key_from(None, "https://api.example.com/v1") == SECRET
    assert key_from(None, "http://localhost:8000") == SECRET
    assert key_from(None, "http://[::1]:8000") == SECRET
    assert key_from(None, "http://10.0.0.7:8000") == ""
    assert key_from("BOX_KEY", "http://10.0.0.7:8000") == "other"


def test_no_redirect_is_followed(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with ModelServer({}) as elsewhere:
        moved = Reply(307, b"", {"Location": f"{elsewhere.url}/v1/chat/completions"})
        line = failed(check, {"POST /v1/chat/completions": lambda _: moved})
        assert not elsewhere.requests
    assert "POST /v1/chat/completions: a redirect to http://127.0.0.1" in line


def test_a_password_in_the_address_is_used_and_not_shown(
    check: Check, right: dict[str, Answer]
) -> None:
    with ModelServer(right) as server:
        done = check(server.url.replace("//", "//me:hunter2@"))
        assert server.requests[0][1]["Authorization"].startswith("Basic ")
        assert done.document["endpoint"] == server.url
    assert "hunter2" not in done.out + done.err


# --- models and data ------------------------------------------------------------------------------


def test_a_model_that_the_server_does_not_have(check: Check) -> None:
    missing = error(404, "The model `x` does not exist.")
    routes: dict[str, Answer] = models("base", "lora-1") | {"POST /tokenize": lambda _: missing}
    line = failed(check, routes, "--model", "x")
    assert "the server has no model 'x' (name one of its own: base, lora-1)" in line


def test_data_without_a_command_gives_no_prompt(
    check: Check, right: dict[str, Answer], tmp_path: Path
) -> None:
    idle = write(tmp_path / "idle.jsonl", {"idle": ("You are at a shell.",)})
    done = check(right, sessions=idle)
    assert done.status == 2
    assert "--data: no session gives a prompt (give sessions with at least one command)" in done.err


def test_a_session_that_training_refuses_is_left_out_and_named(
    check: Check, right: dict[str, Answer], tmp_path: Path
) -> None:
    mixed = write(
        tmp_path / "mixed.jsonl", {"fine": ("$", "exit"), "broken": ("half \ud83d\n$", "exit")}
    )
    done = check(right, sessions=mixed)
    assert done.status == 0
    assert [one["id"] for one in done.document["sessions"]] == ["fine"]
    (left_out,) = done.document["skipped"]
    assert (left_out["id"], left_out["reason"]) == ("broken", "lone_surrogate")
    assert (
        "· not asked: broken: half of a surrogate pair"
        in check(right, sessions=mixed, as_json=False).out
    )


def test_recordings_that_are_not_kept_are_no_sessions(
    check: Check, right: dict[str, Answer], tmp_path: Path
) -> None:
    (tmp_path / "raw").mkdir()
    turns = [{"role": "user", "content": "$"}, {"role": "assistant", "content": "exit"}]
    for number, keep in enumerate((False, True)):
        recording = {"id": f"s{number}", "keep": keep, "turns": turns}
        (tmp_path / "raw" / f"{number}.json").write_text(json.dumps(recording))
    done = check(right, sessions=tmp_path / "raw")
    assert [one["id"] for one in done.document["sessions"]] == ["s1"]
    (tmp_path / "raw" / "1.json").unlink()
    assert "none of 1 recordings is kept" in check(right, sessions=tmp_path / "raw").err


def test_a_broken_line_is_named(check: Check, right: dict[str, Answer], tmp_path: Path) -> None:
    broken = write(tmp_path / "broken.jsonl", {"fine": ("$", "exit")})
    broken.write_text(broken.read_text() + "\n{broken\n")
    assert check(right, sessions=broken).status == 0
    done = check(right, "--strict", sessions=broken)
    assert done.status == 2
    assert "broken.jsonl:2" in done.err


def test_an_address_that_is_refused_before_any_data_is_read(check: Check, tmp_path: Path) -> None:
    done = check("box:8000", sessions=tmp_path / "missing.jsonl")
    assert "no http:// or https:// address" in done.err


def test_a_client_says_what_it_is_given() -> None:
    with pytest.raises(BadInput, match="write it as http://host:8000"):
        Client("box")
