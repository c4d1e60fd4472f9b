"""The experiment: from worlds to a report in one command that can be stopped anywhere."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.records.runs import list_runs
from tests.experiment.conftest import Sekft

#: As small as it can be: two worlds of each split, one step of training.
TINY = (
    *("--sessions", "4", "--worlds", "2", "--rounds", "0", "--step-cap", "2"),
    *("--turn-tokens", "4", "--max-steps", "1", "--batch", "2", "--heldout", "0"),
    *("--token-losses", "0", "--rank", "4", "--json"),
)
PARTS = ("--seeds", "2", "--ablation", "mask", "--ablation", "verify")
HELD_OUT = ("compositions", "primitives")


def touched(place: Path) -> dict[str, int]:
    """When each episode and adapter was written."""
    return {
        str(path.relative_to(place)): path.stat().st_mtime_ns
        for pattern in ("runs/*/episodes/*.json", "runs/*/adapter/*.safetensors")
        for path in place.glob(pattern)
    }


def test_one_command_makes_evaluates_trains_leaves_out_and_reports(
    tiny_base: Path, tmp_path: Path, sekft: Sekft
) -> None:
    place = tmp_path / "place"
    asked = ["experiment", "--base", str(tiny_base), "--workspace", str(place), *TINY, *PARTS]
    status, out, _ = sekft(*asked)
    assert status == 0
    document = json.loads(out)
    rows = {(row["split"], row["kind"], row["name"]): row for row in document["rows"]}
    for split in ("seen", *HELD_OUT):
        assert rows[split, "base", "base"]["facts"]["n"] == 2
        assert rows[split, "adapter", "adapter"]["facts"]["n"] == 4  # two seeds in two worlds
        assert rows[split, "adapter", "adapter"]["facts"]["worlds"] == 2
        assert len(rows[split, "adapter", "adapter"]["trained"]) == 2
        for control in ("oracle", "always-exit", "always-panic", "random"):
            assert rows[split, "control", control]["facts"]["control"] is True
        for left_out in ("mask", "verify"):
            assert rows[split, "ablation", left_out]["facts"]["n"] == 2
        assert document["leakage"][split]["held_out"]["directives"]["exact"] == 0
    # All held-out worlds together are the sum of their splits.
    together = rows["held-out", "adapter", "adapter"]["facts"]
    assert together["n"] == 8
    against = rows["held-out", "adapter", "adapter"]["against"]
    assert {each["measure"] for each in against} == {"solved", "clean_termination"}
    assert all(each["a"] != "oracle" for each in against)
    whole, *parts = list_runs(place / "runs")
    assert whole.id == document["experiment"]
    assert all(part.id.startswith(f"{whole.id}-") for part in parts)

    # The report stands for itself, and every line of it leads to a run that is there.
    page = Path(document["files"]["html"]).read_text()
    assert not re.search(r"(src|href)=\"https?:", page)
    assert "<script" not in page
    for link in re.findall(r'href="([^"]+)"', page):
        assert (Path(document["path"]) / link / "run.json").is_file(), link
    markdown = Path(document["files"]["markdown"]).read_text()
    for run in re.findall(r"`([^`]+)`", markdown):
        assert (place / "runs" / run / "run.json").is_file(), run

    # Given again, it does nothing that is done, and finds the same.
    before = touched(place)
    status, out, _ = sekft(*asked)
    assert status == 0
    assert json.loads(out)["rows"] == document["rows"]
    assert touched(place) == before

    # A person gets the same as tables, and the way to the report.
    status, out, _ = sekft(*(word for word in asked if word != "--json"))
    assert status == 0
    for split in ("seen", *HELD_OUT, "held-out"):
        assert f"== {split}\n" in out
    assert "without mask" in out
    assert "adapter against always-" in out
    assert f"html: {document['files']['html']}" in out

    # A report that is written to another place leads to the same runs.
    assert sekft("runs", "report", document["path"], str(tmp_path / "again.html"))[0] == 0
    links = re.findall(r'href="([^"]+)"', (tmp_path / "again.html").read_text())
    assert links
    assert all((tmp_path / link / "run.json").is_file() for link in links)
    status, out, _ = sekft("runs", "list", "--workspace", str(place))
    assert "stages  solved seen " in out

    # Its rates can be gated, those of held-out worlds by default.
    status, out, _ = sekft("gate", document["path"], "--min", "solved=.99", "--json")
    assert status == 1
    names = {each["subject"] for each in json.loads(out)["bounds"]}
    assert names == {"adapter in compositions", "adapter in primitives"}


def test_the_presets_are_listed_with_their_sizes(sekft: Sekft) -> None:
    status, out, _ = sekft("experiment", "--list")
    assert status == 0
    listed = json.loads(sekft("experiment", "--list", "--json")[1])["presets"]
    assert {"proof", "laptop"} <= {preset["name"] for preset in listed}
    for preset in listed:
        assert f"{preset['name']}: {preset['base']}, {preset['sessions']} sessions" in out
        assert preset["about"] in out


def test_a_budget_is_kept_by_the_number_of_sessions_and_told(
    tiny_base: Path, tmp_path: Path, sekft: Sekft
) -> None:
    place = tmp_path / "place"
    asked = ["experiment", "--base", str(tiny_base), "--workspace", str(place), *TINY]
    status, out, err = sekft(*asked, "--seeds", "1", "--no-ablations", "--budget", "1h")
    assert status == 0
    plan = json.loads(out)["plan"]
    assert plan["sessions"] == 4
    assert plan["budget_s"] == 3600
    assert 0 < plan["forecast_s"] < 3600
    assert plan["speed"]["token_s"] > 0
    assert plan["speed"]["session_tokens"] > 50
    assert "to keep 60 minutes: 4 sessions" in err


@pytest.mark.slow
def test_killed_in_any_stage_the_same_command_goes_on_and_keeps_what_is_done(
    tiny_base: Path, tmp_path: Path, sekft: Sekft
) -> None:
    place = tmp_path / "place"
    asked = ["experiment", "--base", str(tiny_base), "--workspace", str(place), *TINY]
    asked += ["--seeds", "1", "--ablation", "end-of-turn"]
    #: What is being written when the process is killed: in the factory, an eval, a training run.
    moments = ("factory.jsonl", "adapters-seen", "without-end-of-turn")
    for moment in moments:
        process = _start(asked)
        _wait_for(place, moment, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        before = touched(place)
        assert len([run for run in list_runs(place / "runs") if run.kind == "experiment"]) == 1
    status, out, _ = sekft(*asked)
    assert status == 0
    after = touched(place)
    assert {name: after[name] for name in before} == before
    assert all(stage["status"] == "done" for stage in json.loads(out)["stages"])


def _start(asked: list[str]) -> subprocess.Popen[bytes]:
    code = "import sys; from sekft_engine.cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *asked],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _wait_for(place: Path, moment: str, process: subprocess.Popen[Any]) -> None:
    """Wait until the file of the experiment, or the run of the stage, is there."""
    until = time.monotonic() + 240
    patterns = (f"runs/*/{moment}", f"runs/*-{moment}/run.json")
    while not any(found for pattern in patterns for found in place.glob(pattern)):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < until, "it does nothing"
        time.sleep(0.01)
