"""What a sweep has found so far, read from the runs of its points."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from sekft_engine import events
from sekft_engine.errors import BadInput
from sekft_engine.evaluate.verdict import MEASURES
from sekft_engine.journal import as_it_counts
from sekft_engine.runs import RunInfo, list_runs, read_events, read_run

KIND = "sweep"


def point_folder(sweep: Path, number: int, workspace_runs: Path | None) -> Path:
    """Where the run of point ``number`` (from 1) lies: beside its sweep among the workspace's runs,
    else inside the sweep's own folder."""
    beside = workspace_runs is not None and sweep.parent == workspace_runs
    return (sweep.parent if beside else sweep) / f"{sweep.name}-{number:02d}"


def eval_folder(point: Path) -> Path:
    """Where the eval of a point's adapter lies."""
    return point.with_name(f"{point.name}-eval")


def point_runs(sweep: RunInfo) -> list[tuple[dict[str, Any], RunInfo | None]]:
    """Each point of a sweep as its record tells it, with its run where that has begun."""
    folder = Path(sweep.path)
    found = []
    for point in sweep.about.get("points", []):
        name = str(point.get("run", ""))
        runs = (_run_in(place / name) for place in (folder.parent, folder))
        found.append((point, next((run for run in runs if run is not None), None)))
    return found


def same_sweep(runs: Path, key: str) -> RunInfo | None:
    """The newest sweep of this key among ``runs``."""
    of_key = (one for one in list_runs(runs) if one.kind == KIND and one.about.get("key") == key)
    return next(reversed(list(of_key)), None)


def document(sweep: RunInfo, *, seconds: float, done_now: int) -> dict[str, Any]:
    """The JSON document of ``sekft train --sweep``. ``best`` is the run with the most clean
    terminations where there are evals, else with the lowest held-out loss, else the lowest loss.

    Args:
        done_now: so many points were trained this time; the others were finished before.
    """
    points = [point_facts(point, run) for point, run in point_runs(sweep)]
    finished = [point for point in points if point["status"] == "done"]
    return {
        "sweep": sweep.id,
        "path": sweep.path,
        "fields": sweep.about.get("fields", []),
        "points": points,
        "finished": len(finished),
        "trained_now": done_now,
        "best": min(finished, key=_rank)["run"] if finished else None,
        "seconds": round(seconds, 2),
    }


def point_facts(point: dict[str, Any], run: RunInfo | None) -> dict[str, Any]:
    """One row of the table. Losses are means in nats, ``best`` the lowest held-out one."""
    facts: dict[str, Any] = {
        "run": point.get("run", ""),
        "changes": point.get("changes", {}),
        "values": point.get("values", {}),
        "status": run.status if run is not None else "waiting",
        "error": run.error if run is not None else "",
        "steps": 0,
        "loss": None,
        "heldout": None,
        "best": None,
        "seconds": None,
        "adapter": run.adapter if run is not None else "",
        "eval": None,
    }
    if run is None:
        return facts
    journal = as_it_counts(read_events(run.events_path))
    steps = [event for event in journal if isinstance(event, events.StepDone)]
    heldout = [
        event
        for event in journal
        if isinstance(event, events.HeldoutDone) and math.isfinite(event.loss)
    ]
    if steps:
        facts |= {"steps": steps[-1].step, "loss": _finite(steps[-1].loss)}
    if heldout:
        best = min(heldout, key=lambda event: event.loss)
        facts["heldout"] = heldout[-1].loss
        facts["best"] = {"step": best.step, "heldout": best.loss}
    facts["seconds"] = run.result.get("seconds")
    facts["eval"] = _rates(_run_in(eval_folder(Path(run.path))))
    return facts


def _rates(run: RunInfo | None) -> dict[str, Any] | None:
    subjects = run.result.get("subjects") if run is not None else None
    if run is None or not subjects:
        return None
    one = subjects[0]
    return {"run": run.id, "n": one["n"], "intervals": one.get("intervals", {})} | {
        measure: one[measure] for measure in MEASURES
    }


def _rank(point: dict[str, Any]) -> tuple[float, float, float]:
    rates = point["eval"]
    clean = rates["clean_termination"] / rates["n"] if rates and rates["n"] else -1.0
    heldout = point["best"]["heldout"] if point["best"] else math.inf
    return -clean, heldout, point["loss"] if point["loss"] is not None else math.inf


def _run_in(folder: Path) -> RunInfo | None:
    try:
        return read_run(folder)
    except (BadInput, OSError):
        return None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
