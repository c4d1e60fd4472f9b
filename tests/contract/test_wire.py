"""One answer is bounded as a whole, in bytes and in seconds, whatever a server does."""

from __future__ import annotations

import gzip
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from sekft_engine.contract.http import client as http
from sekft_engine.contract.http.client import Client
from sekft_engine.contract.http.fault import Fault
from tests.contract.servers import ModelServer, Reply, error, raw_server

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
LIMIT = 64 << 10


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_FIRST_PAUSE", 0.001)


def kept(talk: Callable[[socket.socket, threading.Event], object], seconds: float = 20.0) -> str:
    """Why there was no answer from a server that talks so, and how much memory that took."""
    with raw_server(talk) as url, Client(url, timeout=seconds, attempts=1) as client:
        tracemalloc.start()
        try:
            with pytest.raises(Fault) as fault:
                client.post("/x", {}, limit=LIMIT)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 8 << 20
    return fault.value.kind


def forever(head: bytes, piece: bytes) -> Callable[[socket.socket, threading.Event], object]:
    def talk(connection: socket.socket, done: threading.Event) -> None:
        connection.sendall(head)
        while not done.is_set():
            connection.sendall(piece)

    return talk


def drop_by_drop(head: bytes, piece: bytes) -> Callable[[socket.socket, threading.Event], object]:
    def talk(connection: socket.socket, done: threading.Event) -> None:
        connection.sendall(head)
        while not done.wait(0.05):
            connection.sendall(piece)

    return talk


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (OK + b"\r\n", b" " * 65536),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n"),
        (OK + b"Content-Length: 99999999999\r\n\r\n", b"[" * 65536),
    ],
    ids=["to its end", "chunked", "announced"],
)
def test_a_body_without_end(head: bytes, piece: bytes) -> None:
    assert kept(forever(head, piece)) == "too large"


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["headers", "continue"],
)
def test_a_head_without_end(head: bytes, piece: bytes) -> None:
    assert kept(forever(head, piece * 1000), 2.0) in ("lost", "timed out")


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (OK + b"Content-Length: 100000\r\n\r\n", b" "),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"H", b""),
    ],
    ids=["body", "chunks", "a header", "continue", "nothing more"],
)
def test_what_comes_drop_by_drop_is_not_waited_for_beyond_the_time(
    head: bytes, piece: bytes
) -> None:
    """Each single read is quick; only the whole takes for ever."""
    assert kept(drop_by_drop(head, piece), 0.5) == "timed out"


def packed(kind: str, size: int) -> bytes:
    data = b" " * size
    return gzip.compress(data) if kind == "gzip" else zlib.compress(data)


@pytest.mark.parametrize("kind", ["gzip", "deflate"])
def test_what_is_packed_is_bounded_by_what_it_holds(kind: str) -> None:
    bomb = packed(kind, 200 << 20)
    assert len(bomb) < 1 << 20
    head = OK + f"Content-Encoding: {kind}\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()

    def talk(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(head + bomb)

    assert kept(talk) == "too large"


@pytest.mark.parametrize("kind", ["gzip", "x-gzip", "deflate", "identity"])
def test_a_small_packed_answer_is_read(kind: str) -> None:
    body = b'{"a": "' + b"x" * 100_000 + b'"}'
    data = {"identity": body, "deflate": zlib.compress(body)}.get(kind, gzip.compress(body))
    routes = {"GET /x": lambda _: Reply(200, data, {"Content-Encoding": kind})}
    with ModelServer(routes) as server, Client(server.url) as client:
        assert client.get("/x").body == {"a": "x" * 100_000}
        assert server.requests[0][1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("kind", "data"), [("br", b"{}"), ("gzip, gzip", b"{}"), ("gzip", b"not packed at all")]
)
def test_what_cannot_be_unpacked_is_named(kind: str, data: bytes) -> None:
    routes = {"GET /x": lambda _: Reply(200, data, {"Content-Encoding": kind})}
    with (
        ModelServer(routes) as server,
        Client(server.url) as client,
        pytest.raises(Fault, match=r"cannot be unpacked \((br|gzip, gzip|broken gzip)\)"),
    ):
        client.get("/x")


def test_a_long_error_keeps_its_status() -> None:
    routes = {"POST /x": lambda _: Reply(503, b"<html>" + b"x" * 500_000)}
    with ModelServer(routes) as server, Client(server.url, attempts=1) as client:
        assert client.post("/x", {}, limit=LIMIT).status == 503


@pytest.mark.parametrize(
    "wait",
    [
        "Fri, 31 Dec 99999 23:59:59 GMT",
        "Fri, 31 Dec 9999 23:59:59 -9999",
        "Mon, 01 Jan 0000 00:00:00 GMT",
        "1e999",
        "nan",
        "-5",
        "99999999999999999999999999 Jan 2030 10:00",
        "١٢",
    ],
)
def test_a_wait_that_no_calendar_has_is_no_wait(wait: str) -> None:
    pauses: list[float] = []
    answers: list[Any] = [error(429, "slow"), {}]
    answers[0].headers["Retry-After"] = wait.encode().decode("latin-1")
    with (
        ModelServer({"GET /x": lambda _: answers.pop(0)}) as server,
        Client(server.url, sleep=pauses.append) as client,
    ):
        assert client.get("/x").ok
    assert [0 <= pause <= 1 for pause in pauses] == [True]


def test_a_short_key_hides_nothing_that_a_model_says() -> None:
    """Many servers take any key, and people give words: it must not change an answer."""
    answer = {"choices": [{"message": {"content": "echo EMPTY"}}], "error": {"message": "EMPTY?"}}
    with (
        ModelServer({"GET /x": lambda _: answer}) as server,
        Client(server.url, api_key="EMPTY") as client,
    ):
        found = client.get("/x")
    assert found.body["choices"] == answer["choices"]
    assert found.message == "***?"
