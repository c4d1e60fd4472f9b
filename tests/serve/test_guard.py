"""Who may ask: names, keys, and what a server never does."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.cli.main import run
from tests.serve.conftest import Running, serving

KEY = "sk-a key of 24 characters"


@pytest.fixture(scope="module")
def locked(tiny_base: Path) -> Iterator[Running]:
    """A server with a key, and with a name of its own."""
    with serving(tiny_base, key=KEY, allowed=["box.example"]) as running:
        yield running


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:1", 200),
        ("localhost", 200),
        ("[::1]:8000", 200),
        ("box.example", 421),
        ("evil.example:80", 421),
        ("192.168.1.5", 421),
        ("localhost.evil.example", 421),
        ("", 421),
    ],
)
def test_a_server_on_loopback_answers_to_its_own_names_alone(
    server: Running, host: str, status: int
) -> None:
    """A page whose name leads to this machine asks under that name."""
    assert server.ask("/health", Host=host).status == status


def raw(running: Running, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as talk:
        talk.sendall(request)
        talk.shutdown(socket.SHUT_WR)
        data = b""
        while new := talk.recv(65536):
            data += new
    return data


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    ],
)
def test_no_host_and_two_hosts_are_refused(server: Running, head: bytes) -> None:
    assert b" 200 " not in raw(server, head).split(b"\r\n")[0]


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00", b"GET " + b"a" * 100_000, b"POST / HTTP/9\r\n\r\n", b"\0"]
)
def test_garbage_costs_nobody_else_anything(server: Running, garbage: bytes) -> None:
    raw(server, garbage)
    assert server.chat().status == 200


@pytest.mark.parametrize(
    "shown",
    ["", KEY, f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", "Bearer ", f"Basic {KEY}", "Bearer é"],
)
def test_without_the_key_nothing_is_said(locked: Running, shown: str) -> None:
    headers = {"Authorization": shown} if shown else {}
    for path in ("/v1/models", "/metrics", "/version"):
        answer = locked.ask(path, **headers)
        assert (answer.status, answer.error["type"]) == (401, "authentication_error")
        assert KEY not in answer.data.decode()
    assert locked.ask("/tokenize", {"prompt": "ls"}, **headers).status == 401


def test_with_the_key_all_is_as_without_one(locked: Running) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Host": "box.example"}
    assert locked.ask("/v1/models", **headers).status == 200
    assert locked.ask("/health").status == 200  # a monitor needs none


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_where_others_can_reach_it_a_key_is_needed(
    tiny_base: Path, host: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.delenv("SEKFT_API_KEY", raising=False)
    assert run(["serve", "--base", str(tiny_base), "--host", host]) == 2
    assert "a key is needed" in capsys.readouterr().err


def refused(
    capsys: pytest.CaptureFixture[str], tiny_base: Path, *words: object, status: int = 2
) -> str:
    """The one line that `sekft serve` ends with."""
    base = [] if "--base" in words else ["--base", tiny_base]
    assert run(["serve", *map(str, base), *map(str, words)]) == status
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    (line,) = lines
    assert line.startswith("sekft: error: ")
    return line


def test_what_cannot_be_served_is_said_in_one_line(
    tiny_base: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SEKFT_API_KEY", KEY)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(capsys, tiny_base, "--port", port)
        assert f"127.0.0.1:{port}: another program listens there" in line
    assert "nowhere" in refused(capsys, tiny_base, "--base", tmp_path / "nowhere")
    assert "no adapter" in refused(capsys, tiny_base, "--adapter", f"a={tmp_path}")
    assert "no such address" in refused(capsys, tiny_base, "--host", "no.such.host.invalid")


def test_two_models_of_one_name_are_refused(
    tiny_base: Path, adapters: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = adapters[0].partition("=")[2]
    for names in (("a", "a"), ("tiny", "b")):
        words = [word for name in names for word in ("--adapter", f"{name}={path}")]
        assert "two models are called" in refused(capsys, tiny_base, *words)


def test_an_adapter_of_another_base_ends_the_start(
    tiny_base_copy: Path, adapters: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tiny_base_copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    line = refused(capsys, tiny_base_copy, "--port", 0, "--adapter", adapters[0])
    assert "base" in line


@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_a_key_file_is_for_its_owner_alone(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: int
) -> None:
    file = tmp_path / "key"
    file.write_text("" if mode == 0o600 else KEY)
    file.chmod(mode)
    line = refused(capsys, tiny_base, "--api-key-file", file)
    assert ("is empty" if mode == 0o600 else "chmod 600") in line
    assert KEY not in line


@pytest.mark.parametrize("key", [b"\xff\xfe", b"first\nsecond", "schl\u00fcssel".encode()])
def test_a_key_that_no_header_can_hold_is_refused(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: bytes
) -> None:
    file = tmp_path / "key"
    file.write_bytes(key)
    file.chmod(0o600)
    assert run(["serve", "--base", str(tiny_base), "--api-key-file", str(file)]) == 2
    assert "key: this key cannot be sent in a header" in capsys.readouterr().err
