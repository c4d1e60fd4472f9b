"""Connections that are slow, that are not HTTP, or that outlive the server."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from sekft_engine.cli.main import run
from sekft_engine.serve.connections import SocketErrors
from sekft_engine.serve.loading import named_adapters
from sekft_engine.serve.server import Limits
from tests.serve.conftest import serving
from tests.serve.test_leaving import Gate, begin

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("before", [b"", HEALTH])
def test_a_head_that_is_never_complete_costs_a_connection_for_a_while(
    tiny_base: Path, before: bytes
) -> None:
    with (
        serving(tiny_base, limits=Limits(head=0.2)) as running,
        socket.create_connection(("127.0.0.1", running.port), timeout=60) as talk,
    ):
        talk.sendall(before + b"GET /hea")
        data = b""
        while new := talk.recv(4096):
            data += new
    assert data.startswith(b"HTTP/1.1 200") == bool(before)


def test_an_answer_that_the_end_of_the_server_cuts_off_is_an_error(
    tiny_base: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    gate = Gate()
    with serving(tiny_base, changed=gate.install, limits=Limits(drain=1)) as running:
        try:
            connection = begin(running, stream=True)
            gate.wait()
            running.server.stop()
            answer = connection.getresponse()
            assert answer.status == 503
            assert b"the server is shutting down" in answer.read()
        finally:
            gate.open()
    assert "Traceback" not in capfd.readouterr().err


def test_what_is_not_http_leaves_no_line_in_the_log(
    tiny_base: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        serving(tiny_base) as running,
        socket.create_connection(("127.0.0.1", running.port), timeout=60) as talk,
    ):
        talk.sendall(b"\x16\x03\x01\r\n\r\n")
        assert talk.recv(4096).startswith(b"HTTP/1.1 400")
    assert capfd.readouterr().err == ""


def test_a_repeated_error_of_a_socket_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    errors = SocketErrors()
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(errors)
    for _ in range(1000):
        loop.call_exception_handler(
            {"message": "socket.accept() out of system resource", "exception": OSError(24, "full")}
        )
    loop.close()
    assert capsys.readouterr().err.splitlines() == [
        "sekft: error: socket.accept() out of system resource: [Errno 24] full"
    ]


def test_an_adapters_name_and_path_may_have_slashes_and_equals_signs(
    adapters: list[str], tmp_path: Path
) -> None:
    folder = Path(adapters[0].partition("=")[2])
    odd = tmp_path / "lr=1"
    odd.symlink_to(folder)
    named = named_adapters(tmp_path, [f"team/mine={folder}", str(odd)])
    assert [name for name, _ in named] == ["team/mine", "lr=1"]


def test_an_adapter_without_a_path_is_named(
    tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", "--base", str(tiny_base), "--adapter", "mine="]) == 2
    assert "a path is missing after mine=" in capsys.readouterr().err
