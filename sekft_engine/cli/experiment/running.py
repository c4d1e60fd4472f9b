"""Run a job of many stages, and print what it came to, also where it was stopped."""

from __future__ import annotations

from typing import TypeVar

from sekft_engine.cli.eval import EvalDisplay
from sekft_engine.cli.show.document import print_json
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.run_job import run_job
from sekft_engine.records.experiments import ExperimentResult, ImproveResult
from sekft_engine.records.jobs import Job
from sekft_engine.records.results import expect
from sekft_engine.work.context import Stopped

Result = TypeVar("Result", ExperimentResult, ImproveResult)


def run_stages(
    job: Job,
    place: Workspace | None,
    wanted: type[Result],
    *,
    display: EvalDisplay,
    resident: bool,
    as_json: bool,
) -> Result:
    """The result of ``job``; with ``as_json`` it is printed, of a stopped job as far as it came.

    Raises:
        Stopped: it was stopped.
    """
    try:
        with display:
            result = expect(run_job(job, place, display.show, resident=resident), wanted)
    except Stopped as stop:
        if as_json and isinstance(stop.result, wanted):
            print_json(stop.result)
        raise
    if as_json:
        print_json(result)
    return result
