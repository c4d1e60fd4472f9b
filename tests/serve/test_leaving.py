"""A client that leaves frees its row within a step, wherever its request is.

The decoder takes a step when the test lets it, so that each phase lasts until the client has left.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.operators.caching import PIECE
from sekft_engine.operators.decoder import Decoder
from sekft_engine.render.template.prompt import encode_prompt
from sekft_engine.serve.loading import Held
from tests.serve.conftest import Running, serving, until


class Gate:
    """Lets the decoder take one step after another."""

    def __init__(self) -> None:
        self._steps = threading.Semaphore(0)
        self._lock = threading.Condition()
        self._begun = self._taken = 0

    def install(self, held: Held) -> None:
        make = held.make

        def gated() -> Decoder[Any]:
            decoder = make()
            step = decoder.step

            def one() -> Any:
                with self._lock:
                    self._begun += 1
                    self._lock.notify_all()
                self._steps.acquire()
                done = step()
                self._taken += 1
                return done

            decoder.step = one  # type: ignore[method-assign]
            return decoder

        held.make = gated

    def step(self, count: int = 1) -> None:
        """Let it take steps; returns when it stands before the next one."""
        for _ in range(count):
            begun = self._begun
            self._steps.release()
            until(lambda begun=begun: self._begun > begun)  # type: ignore[misc]

    def release(self) -> None:
        """Let it take one step, after which it may have nothing to do."""
        self._steps.release()

    def wait(self) -> None:
        """Wait until it stands before a step."""
        until(lambda: self._begun > self._taken)

    def open(self) -> None:
        """Let it take all steps from now on."""
        self._steps.release(1_000_000)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def running(tiny_base: Path, gate: Gate) -> Iterator[Running]:
    """A server with one row, whose steps the test lets it take."""
    with serving(tiny_base, rows=1, changed=gate.install) as running:
        yield running
        gate.open()


def begin(running: Running, content: str = "$", *, stream: bool) -> HTTPConnection:
    """A request that would take very many steps."""
    connection = running.connect()
    body = {
        "model": "tiny", "messages": [{"role": "user", "content": content}], "stream": stream,
        "max_tokens": 500, "temperature": 0,
    }  # fmt: skip
    head = {"Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), head)
    return connection


def left(running: Running) -> int:
    """The number of requests whose clients left."""
    for line in running.ask("/metrics").data.decode().splitlines():
        if line.startswith('sekft:request_lost_total{reason="left"}'):
            return int(line.rpartition(" ")[2])
    raise AssertionError("no such line")


def leave(running: Running, connection: HTTPConnection) -> None:
    """Close the connection, and wait until the server knows."""
    scheduler = running.server.scheduler
    generations = [*scheduler._live.values(), *scheduler._waiting]
    sock: Any = connection.sock
    sock.close()
    connection.close()
    until(lambda: any(generation.is_left for generation in generations))


@pytest.mark.parametrize("stream", [False, True])
def test_in_the_queue(running: Running, gate: Gate, stream: bool) -> None:
    first = begin(running, stream=False)
    until(lambda: running.load == (1, 0))
    second = begin(running, stream=stream)
    until(lambda: running.load == (1, 1))
    gate.wait()
    leave(running, second)
    gate.step()
    assert running.load == (1, 0)
    leave(running, first)
    gate.release()
    until(lambda: running.load == (0, 0))
    assert left(running) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_in_prefill(running: Running, gate: Gate, stream: bool) -> None:
    connection = begin(running, "word " * (6 * PIECE), stream=stream)
    until(lambda: running.load == (1, 0))
    gate.wait()
    gate.step(2)  # two pieces of a prompt of more than six
    (generation,) = running.server.scheduler._live.values()
    assert generation.count == 0
    leave(running, connection)
    gate.release()
    until(lambda: running.load == (0, 0))
    assert left(running) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_while_its_answer_is_made(running: Running, gate: Gate, stream: bool) -> None:
    connection = begin(running, stream=stream)
    until(lambda: running.load == (1, 0))
    gate.wait()
    gate.step(3)
    (generation,) = running.server.scheduler._live.values()
    assert generation.count == 3
    leave(running, connection)
    gate.release()
    until(lambda: running.load == (0, 0))
    assert generation.count <= 4
    assert left(running) == 1


def test_a_row_that_was_left_serves_the_next_one_rightly(running: Running, gate: Gate) -> None:
    connection = begin(running, "word " * 40, stream=True)
    until(lambda: running.load == (1, 0))
    gate.wait()
    gate.step(4)
    leave(running, connection)
    gate.open()
    again = running.chat("word " * 40, max_tokens=8).json
    other = running.chat("some other words", max_tokens=8).json
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] > 40
    fresh = alone(running.held, "word " * 40), alone(running.held, "some other words")
    answers = tuple(answer["choices"][0]["message"]["content"] for answer in (again, other))
    assert answers == fresh


def alone(held: Held, content: str) -> str:
    """What transformers' own loop gives."""
    import torch

    from sekft_engine.data.trajectory import Turn

    ids = encode_prompt(held.tokenizer, [Turn(role="user", content=content)])
    out = held.base.model.generate(
        torch.tensor([ids]), max_new_tokens=8, do_sample=False, eos_token_id=2, pad_token_id=0
    )
    return held.tokenizer.decode([token for token in out[0, len(ids) :].tolist() if token != 2])


def test_the_queue_has_an_end(tiny_base: Path, gate: Gate) -> None:
    from sekft_engine.serve.server import Limits

    with serving(tiny_base, rows=1, changed=gate.install, limits=Limits(queue=1)) as running:
        first = begin(running, stream=False)
        until(lambda: running.load == (1, 0))
        second = begin(running, stream=False)
        until(lambda: running.load == (1, 1))
        assert running.ask("/health").json["status"] == "busy"
        refused = running.chat()
        assert refused.status == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.error["type"] == "rate_limit_error"
        assert "the queue takes 1" in refused.error["message"]
        gate.open()
        for connection in (first, second):
            assert connection.getresponse().status == 200
