"""A process that trains on a card is killed, and another one finishes its run."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sekft_engine.records import events, jobs
from sekft_engine.records.journal import effective_events
from sekft_engine.records.runs import read_events, read_run
from sekft_engine.training.run.checkpoint import newest_checkpoint
from tests.accelerator.killed import KILLED_AFTER
from tests.documents import run_document
from tests.training.conftest import RECIPE

ROOT = Path(__file__).parents[2]
RUN = msgspec.structs.replace(
    RECIPE, max_steps=6, epochs=3, dropout=0.0, heldout_every=3, token_losses=0
)


def losses(run: Path) -> list[float]:
    """Of all steps that count, their gradient norms, and held-out losses."""
    found = []
    for event in effective_events(read_events(run / "events.jsonl")):
        if isinstance(event, events.StepDone):
            found += [event.loss, event.grad_norm]
        elif isinstance(event, events.HeldoutDone):
            found.append(event.loss)
    return found


def test_a_run_whose_process_was_killed_goes_on_there_and_on_the_cpu_with_the_same_losses(
    tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    def job(name: str, **changes: Any) -> jobs.Train:
        fields: dict[str, Any] = {"base": str(tiny_base), "data": str(sessions), "recipe": RUN}
        return jobs.Train(out=str(tmp_path / name), **(fields | changes))

    asked = msgspec.json.encode(job("killed", device="sim")).decode()
    command = [sys.executable, "-m", "tests.accelerator.killed", asked]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == str(KILLED_AFTER):
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL
    killed = tmp_path / "killed"
    facts = read_run(killed)
    assert (facts.status, facts.facts.base.device) == ("died", "sim:0")
    checkpoint = newest_checkpoint(killed)
    assert checkpoint is not None
    assert 0 < checkpoint.counts.step <= KILLED_AFTER
    shutil.copytree(killed, tmp_path / "on the cpu")
    run_document(job("whole", device="cpu"))
    expected = losses(tmp_path / "whole")
    assert len(expected) >= 12
    for name, device in (("killed", "sim"), ("on the cpu", "cpu")):
        result = run_document(job(name, device=device, resume=True))
        assert (result["steps"], result["resumed"]) == (6, True)
        assert losses(tmp_path / name) == pytest.approx(expected, rel=1e-4), device
