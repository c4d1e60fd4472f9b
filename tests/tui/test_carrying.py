"""What stays in view when a workbench's engine is handed over to another process."""

from __future__ import annotations

import pytest

from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_tui.model.carrying import carry
from sekft_tui.model.reducer import Shared, replayed


def run(job: str, path: str, kind: str = "train", t: float = 0.0) -> events.RunCreated:
    return events.RunCreated(job=job, t=t, run=path, path=path, kind=kind, about={})


def ended(job: str, kind: str, t: float, *made: Event) -> list[Event]:
    """A job from its start to its end."""
    started = events.JobStarted(job=job, t=t, kind=kind)
    return [started, *made, events.JobCancelled(job=job, t=t + 1, kind=kind)]


def test_the_finished_runs_of_a_sweep_stay_beside_the_one_that_goes_on() -> None:
    old = replayed(ended("sweep-1", "sweep", 1.0, run("sweep-1", "a"), run("sweep-1", "b")))
    new = replayed([events.JobStarted(job="sweep-1", t=3.0, kind="sweep"), run("sweep-1", "b")])
    carry(old, new)
    assert [view.path for view in new.earlier] == ["a"]
    assert new.train.path == "b"


@pytest.mark.parametrize(("before", "shown"), [(5.0, "mine"), (20.0, "theirs")])
def test_the_newer_of_two_evals_is_shown(before: float, shown: str) -> None:
    mine = run("eval-1", "mine", "eval")
    theirs = run("eval-1", "theirs", "eval")
    old = replayed(ended("eval-1", "eval", 10.0, mine))
    new = replayed(ended("eval-1", "eval", before, theirs))
    carry(old, new)
    assert new.eval.path == shown
    job = new.jobs[new.eval.job]
    assert (job.kind, job.status) == ("eval", "cancelled")


def test_what_is_at_work_is_shown_and_nothing_is_made_up() -> None:
    old = replayed(ended("train-1", "train", 10.0, run("train-1", "mine")))
    new = replayed([events.JobStarted(job="train-1", t=12.0, kind="train"), run("train-1", "new")])
    carry(old, new)
    assert (new.train.path, new.jobs[new.train.job].active) == ("new", True)
    empty = Shared()
    carry(Shared(), empty)
    assert (empty.train.run, empty.jobs) == ("", {})
