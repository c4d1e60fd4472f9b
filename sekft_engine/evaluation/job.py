"""The eval job: subjects on the same worlds and seeds, every episode stored as soon as it ends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from sekft_engine.core.errors import Interrupted, SekftError
from sekft_engine.data.clock import Clock
from sekft_engine.data.dialect import DEFAULT_DIALECT, Dialect
from sekft_engine.data.scenario import Scenario
from sekft_engine.episodes.choose import choose_scenarios, scenarios_digest
from sekft_engine.episodes.episode import trial_name
from sekft_engine.episodes.step_cap import too_low
from sekft_engine.evaluation.grid import Grid, Operators, Together
from sekft_engine.evaluation.refuse import (
    needs_base,
    refuse_no_place,
    refuse_unsuited_base,
    refuse_what_cannot_be_kept,
    refuse_what_shows_nothing,
)
from sekft_engine.evaluation.report.document import Conditions
from sekft_engine.evaluation.resume import DEFAULTS, REFUSED, earlier_eval, recorded_names
from sekft_engine.operators.controls import control_operator, controls_of
from sekft_engine.operators.local import LocalOperators
from sekft_engine.operators.operator import Operator
from sekft_engine.operators.subjects import Subject, Subjects, subjects_of
from sekft_engine.records import events
from sekft_engine.records.adapters import adapter_digest
from sekft_engine.records.evals import EvalResult
from sekft_engine.records.jobs import Evaluate
from sekft_engine.records.precision import recorded_precision
from sekft_engine.records.runs import Run
from sekft_engine.sources import load_scenarios
from sekft_engine.work.context import Context, Stopped
from sekft_engine.worlds import open_world


def run_evaluate(job: Evaluate, context: Context) -> EvalResult:
    """Evaluate and return the document of ``sekft eval``; a stopped eval can be resumed."""
    began = time.monotonic()
    refuse_what_shows_nothing(job)
    refuse_no_place(job, context)
    refuse_unsuited_base(job, context)
    if needs_base(job):
        context.device(job.base, job.device)  # a wrong one is refused first
    scenarios = choose_scenarios(load_scenarios(job.scenarios), job.n, job.seed)
    if warning := too_low(scenarios, job.step_cap):
        context.log(warning, "warning")
    dialect = context.workspace.dialect if context.workspace else DEFAULT_DIALECT
    # Fail without a sandbox before the base is loaded.
    with open_world(
        scenarios[0], sandbox=job.sandbox, userland=job.userland, dialect=dialect
    ) as world:
        place = {"world": world.backend, "userland": world.userland.label}
    asked = _about(job, scenarios, dialect, place)
    refuse_what_cannot_be_kept(job, context, asked)
    with _stage(job, context, dialect, asked) as stage:
        subjects = [*stage.subjects, *controls_of(job.controls)]
        about = stage.about | asked
        run = _open_run(job, context, about)
        if clock := Clock.read(run.info.about.get("clock")):
            stage.set_clock(clock)
            about["clock"] = msgspec.to_builtins(clock)
        run.episodes.mkdir(exist_ok=True)
        context.emit(
            events.EvalStarted(
                job="",
                subjects=[subject.name for subject in subjects],
                controls=[subject.name for subject in subjects if subject.control],
                scenarios=[
                    trial_name(scenario.id, draw)
                    for scenario in scenarios
                    for draw in range(job.seeds)
                ],
                archetypes=[each.archetype for each in scenarios for _ in range(job.seeds)],
                seeds=job.seeds,
                until_decided=job.until_decided,
            )
        )
        grid = Grid(job, context, run, scenarios, dialect, about, stage.conditions)

        def operators(subject: Subject) -> tuple[Operator, int]:
            if subject.control:
                return control_operator(subject, scenarios, job.seeds)
            return stage.operators(subject)

        try:
            grid.fill(subjects, operators, stage.together)
        except Interrupted as stop:
            raise Stopped(str(stop), result=grid.document(began, stopped=True)) from stop
        return grid.document(began)


class Stage(NamedTuple):
    """Who is evaluated, what makes them act, what identifies them in what the run is about, how
    they acted, what sets the clock that the chat template prints, and what makes several of them
    act together."""

    subjects: list[Subject]
    operators: Operators
    about: dict[str, Any]
    conditions: Callable[[], Conditions]
    set_clock: Callable[[Clock], None] = lambda _: None
    together: Together = lambda _subjects, _subject_of: None


@contextlib.contextmanager
def _stage(
    job: Evaluate, context: Context, dialect: Dialect, asked: dict[str, Any]
) -> Iterator[Stage]:
    """The subjects on the resident base, or models behind endpoints.

    Args:
        asked: what is known of the eval without its base.
    """
    if job.endpoints:
        from sekft_engine.operators.remote import RemoteOperators

        with RemoteOperators(job, context) as remote:
            yield Stage(
                remote.subjects, remote, remote.about, lambda: Conditions(served=remote.served())
            )
        return
    if not needs_base(job):
        yield Stage([], _nobody, {}, Conditions)
        return
    four_bits = context.four_bits(job.base, job.load_4bit, recorded_precision(job.adapters))
    base = context.load_base(job.base, four_bits, device=job.device)
    with subjects_of(job, context, base, dialect) as subjects:
        for note in base.tokenizer.notes:
            context.log(note, "warning")
        about: dict[str, Any] = {
            "base": str(base.path),
            "base_digest": base.digest,
            "quantised": base.quantised,
            **subjects_by_name(subjects),
        }
        earlier = earlier_eval(job, context.workspace, about | asked)
        if earlier is not None:  # its episodes are stored under the names of then
            subjects.rename(recorded_names(earlier))
            about |= subjects_by_name(subjects)
        if clock := base.tokenizer.recorded_clock:
            about["clock"] = msgspec.to_builtins(clock)
        local = LocalOperators(job, context, base, subjects.activate)
        conditions = Conditions(
            context=local.context_limit,
            doubts={subject.name: subject.doubt for subject in subjects.acting},
            trained_4bit={subject.name: subject.trained_4bit for subject in subjects.acting},
            precision={subject.name: subject.precision for subject in subjects.acting},
            refused={refused.name: str(refused.error) for refused in subjects.refused},
        )

        def together(
            several: Sequence[Subject], subject_of: Callable[[str], Subject]
        ) -> tuple[Operator, int] | None:
            if job.exact or not subjects.attach_all(several):
                return None
            made = local.together(several, subject_of)
            if made is None:
                subjects.leave()  # each is attached by itself when it is its turn
            return made

        yield Stage(subjects.acting, local, about, lambda: conditions, base.set_clock, together)


def subjects_by_name(subjects: Subjects) -> dict[str, dict[str, str]]:
    """The digests of adapters by their names, for what the run is about."""
    found = {"subjects": {subject.name: subject.digest for subject in subjects.acting}}
    if subjects.refused:
        found[REFUSED] = {refused.name: refused.digest for refused in subjects.refused}
    return found


def _nobody(subject: Subject) -> tuple[Operator, int]:
    raise LookupError(f"{subject.name} is not on this stage")


def _about(
    job: Evaluate, scenarios: Sequence[Scenario], dialect: Dialect, place: dict[str, str]
) -> dict[str, Any]:
    """What makes this eval this one and no other; to be resumed it must agree in all of it."""
    options = {name: getattr(job, name) for name in DEFAULTS} | {"controls": [*job.controls]}
    return (
        {name: value for name, value in options.items() if value != DEFAULTS[name]}
        | {
            "scenarios": str(Path(job.scenarios).absolute()),
            "n": len(scenarios),
            "seed": job.seed,
            "temperature": job.temperature,
            "step_cap": job.step_cap,
            "turn_tokens": job.turn_tokens,
            "dialect": msgspec.to_builtins(dialect),
            # Last: where another n or seed chose other scenarios, that is the thing to say.
            "scenarios_digest": scenarios_digest(scenarios),
        }
        | place
    )


def _open_run(job: Evaluate, context: Context, about: dict[str, Any]) -> Run:
    earlier = earlier_eval(job, context.workspace, about)
    if earlier is not None:
        return context.reopen_run(earlier)
    return context.open_run("eval", about=about, out=job.out, asked=_by_folder(job, context))


def _by_folder(job: Evaluate, context: Context) -> Evaluate:
    """The job with adapters of the base named by their folders, so that an engine that has not got
    them can resume it."""
    base = context.base

    def place(spec: str) -> str:
        if base is None or spec not in base.adapters:
            return spec
        folder = base.folder(spec)
        with contextlib.suppress(SekftError, OSError):
            if folder is not None and adapter_digest(folder) == base.adapters[spec]:
                return str(folder)
        return spec

    return msgspec.structs.replace(job, adapters=tuple(map(place, job.adapters)))
