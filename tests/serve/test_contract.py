"""Train equals serve: the contract check passes, and an eval types the same commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.cli.main import run
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.trajectory import Turn
from sekft_engine.records import jobs
from sekft_engine.render import ChatTokenizer
from tests.contract.conftest import SESSIONS, write
from tests.documents import run_document
from tests.evaluation.operators.test_remote import what_was_typed
from tests.serve.conftest import Running, serving


def check(
    base: Path, url: str, data: Path, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, Any]:
    capsys.readouterr()
    line = ["contract", "check", "--data", str(data), "--base", str(base), "--endpoint", url]
    status = run([*line, "--json", *words])
    return status, json.loads(capsys.readouterr().out)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    told = {"told-0001": ("You are at a shell.", "$ ", "exit")}
    return write(tmp_path / "curated.jsonl", SESSIONS | told)


def test_the_contract_check_passes_for_every_model(
    server: Running, tiny_base: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ((), ("--model", "a1")):
        status, found = check(tiny_base, server.url, data, capsys, *words)
        assert (status, found["equal"], found["strength"]) == (0, True, "tokens")
        assert found["chat"]["shown"] == found["chat"]["fed"]
        assert found["raw"]["asked"] == found["raw"]["equal"] > 0


def as_most_servers(tokenizer: ChatTokenizer, turns: Sequence[Turn]) -> list[int]:
    """The template over the messages as they come, and all of the text tokenised."""
    chat = [{"role": turn.role, "content": turn.content} for turn in turns]
    text = tokenizer.template.render(chat, add_generation_prompt=True)
    return tokenizer.encode_text(text)


def test_with_the_normaliser_switched_off_it_fails(
    tiny_base: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(tiny_base, render=as_most_servers) as running:
        status, found = check(tiny_base, running.url, data, capsys)
    assert (status, found["equal"]) == (1, False)
    assert found["raw"]["equal"] < found["raw"]["asked"]


@pytest.fixture
def bundles(tmp_path: Path, make_scenario: Callable[..., Scenario]) -> Path:
    folder = tmp_path / "holdout"
    folder.mkdir()
    for number in range(3):
        scenario = make_scenario(f"s{number}")
        (folder / f"{scenario.id}.json").write_text(json.dumps(scenario.to_json()))
    return folder


def test_an_eval_of_the_served_models_types_the_same_commands_world_by_world(
    server: Running, tiny_base: Path, adapters: list[str], bundles: Path, tmp_path: Path
) -> None:
    caps: dict[str, Any] = {"n": 3, "step_cap": 3, "turn_tokens": 6, "scenarios": str(bundles)}
    path = adapters[0].partition("=")[2]
    for model, named in (("tiny", ()), ("a0", (path,))):
        local, served = tmp_path / f"local-{model}", tmp_path / f"served-{model}"
        run_document(
            jobs.Evaluate(
                base=str(tiny_base), adapters=named, with_base=not named, out=str(local), **caps
            )
        )
        report = run_document(
            jobs.Evaluate(
                base=str(tiny_base), endpoints=(server.url,), models=(model,), out=str(served),
                **caps,
            )
        )  # fmt: skip
        assert what_was_typed(served) == what_was_typed(local)
        assert report["about"]["contract"] == "equal in tokens"
        (subject,) = report["subjects"]
        assert (subject["n"], subject["invalid"]) == (3, 0)
