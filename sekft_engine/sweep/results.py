"""What a sweep has found so far, read from the runs of its points."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.records import events
from sekft_engine.records.evals import EvalResult
from sekft_engine.records.journal import effective_events
from sekft_engine.records.results import BestHeldout, PointRates, SweepPoint, SweepResult
from sekft_engine.records.runs import RunInfo, read_events, read_run
from sekft_engine.records.stages import stage_folder
from sekft_engine.records.trainings import TrainResult

KIND = "sweep"


def point_folder(sweep: Path, number: int, workspace_runs: Path | None) -> Path:
    """Where the run of point ``number`` (from 1) lies: beside its sweep among the workspace's runs,
    else inside the sweep's own folder."""
    return stage_folder(sweep, f"{number:02d}", workspace_runs)


def eval_folder(point: Path) -> Path:
    """Where the eval of a point's adapter lies."""
    return point.with_name(f"{point.name}-eval")


class PlannedPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A point as the sweep's record has it: its run's id, what it changes, and what its recipe has
    in the fields that differ."""

    run: str = ""
    changes: dict[str, object] = {}
    values: dict[str, object] = {}


def planned_points(sweep: RunInfo) -> list[PlannedPoint]:
    """The points of a sweep, in order; none where its record is of another version."""
    try:
        return msgspec.convert(sweep.about.get("points", []), list[PlannedPoint])
    except msgspec.ValidationError:
        return []


def point_runs(sweep: RunInfo) -> list[tuple[PlannedPoint, RunInfo | None]]:
    """Each point of a sweep, with its run where that has begun."""
    folder = Path(sweep.path)
    found = []
    for point in planned_points(sweep):
        runs = (_run_in(place / point.run) for place in (folder.parent, folder))
        found.append((point, next((run for run in runs if run is not None), None)))
    return found


def document(sweep: RunInfo, *, seconds: float, done_now: int) -> SweepResult:
    """The document of ``sekft train --sweep``. ``best`` is the run with the most clean terminations
    where there are evals, else with the lowest held-out loss, else the lowest loss.

    Args:
        sweep: the sweep's own run.
        seconds: how long it took this time.
        done_now: so many points were trained this time; the others were finished before.
    """
    points = [point_facts(point, run) for point, run in point_runs(sweep)]
    finished = [point for point in points if point.status == "done"]
    return SweepResult(
        sweep=sweep.id,
        path=sweep.path,
        fields=list(sweep.about.get("fields", [])),
        points=points,
        finished=len(finished),
        trained_now=done_now,
        best=min(finished, key=_rank).run if finished else None,
        seconds=round(seconds, 2),
    )


def point_facts(point: PlannedPoint, run: RunInfo | None) -> SweepPoint:
    """One row of the table."""
    facts = SweepPoint(run=point.run, changes=point.changes, values=point.values)
    if run is None:
        return facts
    journal = effective_events(read_events(run.events_path))
    steps = [event for event in journal if isinstance(event, events.StepDone)]
    heldout = [
        event
        for event in journal
        if isinstance(event, events.HeldoutDone) and math.isfinite(event.loss)
    ]
    best = min(heldout, key=lambda event: event.loss) if heldout else None
    return msgspec.structs.replace(
        facts,
        status=run.status,
        error=run.error,
        steps=steps[-1].step if steps else 0,
        loss=_finite(steps[-1].loss) if steps else None,
        heldout=heldout[-1].loss if heldout else None,
        best=BestHeldout(step=best.step, heldout=best.loss) if best is not None else None,
        seconds=run.result.seconds if isinstance(run.result, TrainResult) else None,
        adapter=run.adapter,
        eval=_rates(_run_in(eval_folder(Path(run.path)))),
    )


def _rates(run: RunInfo | None) -> PointRates | None:
    if run is None or not isinstance(run.result, EvalResult) or not run.result.subjects:
        return None
    subject = run.result.subjects[0]
    return PointRates(
        run=run.id,
        n=subject.n,
        intervals=subject.intervals,
        operates=subject.operates,
        terminates=subject.terminates,
        verified=subject.verified,
        clean_termination=subject.clean_termination,
    )


def _rank(point: SweepPoint) -> tuple[float, float, float]:
    rates = point.eval
    clean = rates.clean_termination / rates.n if rates is not None and rates.n else -1.0
    heldout = point.best.heldout if point.best is not None else math.inf
    return -clean, heldout, point.loss if point.loss is not None else math.inf


def _run_in(folder: Path) -> RunInfo | None:
    try:
        return read_run(folder)
    except (BadInput, OSError):
        return None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
