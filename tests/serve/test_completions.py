"""``/v1/completions``: streams with what was asked for, and what does not go together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.conftest import Running, serving

PROMPT = [10, 20, 30]


@pytest.fixture(scope="module")
def server(tiny_base: Path) -> Iterator[Running]:
    """A server of the base alone."""
    with serving(tiny_base) as running:
        yield running


def ask(server: Running, **fields: Any) -> Any:
    body = {"model": "tiny", "prompt": PROMPT, "temperature": 0, "max_tokens": 5}
    return server.ask("/v1/completions", body | fields)


def test_a_stream_carries_the_ids_and_the_usage_of_the_whole_answer(server: Running) -> None:
    whole = ask(server, return_token_ids=True).json
    events = (
        ask(server, return_token_ids=True, stream=True, stream_options={"include_usage": True})
        .data.decode()
        .split("\n\n")
    )
    assert events[-2:] == ["data: [DONE]", ""]
    *chunks, last = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    parts = [chunk["choices"][0] for chunk in chunks]
    assert parts[0]["prompt_token_ids"] == PROMPT
    assert all("prompt_token_ids" not in part for part in parts[1:])
    (choice,) = whole["choices"]
    assert [token for part in parts for token in part["token_ids"]] == choice["token_ids"]
    assert "".join(part["text"] for part in parts) == choice["text"]
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    for count in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert last["usage"][count] == whole["usage"][count]


def test_an_echo_without_an_answer_gives_the_prompt_back(server: Running) -> None:
    answer = ask(server, prompt="ls -la", max_tokens=0, echo=True).json
    (choice,) = answer["choices"]
    assert choice["text"] == "ls -la"
    assert answer["usage"]["completion_tokens"] == 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"max_tokens": 0}, "max_tokens 0 needs echo"),
        ({"echo": True, "stream": True}, "echo"),
        ({"prompt": [PROMPT, [40]], "stream": True}, "stream with several prompts"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(
    server: Running, fields: dict[str, Any], said: str
) -> None:
    answer = ask(server, **fields)
    assert answer.status == 400
    assert said in answer.error["message"]
