"""A run that stops for whatever reason goes on as if it had not, to the bit."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from safetensors.torch import load_file, save_file

from sekft_engine.cli.main import run as run_command
from sekft_engine.core.errors import SekftError
from sekft_engine.data.clock import Clock
from sekft_engine.engine.engine import Engine
from sekft_engine.records import jobs
from sekft_engine.records.events import Event, Log, Progress, StepDone
from sekft_engine.records.journal import Journal
from sekft_engine.records.runs import Run, read_run
from sekft_engine.training.run import session
from sekft_engine.training.run.checkpoint import newest_checkpoint
from sekft_engine.work.context import Stopped
from tests.documents import run_document
from tests.training import crash
from tests.training.sessions import write_sessions

STEPS = 13  # of 16 trajectories 13 are trained on, in twos, twice


def test_a_stopped_run_ends_in_the_same_bits_as_one_that_was_not(
    tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    whole = run_document(_job(tiny_base, sessions, tmp_path / "whole"))
    engine = Engine().start()
    seen: list[int] = []

    def stop_at(event: Event) -> None:
        if isinstance(event, StepDone):
            seen.append(event.step)
            if event.step in (3, 7):
                engine.cancel(after_step=True)

    engine.subscribe(stop_at)  # on the engine's own thread: the very next step is not begun
    out = tmp_path / "part"
    try:
        for _ in range(2):
            with pytest.raises(Stopped, match="--resume continues"):
                run_document(_job(tiny_base, sessions, out, resume=True), engine=engine)
        checkpoint = newest_checkpoint(out)
        assert checkpoint is not None
        assert checkpoint.counts.step == 7
        report = run_document(_job(tiny_base, sessions, out, resume=True), engine=engine)
    finally:
        engine.close()
    assert seen == list(range(1, STEPS + 1))
    assert report["resumed"] is True
    assert report["adapter_sha256"] == whole["adapter_sha256"]
    same = ("steps", "loss", "trained_tokens")
    assert [report[key] for key in same] == [whole[key] for key in same]
    assert not (out / "checkpoints").exists()
    with pytest.raises(SekftError, match="this run is finished"):
        run_document(_job(tiny_base, sessions, out, resume=True))


def test_what_differs_is_named_and_nothing_is_touched(
    tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    _stop_after(3, _job(tiny_base, sessions, out))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    other = msgspec.structs.replace(crash.RECIPE, lr=0.5)
    with pytest.raises(SekftError, match=r"lr was 0\.01, now 0\.5"):
        run_document(_job(tiny_base, sessions, out, resume=True, recipe=other))
    more = write_sessions(tmp_path / "more", 12)
    with pytest.raises(SekftError, match=r"the data differs \(sha256, order\)"):
        run_document(_job(tiny_base, more, out, resume=True))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def _other_weights(base: Path) -> None:
    tensors = load_file(base / "model.safetensors")
    tensors["model.norm.weight"][0] += 1
    save_file(tensors, base / "model.safetensors", {"format": "pt"})


def _other_template(base: Path) -> None:
    with (base / "chat_template.jinja").open("a") as file:
        file.write("{# another one #}")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (_other_weights, r"the base differs \(digest\) \("),
        (_other_template, r"the render differs \(template\) \("),
    ],
)
def test_another_base_or_render_is_named(
    tiny_base: Path,
    sessions: Path,
    tmp_path: Path,
    change: Callable[[Path], None],
    line: str,
) -> None:
    out = tmp_path / "run"
    _stop_after(1, _job(tiny_base, sessions, out))
    other = Path(shutil.copytree(tiny_base, tmp_path / "other"))
    change(other)
    with pytest.raises(SekftError, match=line):
        run_document(_job(other, sessions, out, resume=True))


def _print_the_time(base: Path) -> None:
    """Let the base's template print the time, to the microsecond."""
    path = base / "chat_template.jinja"
    line = "{{ '<|im_start|>system\nIt is ' + strftime_now('%a %H:%M:%S.%f') + '<|im_end|>\n' }}"
    path.write_text(line + path.read_text(encoding="utf-8"), encoding="utf-8")


def test_a_run_under_a_template_that_prints_the_time_goes_on_at_any_other(
    tiny_base_copy: Path, sessions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _print_the_time(tiny_base_copy)
    out = tmp_path / "run"
    seen: list[Event] = []
    _stop_after(3, _job(tiny_base_copy, sessions, out))
    before = read_run(out).facts
    assert isinstance(before.clock, Clock)
    monkeypatch.setenv("TZ", "Etc/GMT-14")
    time.tzset()
    try:
        job = _job(tiny_base_copy, sessions, out, resume=True)
        assert run_document(job, on_event=seen.append)["steps"] == STEPS
        after = read_run(out).facts
        assert (after.clock, after.data.sha256) == (before.clock, before.data.sha256)
        # It is said, with the way out.
        said = [event.text for event in seen if isinstance(event, Log)]
        assert any("prints the date" in text and "to pin it, put {%" in text for text in said)
        # What it trained on is known again when its losses are measured, by that clock as well.
        measured = run_document(jobs.MeasureLosses(run=str(out), n=4))
        assert set(measured["parts"]) <= {"train", "heldout"}
        assert measured["parts"]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_run_of_before_clocks_were_recorded_is_refused_by_the_cause(
    tiny_base_copy: Path, sessions: Path, tmp_path: Path
) -> None:
    _print_the_time(tiny_base_copy)
    out = tmp_path / "run"
    _stop_after(1, _job(tiny_base_copy, sessions, out))
    manifest = json.loads((out / "run.json").read_text(encoding="utf-8"))
    del manifest["facts"]["clock"]
    (out / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(SekftError, match="its chat template prints the date"):
        run_document(_job(tiny_base_copy, sessions, out, resume=True))


def test_a_run_under_a_template_without_a_date_records_no_clock(
    tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    _stop_after(1, _job(tiny_base, sessions, tmp_path / "run"))
    manifest = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert "clock" not in manifest["facts"]


def test_a_run_is_resumable_from_its_first_write_on(
    tiny_base: Path, sessions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    written: list[Any] = []

    def refuse_the_second(run: Run, **changes: Any) -> None:
        written.append(changes)
        if len(written) == 2:
            raise OSError(errno.EIO, "Input/output error")
        write(run, **changes)

    write = Run.write
    with monkeypatch.context() as patch:
        patch.setattr(Run, "write", refuse_the_second)
        with pytest.raises(SekftError):
            run_document(_job(tiny_base, sessions, out))
    assert run_document(_job(tiny_base, sessions, out, resume=True))["steps"] == STEPS


def test_a_run_that_another_process_still_writes_is_refused_before_anything_is_read(
    tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    _stop_after(2, _job(tiny_base, sessions, out))
    info = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(info | {"status": "running"}))
    other = Journal(out / "events.jsonl")
    seen: list[Event] = []
    job = _job(tiny_base, sessions, out, resume=True)
    with pytest.raises(SekftError, match="another process is still writing this run"):
        run_document(job, None, seen.append)
    labels = [event.label for event in seen if isinstance(event, Progress)]
    assert "reading the data" not in labels
    other.close()
    assert run_document(job)["resumed"] is True


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    tiny_base: Path, sessions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SAVE_EVERY_STEPS", 2)
    whole = run_document(_job(tiny_base, sessions, tmp_path / "whole"))
    out = tmp_path / "run"
    _stop_after(6, _job(tiny_base, sessions, out))
    newest = max((out / "checkpoints").iterdir())
    state = newest / "state.safetensors"
    damaged = bytearray(state.read_bytes())
    damaged[-5] ^= 1
    state.write_bytes(damaged)
    (out / "checkpoints" / ".step-000008.half").mkdir()
    found = newest_checkpoint(out)
    assert found is not None
    assert found.counts.step == 5, "saved before the held-out loss was measured"
    report = run_document(_job(tiny_base, sessions, out, resume=True))
    assert report["adapter_sha256"] == whole["adapter_sha256"]


def test_the_command_takes_the_newest_unfinished_run_of_the_workspace(
    tiny_base: Path, sessions: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "sekft.toml").write_text("")
    flags = {"lr": 0.01, "rank": 4, "alpha": 8, "batch": 2, "epochs": 20, "token-losses": 0}
    line = ["train", "--base", str(tiny_base), "--data", str(sessions), "--workspace", str(place)]
    line += [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    child = subprocess.Popen(
        [sys.executable, "-c", "from sekft_engine.cli.main import main; main()", *line],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    run = place / "runs" / "001-train"
    until = time.monotonic() + 120
    while newest_checkpoint(run) is None and time.monotonic() < until:
        time.sleep(0.05)
    child.kill()
    child.wait()
    assert read_run(run).status == "died"
    assert run_command(["train", "--resume", "--workspace", str(place), "--lr", "0.2"]) == 2
    assert "lr was 0.01, now 0.2" in capfd.readouterr().err
    assert run_command(["train", "--resume", "--workspace", str(place), "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert (report["resumed"], report["run"]) == (True, "001-train")
    assert run_command(["runs", "show", "001", "--workspace", str(place), "--json"]) == 0
    journal = json.loads(capfd.readouterr().out)["journal"]
    assert len(journal["losses"]) == report["steps"]
    assert run_command(["train", "--resume", "--workspace", str(place)]) == 2
    assert "no training run to continue" in capfd.readouterr().err


@pytest.mark.slow
def test_hit_at_random_it_ends_in_the_same_bits(tiny_base: Path, tmp_path: Path) -> None:
    """A few trials; ``python -m tests.training.crash_trials`` does a hundred of all kinds."""
    script = "from tests.training.crash_trials import main; main()"
    faults = ("kill in a write", "EIO")
    named = [word for fault in faults for word in ("--fault", fault)]
    done = subprocess.run(
        [
            *(sys.executable, "-c", script, "--base", str(tiny_base), "--trials", str(len(faults))),
            *("--busy", "0", "--folder", str(tmp_path), *named),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _job(base: Path, data: Path, out: Path, **changes: Any) -> jobs.Train:
    fields: dict[str, Any] = {"recipe": crash.RECIPE} | changes
    return jobs.Train(base=str(base), data=str(data), out=str(out), **fields)


def _stop_after(step: int, job: jobs.Train) -> None:
    engine = Engine().start()

    def stop(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == step:
            engine.cancel(after_step=True)

    engine.subscribe(stop)
    try:
        with pytest.raises(Stopped):
            run_document(job, engine=engine)
    finally:
        engine.close()
