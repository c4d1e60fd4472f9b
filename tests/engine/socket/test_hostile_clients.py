"""Garbage, floods, crowds, sleepers and a full disk: nobody else is harmed."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from sekft_engine.core.errors import Unavailable
from sekft_engine.engine.socket import protocol
from sekft_engine.engine.socket.address import read_pointer
from sekft_engine.engine.socket.client import Client
from sekft_engine.engine.socket.lines import request_line
from sekft_engine.engine.socket.server import MOST_CLIENTS
from tests.engine.socket.conftest import (
    PATIENCE,
    Resident,
    Start,
    ended,
    event_of,
    hear,
    prepare,
    submit,
)

MIB = 1 << 20


class Raw:
    """A connection that says whatever bytes it likes."""

    def __init__(self, resident: Resident) -> None:
        address = read_pointer(resident.place)
        assert address is not None
        self.peer = socket.socket(socket.AF_UNIX)
        self.peer.settimeout(PATIENCE)
        self.peer.connect(address.socket)
        self.file = self.peer.makefile("rb")
        self.greeting = self.line()

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.peer.close()

    def line(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file.readline())
        return found

    def say(self, data: bytes) -> None:
        self.peer.sendall(data)


def request(number: int, method: str = "status", **params: object) -> bytes:
    return request_line(number, method, params)


def memory_of(resident: Resident) -> int:
    """Bytes in memory of the engine and of the process that serves its sockets."""
    engine = psutil.Process(resident.process.pid)
    return int(sum(each.memory_info().rss for each in (engine, *engine.children())))


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"not json", protocol.NOT_JSON_CODE),
        (b"\xff\xfe\x00\x01", protocol.NOT_JSON_CODE),
        (b'{"jsonrpc":"2.0","id":1,"params":' + b"[" * 50_000, protocol.NOT_JSON_CODE),
        (b"[]", protocol.INVALID_REQUEST),
        (b"null", protocol.INVALID_REQUEST),
        (b'{"id":1,"method":"status"}', protocol.INVALID_REQUEST),
        (b'{"jsonrpc":"1.0","id":1,"method":"status"}', protocol.INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","method":"status"}', protocol.INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":null,"method":"status"}', protocol.INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1,"method":"status","x":1}', protocol.INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1,"method":"status","params":[]}', protocol.INVALID_PARAMS),
        (b'{"jsonrpc":"2.0","id":1,"method":"\\u001b[2J"}', protocol.UNKNOWN_METHOD),
    ],
    ids=range(12),
)
def test_garbage_is_answered_and_the_connection_lives_on(
    shared: Resident, line: bytes, code: int
) -> None:
    with Raw(shared) as raw:
        raw.say(line + b"\n")
        answer = raw.line()
        assert answer["error"]["code"] == code
        assert "\x1b" not in answer["error"]["message"]
        raw.say(b"\n  \n" + request(7))
        assert raw.line()["id"] == 7


def until_alone(client: Client) -> None:
    """Wait until the engine has noticed that all other clients have left."""
    deadline = time.monotonic() + 60
    while (found := client.call("status")["clients"]) != 1:
        assert time.monotonic() < deadline, f"{found} clients are left"
        time.sleep(0.05)


def test_floods_of_garbage_and_halves_of_lines_cost_no_memory(shared: Resident) -> None:
    garbage = b"".join(os.urandom(400).replace(b"\n", b"") + b"\n" for _ in range(100))
    with shared.client() as other:
        before = memory_of(shared)
        for _ in range(20):
            with Raw(shared) as raw:
                raw.peer.setblocking(False)
                for _ in range(100):
                    try:
                        raw.peer.send(garbage)
                    except OSError:  # it is not listened to before it has read
                        break
            other.call("status")
        with ExitStack() as stack:
            for _ in range(100):
                raw = stack.enter_context(Raw(shared))
                raw.say(b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * 50_000)
            other.call("status")
            assert memory_of(shared) < before + 24 * MIB, "what was said, and no more"
        until_alone(other)


def test_half_a_line_waits_for_its_other_half(shared: Resident) -> None:
    whole = request(1)
    with Raw(shared) as raw, shared.client() as other:
        for at in range(0, len(whole), 5):
            raw.say(whole[at : at + 5])
            other.call("status")
        assert raw.line()["id"] == 1


def test_a_line_of_a_hundred_megabytes_is_cut_off_and_costs_no_memory(shared: Resident) -> None:
    before = memory_of(shared)
    with Raw(shared) as raw, shared.client() as other:
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            raw.say(b"x" * (100 * MIB))
        assert raw.line()["error"]["code"] == protocol.TOO_LONG
        assert raw.file.read() == b""
        other.call("status")
    assert memory_of(shared) < before + 8 * MIB


def test_clients_that_vanish_in_the_middle_leave_nothing_behind(shared: Resident) -> None:
    with shared.client() as other:
        before = memory_of(shared)
        for number in range(50):
            with Raw(shared) as raw:
                raw.say(request(1, "subscribe", after=0))
                raw.say(request(2, "submit", job=prepare(f"vanish-{number}"))[: 20 + number])
            with Raw(shared) as raw:
                raw.say(request(1, "submit", job=prepare("orphan")))
        ended(other, submit(other, "last"))
        until_alone(other)
        assert memory_of(shared) < before + 8 * MIB


def test_who_asks_and_never_reads_is_not_listened_to_any_more(shared: Resident) -> None:
    before = memory_of(shared)
    with Raw(shared) as raw, shared.client() as other:
        raw.peer.setblocking(False)
        sent, refusals = 0, 0
        line = request(1, "queue") * 100
        while refusals < 20 and sent < 64 * MIB:
            try:
                sent += raw.peer.send(line)
            except BlockingIOError:
                refusals += 1
                other.call("status")
        assert refusals == 20
        assert memory_of(shared) < before + 8 * MIB


def test_two_hundred_clients_are_served_and_memory_stays_flat(
    shared: Resident, record_property: Any
) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(shared.client(viewer=n % 2 == 0)) for n in range(200)]
        for client in clients:
            client.call("subscribe")
            hear(client, lambda one: one.method == "live")
        crowded = memory_of(shared)
        actor = clients[1]
        job = submit(actor, "emit:20000")
        ended(actor, job)  # 199 of them read nothing of it meanwhile
        assert memory_of(shared) < crowded + 64 * MIB
        for client in clients[:10]:
            heard = hear(client, lambda one: event_of(one, "JobDone", job))
            seen = [one.params["seq"] for one in heard if one.method == "event"]
            assert seen == list(range(seen[0], seen[0] + len(seen)))
            assert len(seen) > 20_000
        record_property("bytes with 200 clients", memory_of(shared))
    with shared.client() as client:
        until_alone(client)


def test_one_client_too_many_is_sent_away_with_a_word(shared: Resident) -> None:
    with ExitStack() as stack:
        for _ in range(MOST_CLIENTS):
            stack.enter_context(shared.client())
        with pytest.raises(Unavailable, match="too many clients"):
            shared.client()
    with shared.client() as client:
        client.call("status")


def test_a_full_disk_ends_a_job_and_neither_the_engine_nor_its_socket(start: Start) -> None:
    one = start()
    with one.client() as client:
        job = submit(client, "full")
        end = ended(client, job)
        assert end["event"] in ("JobDone", "JobFailed"), "told, though no journal has it"
        client.call("status")
        before = memory_of(one)
        for _ in range(300):
            refused = ended(client, submit(client, "more"))
            assert refused["event"] == "JobFailed"
            assert re.search("grows over a limit|disk", refused["error"])
        assert memory_of(one) < before + 8 * MIB
        assert client.call("status")["queued"] == []
        client.call("shutdown")
    assert one.process.wait(PATIENCE) == 0


def test_the_process_that_serves_ends_with_a_killed_engine(shared: Resident, start: Start) -> None:
    one = start()
    served = psutil.Process(one.process.pid).children()
    assert len(served) == 1
    with one.client() as client:
        one.process.kill()
        assert [message.method for message in client.notifications()] == ["bye"]
    assert psutil.wait_procs(served, timeout=PATIENCE)[1] == []


def test_another_user_is_sent_away(shared: Resident) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    address = read_pointer(shared.place)
    assert address is not None
    path = Path(address.socket)
    path.parent.parent.chmod(0o755)
    path.parent.chmod(0o755)
    path.chmod(0o666)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65534)
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(str(path))
            os.write(writer, b"connected " + peer.recv(100))
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    path.parent.chmod(0o700)
    path.chmod(0o600)
    with os.fdopen(reader, "rb") as answers:
        assert answers.read() == b"connected "
    with Client(str(path)) as client:
        client.call("status")
