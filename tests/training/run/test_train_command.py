"""The train command: one document, one line for what is wrong, and interrupts."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.model.resident import ResidentBase
from sekft_engine.records import events
from sekft_engine.records.adapters import adapter_digest
from sekft_engine.records.runs import read_events, read_run


def sekft(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    code = "from sekft_engine.cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def finished_after(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """The same where lines of stderr were read before: what came with them is not lost."""
    assert process.stdout is not None
    assert process.stderr is not None
    too_long = threading.Timer(120, process.kill)
    too_long.start()
    err, out = process.stderr.read(), process.stdout.read()
    too_long.cancel()
    return process.wait(), out, err


def flags(base: Path, data: Path, out: Path) -> list[str]:
    return ["train", "--base", str(base), "--data", str(data), "--out", str(out), "--rank", "4"]


def test_the_command_prints_one_document(tiny_base: Path, sessions: Path, tmp_path: Path) -> None:
    process = sekft(*flags(tiny_base, sessions, tmp_path / "run"), "--json", "--max-steps", "2")
    status, out, err = finished(process)
    assert status == 0, err
    document = json.loads(out)
    assert document["steps"] == 2
    assert {
        "run",
        "steps",
        "loss",
        "trained_tokens",
        "seconds",
        "adapter",
        "adapter_sha256",
    } <= set(document)
    assert "step 2/2" in err
    quiet = sekft(*flags(tiny_base, sessions, tmp_path / "two"), "-q", "--max-steps", "1")
    assert finished(quiet) == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_command_leaves_a_usable_adapter(
    number: signal.Signals, tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = sekft(*flags(tiny_base, sessions, out), "-v", "--epochs", "5000", "--json")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step 2/"):
            break
    process.send_signal(number)
    status, printed, err = finished_after(process)
    assert status == 130, err
    assert "stopped after step" in err
    document = json.loads(printed)
    assert document["adapter_sha256"] == adapter_digest(out / "adapter")
    assert read_run(out).status == "stopped"
    ResidentBase.load(tiny_base).attach("kept", out)


def test_a_killed_command_leaves_a_run_that_says_so(
    tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = sekft(*flags(tiny_base, sessions, out), "-v", "--epochs", "5000")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step 25/"):
            break
    process.kill()
    finished_after(process)
    info = read_run(out)
    assert info.status == "died"
    assert len([e for e in read_events(info.events_path) if isinstance(e, events.StepDone)]) >= 25
    ResidentBase.load(tiny_base).attach("kept", out)
    assert not [path for path in out.iterdir() if path.name.startswith(".")] or info.adapter


def test_bad_usage_is_one_line_and_status_2(
    tiny_base: Path, sessions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.jsonl").write_text('{"turns": [}\n')
    for arguments, wanted in (
        (flags(tiny_base, tmp_path / "broken.jsonl", tmp_path / "run"), "broken.jsonl:1"),
        (["train", "--base", str(tiny_base), "--data", str(sessions)], "--out"),
        ([*flags(tiny_base, sessions, tmp_path / "run"), "--lr", "-1"], "lr"),
    ):
        status, out, err = finished(sekft(*arguments))
        assert (status, out) == (2, ""), err
        assert err.count("\n") == 1
        assert wanted in err
    assert not (tmp_path / "run").exists()


def test_a_disk_that_fills_up_is_told_in_one_line_and_leaves_nothing_half_written(
    tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    out = tmp_path / "run"
    command = [*flags(tiny_base, sessions, out), "--rank", "64", "--max-steps", "1", "-q"]
    status, printed, err = finished(sekft(*command, preexec_fn=little_room))
    assert (status, printed) == (1, "")
    assert err.count("\n") == 1
    assert "the file grows over a limit" in err
    assert sorted(path.name for path in out.iterdir()) == ["events.jsonl", "run.json"]
    info = read_run(out)
    assert info.status == "failed"
    assert "limit" in info.error


def test_a_second_interrupt_does_not_wait_for_the_step(
    tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    # One step of so many rows takes longer than anyone waits here.
    endless = ["--batch", "20000", "--micro-batch", "1", "--epochs", "2000"]
    process = sekft(*flags(tiny_base, sessions, out), *endless)
    assert process.stderr is not None
    told = []
    for wanted in ("base ", "info: stopping"):
        for line in process.stderr:
            told.append(line)
            if line.startswith(wanted):
                process.send_signal(signal.SIGINT)
                break
    status, _, err = finished_after(process)
    assert status == 130, "".join([*told, err])
    # On a busy machine it may leave before the job has said where it stopped.
    assert err.splitlines()[-1] in (
        "sekft: error: stopped after step 0; nothing was trained",
        "sekft: error: interrupted; left without waiting for the job",
    )
    assert read_run(out).status in ("stopped", "died")


def test_inspecting_needs_no_torch(tiny_base: Path, sessions: Path) -> None:
    code = """
import sys
from sekft_engine.cli.main import run
assert run(sys.argv[1:]) == 0
assert not {"torch", "transformers", "peft"} & set(sys.modules)
"""
    arguments = ["train", "--inspect", "--json", "--base", str(tiny_base), "--data", str(sessions)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    document = json.loads(done.stdout)
    assert (document["trajectories"], document["kept"], document["dropped"]) == (16, 16, {})
    assert document["tokens"] > document["trained_tokens"] > 0
