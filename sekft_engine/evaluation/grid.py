"""The grid of an eval: every subject in every world, each episode stored as soon as it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from sekft_engine.core.errors import Interrupted
from sekft_engine.data.dialect import Dialect
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.trajectory import Turn
from sekft_engine.episodes.choose import scenario_digest
from sekft_engine.episodes.episode import Episode, FinishedEpisode, trial_name
from sekft_engine.episodes.store import episode_path, finished_already, write_episode
from sekft_engine.evaluation.report.comparisons import differences
from sekft_engine.evaluation.report.document import Conditions, document
from sekft_engine.evaluation.statistics.paired import (
    ALPHA,
    BLOCK,
    Decision,
    Sequential,
)
from sekft_engine.operators.operator import Operator
from sekft_engine.operators.runner import run_episodes
from sekft_engine.operators.subjects import Subject
from sekft_engine.records import events
from sekft_engine.records.evals import EvalResult, Partial
from sekft_engine.records.jobs import Evaluate
from sekft_engine.records.runs import Run
from sekft_engine.work.context import Context
from sekft_engine.worlds import World, open_world

#: Makes the operator of a subject; also gives the most episodes that it runs at once.
Operators = Callable[[Subject], tuple[Operator, int]]


class Grid:
    """Runs the episodes of an eval, subject by subject, or block by block until it is decided.

    Args:
        about: what identifies this eval; told in the document.
        conditions: how the subjects acted, as it is known at the end.
    """

    def __init__(
        self,
        job: Evaluate,
        context: Context,
        run: Run,
        scenarios: Sequence[Scenario],
        dialect: Dialect,
        about: dict[str, Any],
        conditions: Callable[[], Conditions] = Conditions,
    ) -> None:
        self._job = job
        self._conditions = conditions
        self._context = context
        self._run = run
        self._scenarios = scenarios
        self._dialect = dialect
        self._about = about
        self._digests = {scenario.id: scenario_digest(scenario) for scenario in scenarios}
        self._done: dict[str, dict[str, FinishedEpisode]] = {}
        self._decisions: dict[str, Decision] = {}
        self._controls: frozenset[str] = frozenset()

    def fill(self, subjects: Sequence[Subject], operators: Operators) -> None:
        """Run every episode that is not done yet, or as many as a decision takes."""
        job = self._job
        self._done = {subject.name: {} for subject in subjects}
        self._controls = frozenset(subject.name for subject in subjects if subject.control)
        if job.resume:
            trials = [
                (scenario.id, draw) for scenario in self._scenarios for draw in range(job.seeds)
            ]
            for subject in subjects:
                for trial, finished in finished_already(self._run.episodes, subject.name, trials):
                    self._add(subject.name, trial, finished, kept=True)
        size = BLOCK if job.until_decided else len(self._scenarios)
        for first in range(0, len(self._scenarios), size):
            for subject in subjects:
                self._evaluate(subject, operators, self._scenarios[first : first + size])
            if job.until_decided and self._is_decided(subjects, first + size):
                break

    def _evaluate(
        self, subject: Subject, operators: Operators, scenarios: Sequence[Scenario]
    ) -> None:
        job = self._job
        about = {
            "seed": job.seed,
            "temperature": job.temperature,
            "world": self._about["world"],
            "userland": self._about["userland"],
            "dialect": self._about["dialect"],
            "adapter_digest": subject.digest,
        }
        episodes = [
            Episode(
                scenario,
                subject.name,
                step_cap=job.step_cap,
                open_world=self._open_world,
                draw=draw,
                about=about | {"scenario_digest": self._digests[scenario.id]},
            )
            for scenario in scenarios
            for draw in range(job.seeds)
            if trial_name(scenario.id, draw) not in self._done[subject.name]
        ]
        if not episodes:
            return
        operator, rows = operators(subject)
        run_episodes(
            episodes,
            operator,
            rows=rows,
            seed=job.seed,
            on_start=self._started,
            on_turn=self._turn,
            on_done=self._finished,
            between=self._between,
        )

    def _is_decided(self, subjects: Sequence[Subject], worlds: int) -> bool:
        """Whether every comparison with the first subject is decided or out of reach.

        The worlds are added in the order of the eval, in whatever order they ended.

        Args:
            worlds: number of worlds that have been run, of all subjects.
        """
        first, *others = (subject.name for subject in subjects if not subject.control)
        for other in others:
            # Bonferroni correction: all comparisons together have the error rate ALPHA.
            test = Sequential(first, other, len(self._scenarios), ALPHA / len(others))
            of_first, of_other = ([*self._done[name].values()] for name in (first, other))
            by_world = differences(of_first, of_other)
            for scenario in self._scenarios[:worlds]:
                test.add(by_world.get(scenario.id))
            self._decisions[other] = test.decision
        return all(decision.state != "open" for decision in self._decisions.values())

    def document(self, began: float, *, stopped: bool = False) -> EvalResult:
        """The facts so far, scenarios in the order of the eval.

        Args:
            began: when the eval began, by the monotonic clock in seconds.
            stopped: it was stopped before its end; the document says how far it came.
        """
        job = self._job
        order = [(scenario.id, draw) for scenario in self._scenarios for draw in range(job.seeds)]
        trials = [trial_name(scenario, draw) for scenario, draw in order]
        ordered = {
            name: [done[trial] for trial in trials if trial in done]
            for name, done in self._done.items()
        }
        partial = Partial(episodes=sum(map(len, ordered.values())), of=len(ordered) * len(trials))
        return document(
            ordered,
            seconds=time.monotonic() - began,
            any_time=job.until_decided or stopped,
            order=order if stopped else None,
            run=self._run.id,
            path=str(self._run.folder),
            about=self._about,
            conditions=msgspec.structs.replace(self._conditions(), controls=self._controls),
            decisions=self._decisions if job.until_decided else None,
            partial=partial if stopped else UNSET,
        )

    def _open_world(self, scenario: Scenario) -> World:
        return open_world(
            scenario,
            sandbox=self._job.sandbox,
            userland=self._job.userland,
            dialect=self._dialect,
        )

    def _between(self) -> None:
        self._context.wait_while_paused()
        if self._context.cancelled():
            raise Interrupted("eval stopped", mend="run it again with --resume to go on")

    def _started(self, episode: Episode) -> None:
        self._context.emit(
            events.EpisodeStarted(job="", subject=episode.subject, scenario=episode.trial)
        )

    def _turn(self, episode: Episode, number: int, turn: Turn) -> None:
        self._context.emit(
            events.TurnDone(
                job="",
                subject=episode.subject,
                scenario=episode.trial,
                number=number,
                role=turn.role,
                content=turn.content,
                at=turn.t or 0.0,
            )
        )

    def _finished(self, episode: Episode, finished: FinishedEpisode) -> None:
        write_episode(self._run.episodes, episode.subject, finished)
        self._add(episode.subject, episode.trial, finished)

    def _add(
        self, subject: str, trial: str, finished: FinishedEpisode, *, kept: bool = False
    ) -> None:
        self._done[subject][trial] = finished
        verdict = finished.verdict
        self._context.emit(
            events.EpisodeDone(
                job="",
                subject=subject,
                scenario=trial,
                archetype=finished.trajectory.archetype,
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
                path=str(episode_path(self._run.episodes, subject, trial)),
                kept=kept,
            )
        )
