"""Which evals hold the sessions that an adapter did in training worlds."""

from __future__ import annotations

from pathlib import Path

from sekft_engine.records.experiments import ImproveResult
from sekft_engine.records.runs import RunInfo, read_run


def sampled_runs(info: RunInfo) -> list[RunInfo]:
    """The evals of a run: itself, or what the rounds of an improvement sampled."""
    result = info.result
    if not isinstance(result, ImproveResult):
        return [info]
    folder = Path(info.path)
    return [
        read_run(place)
        for each in result.rounds
        if each.sample_run
        for place in (folder.parent / each.sample_run, folder / each.sample_run)
        if place.is_dir()
    ]
