"""Which function does which job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sekft_engine.core.errors import JobFailed
from sekft_engine.core.imports import import_module
from sekft_engine.records import jobs
from sekft_engine.records.jobs import Job
from sekft_engine.records.results import AnyResult

#: Does a job of its kind, given the job and its context.
Handler = Callable[[Any, Any], AnyResult]

#: Which function does which job: ``module:function``, imported at the first such job.
HANDLERS: Mapping[type[Job], str | Handler] = {
    jobs.Load: "sekft_engine.work.base_jobs:run_load",
    jobs.Prepare: "sekft_engine.work.base_jobs:run_prepare",
    jobs.Attach: "sekft_engine.work.base_jobs:run_attach",
    jobs.Swap: "sekft_engine.work.base_jobs:run_swap",
    jobs.Drop: "sekft_engine.work.base_jobs:run_drop",
    jobs.Rename: "sekft_engine.work.base_jobs:run_rename",
    jobs.Train: "sekft_engine.training.run.job:run_train",
    jobs.Sweep: "sekft_engine.sweep.job:run_sweep",
    jobs.FindRate: "sekft_engine.sweep.rate_search:run_find_rate",
    jobs.Evaluate: "sekft_engine.evaluation.job:run_evaluate",
    jobs.Experiment: "sekft_engine.experiment.job:run_experiment",
    jobs.Improve: "sekft_engine.improvement.job:run_improve",
    jobs.HandBack: "sekft_engine.takeover.job:run_hand_back",
    jobs.MeasureLosses: "sekft_engine.training.token_losses.job:run_measure",
    jobs.Export: "sekft_engine.export.job:run_export",
    jobs.Setup: "sekft_engine.demo:run_setup",
}


def handler_of(kind: type[Job], handlers: Mapping[type[Job], str | Handler]) -> Handler:
    """The function that does jobs of this kind, imported now where it was not before."""
    handler = handlers.get(kind)
    if handler is None:
        raise JobFailed(f"this engine has no way to do {kind.__struct_config__.tag!r}")
    if isinstance(handler, str):
        module, _, name = handler.partition(":")
        found: Handler = getattr(import_module(module), name)
        return found
    return handler
