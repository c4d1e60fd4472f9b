"""Which function does which job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sekft_engine import jobs
from sekft_engine.errors import JobFailed
from sekft_engine.importing import import_module
from sekft_engine.jobs import Job, kind_of

Handler = Callable[[Any, Any], dict[str, Any]]

#: Which function does which job: ``module:function``, imported at the first such job.
HANDLERS: Mapping[type[Job], str | Handler] = {
    jobs.Load: "sekft_engine.resident_jobs:run_load",
    jobs.Prepare: "sekft_engine.resident_jobs:run_prepare",
    jobs.Attach: "sekft_engine.resident_jobs:run_attach",
    jobs.Swap: "sekft_engine.resident_jobs:run_swap",
    jobs.Drop: "sekft_engine.resident_jobs:run_drop",
    jobs.Train: "sekft_engine.sft.train:run_train",
    jobs.Sweep: "sekft_engine.sft.sweep:run_sweep",
    jobs.FindRate: "sekft_engine.sft.finder:run_find_rate",
    jobs.Evaluate: "sekft_engine.evaluate.run:run_evaluate",
    jobs.HandBack: "sekft_engine.evaluate.takeover_job:run_hand_back",
    jobs.MeasureLosses: "sekft_engine.sft.measure_job:run_measure",
    jobs.Export: "sekft_engine.export.job:run_export",
    jobs.Setup: "sekft_engine.demo:run_setup",
}


def handler_of(job: Job, handlers: Mapping[type[Job], str | Handler]) -> Handler:
    """The function that does ``job``, imported now where it was not before."""
    handler = handlers.get(type(job))
    if handler is None:
        raise JobFailed(f"this engine has no way to do {kind_of(job)!r}")
    if isinstance(handler, str):
        module, _, name = handler.partition(":")
        found: Handler = getattr(import_module(module), name)
        return found
    return handler
