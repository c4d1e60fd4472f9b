"""The experiment job: stages one after another on one resident base, and a report of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.bases import base_digest, refuse_unknown_targets
from sekft_engine.core.errors import Interrupted
from sekft_engine.experiment.budget import plan_of, seconds_of
from sekft_engine.experiment.course import Course
from sekft_engine.experiment.presets import Preset, preset_of
from sekft_engine.records import jobs
from sekft_engine.records.experiments import ExperimentResult, PlanFacts
from sekft_engine.records.results import SetupResult, expect
from sekft_engine.records.runs import Run
from sekft_engine.records.stages import key_of, named_or_same
from sekft_engine.work.context import Context, Stopped

KIND = "experiment"


def run_experiment(job: jobs.Experiment, context: Context) -> ExperimentResult:
    """Do what is not done yet of the experiment, and write its report."""
    preset = preset_of(job)
    budget_s = seconds_of(job.budget)
    setup_s = _set_up(job, preset, context)
    base = _base(preset, context)
    context.device(str(base), job.device)  # a wrong one is refused before anything is made
    preset = msgspec.structs.replace(preset, base=str(base))
    run = _open(job, preset, budget_s, context)
    plan = _plan(run) or plan_of(preset, budget_s)
    course = Course(context, run, job, preset, plan, setup_s=setup_s)
    try:
        return course.take()
    except Interrupted as stop:
        raise Stopped(
            f"{stop.what}; give the same command again to continue", result=course.result()
        ) from stop


def _set_up(job: jobs.Experiment, preset: Preset, context: Context) -> float:
    """Make the demo's workspace where the preset is about that; returns the seconds."""
    if not preset.demo or context.workspace is None:
        return 0.0
    root = str(context.workspace.root)
    made = context.do_part(jobs.Setup(workspace=root, train=preset.sessions, seed=job.seed))
    return expect(made, SetupResult).seconds


def _base(preset: Preset, context: Context) -> Path:
    """The folder of the base; a known one is fetched and converted where it is not here."""
    from sekft_engine.bases.catalogue import KNOWN
    from sekft_engine.bases.store import add_base

    place = context.workspace
    if preset.base in KNOWN and place is not None:
        add_base(preset.base, place.bases, report=context.progress, cancelled=context.cancelled)
    folder = context.find_base(preset.base)
    refuse_unknown_targets(folder, preset.recipe.targets)
    return folder


def _open(job: jobs.Experiment, preset: Preset, budget_s: float, context: Context) -> Run:
    """The run of this experiment: the one that has begun, else a new one."""
    what: dict[str, Any] = {
        "preset": msgspec.to_builtins(msgspec.structs.replace(preset, base="", about="")),
        "base": base_digest(Path(preset.base)),
        "budget": budget_s,
        "seed": job.seed,
    }
    key = key_of(what)
    about = {"key": key, "base": preset.base, "budget": job.budget, "seed": job.seed}
    about |= {"preset": preset.name, "recipe": what["preset"]["recipe"]}
    runs = context.workspace.runs if context.workspace is not None else None
    earlier = named_or_same(job.out, None if job.new else runs, KIND, key)
    if earlier is None:
        return context.open_run(KIND, about=about, out=job.out, name=preset.name)
    return context.reopen_run(Path(earlier.path))


def _plan(run: Run) -> PlanFacts | None:
    """The plan that was made before the experiment was stopped."""
    stored = run.info.about.get("plan")
    if stored is None:
        return None
    try:
        return msgspec.convert(stored, PlanFacts)
    except msgspec.ValidationError:  # of another version
        return None
