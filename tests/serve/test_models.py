"""Several adapters at once: each request gets what its own model gives alone."""

from __future__ import annotations

import json
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.core.process import python_module
from sekft_engine.model.resident import ResidentBase
from sekft_engine.operators.decode import BatchedDecoder
from sekft_engine.operators.decoder import Decoder
from sekft_engine.serve.loading import Held
from tests.serve.conftest import serving, until


def test_32_adapters_asked_at_once_give_each_the_tokens_that_it_gives_alone(
    tiny_base: Path, adapters: list[str]
) -> None:
    with serving(tiny_base, adapters) as running:
        names = ["tiny", *running.held.base.adapters]
        contents = {name: f"file{number}\nuser@box:~$" for number, name in enumerate(names)}

        def ask(name: str) -> tuple[list[int], list[int]]:
            fields = {"model": name, "max_tokens": 10, "return_token_ids": True}
            answer = running.chat(contents[name], **fields).json
            return answer["prompt_token_ids"], answer["choices"][0]["token_ids"]

        with ThreadPoolExecutor(len(names)) as pool:
            said = dict(zip(names, pool.map(ask, names), strict=True))
            again = dict(zip(names, pool.map(ask, names), strict=True))
        stops = sorted(running.held.tokenizer.end_of_turn_ids)
    assert again == said
    base = ResidentBase.load(tiny_base)
    for name, spec in zip(names, ["", *adapters], strict=True):
        if spec:
            base.attach(name, spec.partition("=")[2])
        alone = BatchedDecoder(base.model, stop_ids=stops)
        alone.add("row")
        turn = alone.turns({"row": said[name][0]}, {"row": 10})["row"]
        assert said[name][1] == [*turn.ids, *([] if turn.stop is None else [turn.stop])], name
        if spec:
            base.drop(name)
    assert len({tuple(ids) for _, ids in said.values()}) > len(names) // 2


def test_a_session_sent_again_is_fed_once_and_never_across_adapters(
    tiny_base: Path, adapters: list[str]
) -> None:
    """The same content under two names is one; another content never helps."""
    path = adapters[0].partition("=")[2]
    with serving(tiny_base, [adapters[0], f"same={path}", adapters[1]]) as running:
        content = "word " * 60

        def cached(model: str) -> int:
            usage = running.chat(content, model=model).json["usage"]
            count: int = usage["prompt_tokens_details"]["cached_tokens"]
            return count

        assert cached("a0") == 0
        assert cached("a0") > 60
        assert cached("same") > 60
        assert cached("a1") == 0
        assert cached("tiny") == 0
        assert cached("a1") > 60


def test_64_clients_at_once_lose_nothing(tiny_base: Path, adapters: list[str]) -> None:
    with serving(tiny_base, adapters[:3]) as running:
        names = [*running.held.models]
        expected = {
            (name, size): running.chat("word " * size, model=name).json["choices"]
            for name in names
            for size in (1, 30, 90)
        }

        def client(number: int) -> list[tuple[str, int, int, Any]]:
            found = []
            for turn in range(3):
                name, size = names[(number + turn) % len(names)], (1, 30, 90)[turn]
                answer = running.chat("word " * size, model=name)
                found.append((name, size, answer.status, answer.json["choices"]))
            return found

        with ThreadPoolExecutor(64) as pool:
            said = [each for found in pool.map(client, range(64)) for each in found]
        assert len(said) == 192
        for name, size, status, choices in said:
            assert (status, choices) == (200, expected[name, size])
        until(lambda: running.load == (0, 0))


def test_an_error_in_a_step_costs_the_answers_of_that_step_alone(tiny_base: Path) -> None:
    """As when memory runs out: those get an error, and the next ones a new decoder."""
    faults = iter([MemoryError("no memory for this batch")])

    def failing(held: Held) -> None:
        make = held.make

        def made() -> Decoder[Any]:
            decoder = make()
            step = decoder.step

            def one() -> Any:
                for fault in faults:
                    raise fault
                return step()

            decoder.step = one  # type: ignore[method-assign]
            return decoder

        held.make = made

    with serving(tiny_base, changed=failing) as running:
        failed = running.chat()
        assert (failed.status, failed.error["type"]) == (500, "server_error")
        assert running.chat().status == 200


@pytest.mark.slow
def test_sigterm_lets_a_running_answer_end_and_takes_no_other(tiny_base: Path) -> None:
    words = ["serve", "--base", str(tiny_base), "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(
        [*python_module("sekft_engine"), *words], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready: http://127.0.0.1:")
        port = int(line.partition("127.0.0.1:")[2].partition("/")[0])
        connection = HTTPConnection("127.0.0.1", port, timeout=120)
        body = {
            "model": "tiny", "messages": [{"role": "user", "content": "$"}], "stream": True,
            "max_tokens": 1500, "temperature": 0,
        }  # fmt: skip
        head = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), head)
        answer = connection.getresponse()
        first = answer.read1(64)
        process.send_signal(signal.SIGTERM)
        rest = answer.read()
        assert (first + rest).endswith(b"data: [DONE]\n\n")
        assert b'"finish_reason":"length"' in rest
        assert process.wait(60) == 0
        with pytest.raises(OSError):
            HTTPConnection("127.0.0.1", port, timeout=5).request("GET", "/health")
    finally:
        process.kill()
        process.wait()
