"""Evals are compared only in the same worlds, sampled the same way; what is left out is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.cli.main import run as run_command
from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.episodes.store import as_finished, write_episode
from sekft_engine.evaluation.comparable import compare_runs
from sekft_engine.records.runs import RunInfo, create_run, read_run

ABOUT: dict[str, Any] = {
    "userland": "host:1",
    "dialect": {"name": "plain"},
    "step_cap": 12,
    "turn_tokens": 64,
    "temperature": 0.0,
    "seed": 0,
}


def eval_run(
    folder: Path,
    worlds: Mapping[str, str],
    *,
    good: bool = True,
    status: str = "done",
    **about: Any,
) -> RunInfo:
    """An eval of one subject on ``worlds``, each with the digest of what it holds ('' = an older
    eval, which did not record it)."""
    run = create_run(None, "eval", about=ABOUT | about, out=str(folder))
    run.episodes.mkdir()
    for scenario, digest in worlds.items():
        meta = {"clean": True, "expected": "exit", "subject": "base"}
        trajectory = Trajectory(
            id=f"base--{scenario}",
            scenario=scenario,
            turns=(Turn(role="user", content="$ "), Turn(role="assistant", content="exit")),
            steps=1,
            outcome="exit" if good else "panic",
            meta=meta | ({"scenario_digest": digest} if digest else {}),
        )
        write_episode(run.episodes, "base", as_finished(trajectory))
    run.write(status=status)
    run.close()
    return read_run(folder)


def test_worlds_of_one_name_but_other_content_are_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    eval_run(tmp_path / "a", {"permit": "11", "link": "22", "copy": "33"})
    eval_run(tmp_path / "b", {"permit": "77", "link": "22", "move": "44"}, good=False)
    assert run_command(["runs", "compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    told = capsys.readouterr().out
    assert "1 world (permit): the same name, but other content; left out" in told
    assert "1 worlds of the first alone, 1 of the second alone" in told
    assert "a/base against b/base, 1 worlds" in told
    arguments = ["runs", "compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]
    assert run_command(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["worlds"]["both"] == ["link"]
    assert found["worlds"]["other"] == ["permit"]
    assert [pair["pairs"] for pair in found["comparisons"]] == [1]


def test_evals_in_worlds_of_the_same_names_alone_share_none(tmp_path: Path) -> None:
    a = eval_run(tmp_path / "a", {"permit": "1", "link": "2", "copy": "3"})
    b = eval_run(tmp_path / "b", {"permit": "4", "link": "5", "copy": "6"})
    with pytest.raises(BadInput, match=r"share no world; 3 worlds \(copy, link, ...\): the same"):
        compare_runs(a, b, anyway=True)


def test_older_evals_that_did_not_record_what_a_world_held_are_paired_only_when_told(
    tmp_path: Path,
) -> None:
    a = eval_run(tmp_path / "a", {"permit": "", "link": ""}, scenarios_digest="x")
    b = eval_run(tmp_path / "b", {"permit": "1", "link": ""}, scenarios_digest="y")
    with pytest.raises(BadInput, match="whether worlds of one name are the same was not recorded"):
        compare_runs(a, b)
    found = compare_runs(a, b, anyway=True)
    assert found.comparisons[0].pairs == 2
    assert "paired by names alone" in found.notes[0]
    # The digest of all worlds together settles it.
    c = eval_run(tmp_path / "c", {"permit": "", "link": ""}, scenarios_digest="x", good=False)
    settled = compare_runs(a, c)
    assert settled.unlike == settled.notes == []
    assert settled.comparisons[0].only_a == 2


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ({"temperature": 0.7}, {"temperature": 0.0}, r"other temperatures \(0.7; 0.0\)"),
        ({"temperature": 0.7}, {"temperature": 0.7, "seed": 1}, r"other seeds \(0; 1\)"),
        ({}, {"step_cap": 3}, "other numbers of commands"),
    ],
)
def test_evals_that_were_sampled_otherwise_are_of_another_kind(
    one: dict[str, Any], other: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    a = eval_run(tmp_path / "a", {"permit": "1"}, **one)
    b = eval_run(tmp_path / "b", {"permit": "1"}, **other)
    with pytest.raises(BadInput, match=reason):
        compare_runs(a, b)
    assert compare_runs(a, b, anyway=True).unlike


def test_a_seed_tells_greedy_evals_apart_in_nothing(tmp_path: Path) -> None:
    a = eval_run(tmp_path / "a", {"permit": "1"})
    b = eval_run(tmp_path / "b", {"permit": "1"}, seed=7)
    assert compare_runs(a, b).unlike == []


def test_where_one_was_stopped_by_what_it_showed_p_holds_at_any_time(tmp_path: Path) -> None:
    worlds = {f"w{number}": str(number) for number in range(9)}
    whole = eval_run(tmp_path / "a", worlds)
    stopped = eval_run(tmp_path / "b", worlds, good=False, status="stopped")
    decided = eval_run(tmp_path / "c", worlds, good=False, until_decided=True)
    fixed = eval_run(tmp_path / "d", worlds, good=False)
    tests = [compare_runs(whole, other).comparisons[0] for other in (stopped, decided, fixed)]
    assert [one.test for one in tests] == ["any time", "any time", "exact"]
    assert tests[0].p > tests[2].p
    assert "stopped before its end" in compare_runs(whole, stopped).notes[0]
