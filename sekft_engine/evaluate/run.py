"""The eval job: subjects on the same worlds and seeds, every episode stored as soon as it ends."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine import events
from sekft_engine.base import ResidentBase
from sekft_engine.context import Context, Stopped
from sekft_engine.dialect import DEFAULT_DIALECT, Dialect
from sekft_engine.errors import BadInput, Interrupted
from sekft_engine.evaluate.choose import choose_scenarios
from sekft_engine.evaluate.decode import BatchedDecoder
from sekft_engine.evaluate.episode import Episode, Finished
from sekft_engine.evaluate.loop import run_episodes
from sekft_engine.evaluate.operator import ModelOperator
from sekft_engine.evaluate.report import document
from sekft_engine.evaluate.store import finished_already, write_episode
from sekft_engine.evaluate.subjects import Subject, refuse_other_dialect, subjects_of
from sekft_engine.jobs import Evaluate
from sekft_engine.runs import Run, list_runs, read_run
from sekft_engine.scenario import Scenario
from sekft_engine.sources import load_scenarios
from sekft_engine.trajectory import Turn
from sekft_engine.worlds import World, open_world

#: Most ids in one episode, however much the base could hold: a session that prints this much has
#: lost its way, and sixteen of them must fit in memory together.
CONTEXT = 4096
#: Episodes decoded together.
ROWS_CPU, ROWS_CUDA = 16, 64


def run_evaluate(job: Evaluate, context: Context) -> dict[str, Any]:
    """Evaluate and return the document of ``sekft eval``; a stopped eval can be resumed."""
    began = time.monotonic()
    scenarios = choose_scenarios(load_scenarios(job.scenarios), job.n, job.seed)
    dialect = context.workspace.dialect if context.workspace else DEFAULT_DIALECT
    # A machine without a sandbox is told before the base is loaded.
    with open_world(scenarios[0], sandbox=job.sandbox, dialect=dialect) as world:
        backend = str(getattr(world, "backend", ""))
    base = context.load_base(job.base, job.load_4bit)
    with subjects_of(job, context, base) as subjects:
        refuse_other_dialect(base, subjects, dialect)
        about = _about(job, base, subjects, scenarios, dialect, backend)
        run = _open_run(job, context, about)
        run.episodes.mkdir(exist_ok=True)
        context.emit(
            events.EvalStarted(
                job="",
                subjects=[subject.name for subject in subjects],
                scenarios=[scenario.id for scenario in scenarios],
                archetypes=[scenario.archetype for scenario in scenarios],
            )
        )
        table = _Table(job, context, run, scenarios, dialect, about)
        try:
            for subject in subjects:
                table.evaluate(subject, base)
        except Interrupted as stop:
            raise Stopped(str(stop), result=table.document(began)) from stop
        return table.document(began)


class _Table:
    """Scenarios by subjects, filled row by row."""

    def __init__(
        self,
        job: Evaluate,
        context: Context,
        run: Run,
        scenarios: Sequence[Scenario],
        dialect: Dialect,
        about: dict[str, Any],
    ) -> None:
        self._job = job
        self._context = context
        self._run = run
        self._scenarios = scenarios
        self._dialect = dialect
        self._about = about
        self._done: dict[str, dict[str, Finished]] = {}

    def evaluate(self, subject: Subject, base: ResidentBase) -> None:
        """Run what is left to run of ``subject``."""
        job, context = self._job, self._context
        done = self._done[subject.name] = {}
        if job.resume:
            names = [scenario.id for scenario in self._scenarios]
            done |= finished_already(self._run.episodes, subject.name, names)
        base.activate(subject.adapter)
        decoder = BatchedDecoder(
            base.model,
            stop_ids=sorted(base.tokenizer.end_of_turn_ids),
            temperature=job.temperature,
            cancelled=context.cancelled,
        )
        operator = ModelOperator(
            decoder,
            base.tokenizer,
            turn_tokens=job.turn_tokens,
            context=context_limit(base.model.config),
        )
        about = {
            "seed": job.seed,
            "temperature": job.temperature,
            "world": self._about["world"],
            "dialect": self._about["dialect"],
            "adapter_digest": subject.digest,
        }
        episodes = [
            Episode(
                scenario,
                subject.name,
                step_cap=job.step_cap,
                open_world=self._open_world,
                about=about,
            )
            for scenario in self._scenarios
            if scenario.id not in done
        ]
        run_episodes(
            episodes,
            operator,
            rows=ROWS_CUDA if base.device.type == "cuda" else ROWS_CPU,
            seed=job.seed,
            on_start=self._started,
            on_turn=self._turn,
            on_done=self._finished,
            between=self._between,
        )

    def document(self, began: float) -> dict[str, Any]:
        """The facts so far, scenarios in the order of the eval."""
        ordered = {
            name: [done[scenario.id] for scenario in self._scenarios if scenario.id in done]
            for name, done in self._done.items()
        }
        return document(
            ordered,
            seconds=time.monotonic() - began,
            run=self._run.id,
            path=str(self._run.folder),
            about=self._about,
        )

    def _open_world(self, scenario: Scenario) -> World:
        return open_world(scenario, sandbox=self._job.sandbox, dialect=self._dialect)

    def _between(self) -> None:
        self._context.wait_while_paused()
        if self._context.cancelled():
            raise Interrupted("eval stopped", mend="run it again with --resume to go on")

    def _started(self, episode: Episode) -> None:
        self._context.emit(
            events.EpisodeStarted(job="", subject=episode.subject, scenario=episode.scenario.id)
        )

    def _turn(self, episode: Episode, number: int, turn: Turn) -> None:
        self._context.emit(
            events.TurnDone(
                job="",
                subject=episode.subject,
                scenario=episode.scenario.id,
                number=number,
                role=turn.role,
                content=turn.content,
                at=turn.t or 0.0,
            )
        )

    def _finished(self, episode: Episode, finished: Finished) -> None:
        path = write_episode(self._run.episodes, episode.subject, finished)
        self._done[episode.subject][episode.scenario.id] = finished
        verdict = finished.verdict
        self._context.emit(
            events.EpisodeDone(
                job="",
                subject=episode.subject,
                scenario=episode.scenario.id,
                archetype=episode.scenario.archetype,
                outcome=verdict.outcome,
                expected=verdict.expected,
                steps=verdict.steps,
                turns=len(finished.trajectory.turns),
                clean=verdict.clean,
                operates=verdict.operates,
                terminates=verdict.terminates,
                verified=verdict.verified,
                clean_termination=verdict.clean_termination,
                invalid=verdict.invalid,
                seconds=round(finished.seconds, 3),
                path=str(path),
            )
        )


def context_limit(config: Any) -> int:
    """Most ids an episode may hold on a model with this configuration.

    A sliding window is a limit too: within it, attention to everything is what the model does.
    """
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    bounds = (
        getattr(text, "max_position_embeddings", None),
        getattr(text, "sliding_window", None),
        CONTEXT,
    )
    return min(int(bound) for bound in bounds if bound)


def _about(
    job: Evaluate,
    base: ResidentBase,
    subjects: Sequence[Subject],
    scenarios: Sequence[Scenario],
    dialect: Dialect,
    backend: str,
) -> dict[str, Any]:
    """What makes this eval this one and no other; to be resumed it must agree in all of it."""
    return {
        "base": str(base.path),
        "base_digest": base.digest,
        "quantised": base.quantised,
        "subjects": {subject.name: subject.digest for subject in subjects},
        "scenarios": str(Path(job.scenarios).absolute()),
        "scenarios_digest": _scenarios_digest(scenarios),
        "n": len(scenarios),
        "seed": job.seed,
        "temperature": job.temperature,
        "step_cap": job.step_cap,
        "turn_tokens": job.turn_tokens,
        "dialect": msgspec.to_builtins(dialect),
        "world": backend,
    }


def _scenarios_digest(scenarios: Sequence[Scenario]) -> str:
    total = hashlib.sha256()
    for scenario in sorted(scenarios, key=lambda one: one.id):
        total.update(msgspec.json.encode(scenario.to_json(), order="deterministic"))
    return total.hexdigest()


def _open_run(job: Evaluate, context: Context, about: dict[str, Any]) -> Run:
    if not job.resume:
        return context.open_run("eval", about=about, out=job.out)
    folder = Path(job.out).expanduser().absolute() if job.out else _unfinished(context, about)
    if folder is None or not (folder / "run.json").is_file():
        return context.open_run("eval", about=about, out=job.out)
    before = read_run(folder).about
    for name, value in about.items():
        if before.get(name) != value:
            raise BadInput(
                f"this run was another eval: its {name.replace('_', ' ')} differs",
                where=str(folder),
                mend="ask for the same eval, or choose another --out",
            )
    return context.reopen_run(folder)


def _unfinished(context: Context, about: dict[str, Any]) -> Path | None:
    """The newest run of the same eval in the workspace that did not come to its end."""
    if context.workspace is None:
        return None
    for info in reversed(list_runs(context.workspace.runs)):
        if info.kind == "eval" and info.about == about and info.status not in ("done", "running"):
            return Path(info.path)
    return None
