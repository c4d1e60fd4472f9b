"""An eval that is killed again and again ends as if it had never been."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.cli.main import run as run_command
from sekft_engine.data.scenario import Scenario

#: How often it is killed, each time after at least one more episode was kept.
KILLS = 2


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_and_repeats_no_finished_episode(
    tiny_base: Path,
    tmp_path: Path,
    make_scenario: Callable[..., Scenario],
    capfd: pytest.CaptureFixture[str],
) -> None:
    bundles = tmp_path / "holdout"
    bundles.mkdir()
    for number in range(6):
        scenario = make_scenario(f"s{number}")
        (bundles / f"{scenario.id}.json").write_text(json.dumps(scenario.to_json()))
    arguments = ["--base", str(tiny_base), "--scenarios", str(bundles), "--n", "6", "--exact"]
    arguments += ["--step-cap", "3", "--turn-tokens", "6", "--json"]

    # Only what is killed needs a process of its own.
    assert run_command(["eval", *arguments, "--out", str(tmp_path / "whole")]) == 0
    uninterrupted = json.loads(capfd.readouterr().out)

    target = tmp_path / "killed"
    moments = random.Random(3)
    kept: dict[str, int] = {}
    for _ in range(KILLS):
        part = _eval([*arguments, "--out", str(target), "--resume"])
        _wait_for_more(target, len(kept), part)
        _wait_for_words(target, moments.randrange(4000), part)
        os.killpg(part.pid, signal.SIGKILL)
        part.wait()
        now = _episodes(target)
        assert all(now[name] == when for name, when in kept.items())
        kept = now
        if len(kept) == 6:
            break
    assert run_command(["eval", *arguments, "--out", str(target), "--resume"]) == 0
    now = _episodes(target)
    assert all(now[name] == when for name, when in kept.items())
    assert _facts(json.loads(capfd.readouterr().out)) == _facts(uninterrupted)


def _eval(arguments: list[str]) -> subprocess.Popen[bytes]:
    code = "from sekft_engine.cli.main import eval_main; eval_main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _episodes(folder: Path) -> dict[str, int]:
    """The stored episodes and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("episodes/*.json")}


def _wait_for_more(folder: Path, than: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while len(_episodes(folder)) <= than:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < until, "it does nothing"
        time.sleep(0.005)


def _wait_for_words(folder: Path, more: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until its journal has grown by so many bytes, or until it has ended."""
    journal = folder / "events.jsonl"
    size = journal.stat().st_size
    until = time.monotonic() + 120
    while journal.stat().st_size < size + more and process.poll() is None:
        assert time.monotonic() < until, "it does nothing"
        time.sleep(0.001)


def _facts(document: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on the clock."""
    episodes = [
        {key: value for key, value in episode.items() if key != "seconds"}
        for episode in document["episodes"]
    ]
    return {"episodes": episodes, "subjects": document["subjects"]}
