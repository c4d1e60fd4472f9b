"""Whatever a server answers, however it is sent: no error but ours, bounded memory, and exactly one
row of the table.

``HYPOTHESIS_PROFILE=fuzz timeout 1800 pytest tests/contract/test_answers_fuzz.py -k NAME`` runs one
of these for half an hour.
"""

from __future__ import annotations

import gzip
import json
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from sekft_engine.contract.answers import ANSWERS, judge
from sekft_engine.contract.chat import Chat
from sekft_engine.contract.fields import NEUTRAL, OTHERWISE, FieldNeeded, Fields, SentFields
from sekft_engine.contract.http.client import Answer, Client
from sekft_engine.contract.http.words import message
from sekft_engine.core.text import acts
from sekft_engine.episodes.command_turn import CommandTurn
from tests.fuzzing import fuzz

TURNS = [{"role": "user", "content": "$"}]
ROOM = 16
#: What a call may hold at once: the bound of one answer, parsed, and what is known of the last one.
MEMORY = 24 << 20

NAMES = [
    "choices", "message", "content", "finish_reason", "error", "code", "param", "detail", "loc",
    "msg", "text", "type", "refusal", "tool_calls", "function_call", "reasoning_content", "delta",
    "reasoning", "usage", "prompt_tokens", "completion_tokens", "prompt_tokens_details",
    "cached_tokens", "completion_tokens_details", "reasoning_tokens", "object", "status",
    "metadata", "raw", "errors", "role",
]  # fmt: skip
WORDS = [
    "stop", "length", "error", "content_filter", "tool_calls", "thinking", "ls", "",
    "maximum context length", "rate limit", "max_tokens", "temperature", "seed", "top_k is unknown",
    "Unrecognized request argument supplied: min_p", "max_completion_tokens", "429", "502",
]  # fmt: skip
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=12)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=6), inner, max_size=5)
    ),
    max_leaves=12,
)
WHOLE: dict[str, Any] = {
    "id": "x",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "ls", "reasoning_content": None},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 3},
}
PLACES: list[tuple[Any, ...]] = [
    ("choices",),
    ("choices", 0),
    ("choices", 0, "message"),
    ("choices", 0, "message", "content"),
    ("choices", 0, "message", "reasoning_content"),
    ("choices", 0, "message", "tool_calls"),
    ("choices", 0, "message", "refusal"),
    ("choices", 0, "finish_reason"),
    ("choices", 0, "error"),
    ("error",),
    ("detail",),
    ("object",),
    ("usage",),
    ("usage", "prompt_tokens"),
    ("usage", "completion_tokens"),
    ("usage", "completion_tokens_details"),
]


@st.composite
def bodies(draw: st.DrawFn) -> Any:
    """Any JSON, or a completion in which a few places hold something else."""
    if draw(st.integers(0, 4)) == 0:
        return draw(values)
    body = json.loads(json.dumps(WHOLE))
    for place in draw(st.lists(st.sampled_from(PLACES), max_size=3)):
        holder = body
        for step in place[:-1]:
            is_there = isinstance(holder, dict) and step in holder
            is_there |= isinstance(holder, list) and step == 0 and bool(holder)
            if not is_there:
                break
            holder = holder[step]
        else:
            if isinstance(holder, dict):
                holder[place[-1]] = draw(values)
    return body


statuses = st.sampled_from([200, 200, 200, 201, 204, 302, 400, 401, 404, 413, 422, 429, 500, 503])
any_status = statuses | statuses | statuses | st.integers(0, 999)


def answer_of(status: int, body: Any) -> Answer:
    return Answer(status=status, body=body, words=message(body))


@fuzz(800)
@given(bodies(), any_status, st.integers(0, 40))
def test_any_json_falls_into_one_row(body: Any, status: int, least: int) -> None:
    found = judge(answer_of(status, body), room=ROOM, least=least)
    row = ANSWERS[found.kind]
    if row.decision == "act":
        assert 200 <= status < 300
        assert (found.kind in ("blank", "cut_turn")) or found.text.strip()
        CommandTurn(text=found.text)
    else:
        assert not found.text
        assert found.why
        assert not any(map(acts, found.why))
    # The same answer is the same row.
    assert judge(answer_of(status, body), room=ROOM, least=least) == found


@fuzz(400)
@given(st.data())
def test_any_refusals_of_fields_come_to_an_end(data: st.DataObject) -> None:
    """Each question has a field less, or one by its other name; none is put back."""
    needed = {"max_tokens": ROOM, "temperature": 0.5, "seed": 0}
    fields = Fields(needed, NEUTRAL)
    sent: SentFields | None = fields.now
    asked = 0
    while sent is not None:
        asked += 1
        assert asked <= len(NEUTRAL) + len(OTHERWISE) + len(needed) + 1
        assert {"temperature", "seed"} <= sent.fields.keys()
        try:
            following = fields.after(sent, answer_of(data.draw(any_status), data.draw(bodies())))
        except FieldNeeded:
            return
        if following is not None:
            assert following.fields != sent.fields
            assert len(following.fields) <= len(sent.fields)
        sent = following


# --- on the wire ----------------------------------------------------------------------------------


class Script:
    """A server that reads a request and sends what it is told, however wrong."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.hangs = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._over = threading.Event()
        self.release = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        self._over.set()
        self.release.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.settimeout(10)
                asked = b""
                # Who closes with something unread resets the connection: nothing of it arrives.
                while not asked.endswith(b"}") or b"\r\n\r\n" not in asked:
                    more = connection.recv(65536)
                    if not more:
                        return
                    asked += more
                for piece in list(self.pieces):
                    connection.sendall(piece)
                if self.hangs:
                    self.release.wait(10)
            except OSError:
                pass


@pytest.fixture(scope="module")
def script() -> Iterator[Script]:
    made = Script()
    yield made
    made.close()


ODD = [
    b"", b"null", b"[]", b"{", b"\xef\xbb\xbf{}", b"{}".decode().encode("utf-16"), b"\xff\xfe\x00",
    b"[" * 200_000, b'{"a":' * 50_000, b'{"choices":' * 900 + b"1" + b"}" * 900,
    b"9" * 6000, b'{"usage":{"prompt_tokens":' + b"9" * 5000 + b"}}", b'"\\ud800"', b"NaN",
    b'{"choices":[{"message":{"content":"\\ud83d"}}]}', b"<html>", b"data: {}\n\ndata: [DONE]\n\n",
    b'{"error":{"message":"' + b"x" * 60_000 + b'"}}', b" " * 70_000, b"\x00" * 5000,
]  # fmt: skip
BOMBS = [
    (b"gzip", gzip.compress(b" " * (40 << 20))),
    (b"deflate", zlib.compress(b"[" * (40 << 20))),
    (b"gzip", gzip.compress(b'{"choices":[{"message":{"content":"' + b"x" * (4 << 20))),
]
SAFE_WAIT = st.sampled_from(
    [b"0", b"5", b"9e99", b"nan", b"-1", b"Fri, 31 Dec 99999 23:59:59 GMT", b"soon", b"\xff"]
)


def now_and_then(draw: st.DrawFn, often: int) -> bool:
    """True once in ``often``."""
    return draw(st.integers(1, often)) == often


@st.composite
def packed(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """How a body is encoded, and the body."""
    kind = draw(st.sampled_from(["json", "json", "json", "odd", "bytes", "bomb"]))
    if kind == "bomb":
        return draw(st.sampled_from(BOMBS))
    body = {
        "json": lambda: json.dumps(draw(bodies())).encode(),
        "odd": lambda: draw(st.sampled_from(ODD)),
        "bytes": lambda: draw(st.binary(max_size=300)),
    }[kind]()
    encoding = b""
    if now_and_then(draw, 6):
        encoding = draw(st.sampled_from([b"gzip", b"deflate", b"br", b"identity", b"gzip, gzip"]))
        if encoding == b"gzip":
            body = gzip.compress(body)
        elif encoding == b"deflate":
            body = zlib.compress(body)
    if now_and_then(draw, 6):
        body = body[: draw(st.integers(0, len(body)))]
    return encoding, body


@st.composite
def headers(draw: st.DrawFn, encoding: bytes) -> list[bytes]:
    """The lines of a head, but for those that say how long the body is."""
    lines = [b"HTTP/1.1 %03d Reason" % draw(any_status)]
    if now_and_then(draw, 25):
        lines = [draw(st.binary(max_size=40))]
    if encoding:
        lines.append(b"Content-Encoding: " + encoding)
    if now_and_then(draw, 4):
        lines.append(b"Retry-After: " + draw(SAFE_WAIT))
    if now_and_then(draw, 6):
        lines.append(b"Location: http://127.0.0.1:1/\x80")
    if now_and_then(draw, 25):
        lines.append(draw(st.binary(max_size=30)))
    return lines


@st.composite
def replies(draw: st.DrawFn) -> tuple[list[bytes], bool]:
    """What a server sends, in pieces, and whether it then says nothing more and stays."""
    encoding, body = draw(packed())
    lines = draw(headers(encoding))
    framing = draw(st.sampled_from(["length", "length", "length", "close", "chunked", "wrong"]))
    if framing == "length":
        lines.append(b"Content-Length: %d" % len(body))
    elif framing == "wrong":
        wrong = draw(st.sampled_from([b"-1", b"0", b"999999999999", b"x", b"1, 2", b"\xb2"]))
        lines.append(b"Content-Length: " + wrong)
    elif framing == "chunked":
        lines.append(b"Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        if now_and_then(draw, 4):
            body = body.replace(b"\r\n", draw(st.sampled_from([b"\n", b";a\r\n", b"zz\r\n"])), 1)
    whole = b"\r\n".join([*lines, b"", b""]) + body
    cuts = sorted(draw(st.lists(st.integers(0, min(len(whole), 400)), max_size=3)))
    pieces = [whole[start:end] for start, end in pairwise([0, *cuts, len(whole)])]
    return pieces, now_and_then(draw, 40)


@fuzz(200)
@given(replies(), replies())
def test_anything_on_the_wire_falls_into_one_row(
    script: Script, first: tuple[list[bytes], bool], then: tuple[list[bytes], bool]
) -> None:
    script.release.clear()
    with Client(script.url, timeout=0.5, attempts=2, sleep=lambda _: None) as client:
        chat = Chat(client, "m", turn_tokens=ROOM, temperature=0.0)
        for asked, (pieces, hangs) in enumerate((first, then), 1):
            script.pieces, script.hangs = pieces, hangs
            tracemalloc.start()
            try:
                found = chat.ask(TURNS, seed=1, least=3)
            except FieldNeeded:
                break
            finally:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                script.release.set()
            event(found.kind)
            assert peak < MEMORY
            assert chat.rows.keys() <= ANSWERS.keys()
            assert chat.rows[found.kind] >= 1
            last = {row: n for row, n in chat.rows.items() if ANSWERS[row].decision != "without"}
            assert sum(last.values()) >= asked
            if found.decision == "act":
                CommandTurn(text=found.text)
            else:
                assert not found.text
        else:
            return
        assert chat.rows["field_needed"] == 1


@fuzz(30)
@given(st.binary(min_size=1, max_size=200), st.booleans())
def test_a_server_that_never_stops_is_left(script: Script, piece: bytes, chunked: bool) -> None:
    """The same bytes for ever, as a body."""
    assume(len(piece) > 3)
    head = b"HTTP/1.1 200 OK\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"\r\n"
    unit = b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece
    script.pieces, script.hangs = [head, *[unit * 400] * 400], False
    with Client(script.url, timeout=1, attempts=1) as client:
        chat = Chat(client, "m", turn_tokens=ROOM, temperature=0.0)
        tracemalloc.start()
        try:
            found = chat.ask(TURNS, seed=1)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert found.kind in ("too_large", "timed_out", "lost", "no_completion")
    assert peak < MEMORY
