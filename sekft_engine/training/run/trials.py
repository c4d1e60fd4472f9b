"""Evals during training: the adapter acts in real worlds every so many steps.

The loss measures how well commands are predicted, not whether the model operates a shell and
leaves.
Episodes are those of ``sekft eval``: greedy, in the sandbox, on the resident base. They do
not use the random generators of training.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from sekft_engine.core.errors import BadInput, Interrupted
from sekft_engine.data.dialect import DEFAULT_DIALECT, Dialect
from sekft_engine.data.scenario import Scenario
from sekft_engine.episodes.choose import choose_scenarios, scenarios_digest
from sekft_engine.episodes.episode import Episode, FinishedEpisode
from sekft_engine.episodes.store import write_episode
from sekft_engine.episodes.verdict import MEASURES
from sekft_engine.model.resident import ResidentBase
from sekft_engine.operators.local import LocalOperators, context_limit
from sekft_engine.operators.parity import choose_decoding
from sekft_engine.operators.runner import run_episodes
from sekft_engine.operators.subjects import Subject
from sekft_engine.records import events, jobs
from sekft_engine.records.runs import WorldsFacts
from sekft_engine.records.trainings import TrialRates
from sekft_engine.sources import load_scenarios
from sekft_engine.work.context import Context
from sekft_engine.worlds import World, open_world


class Trials(msgspec.Struct, frozen=True, kw_only=True):
    """The worlds of the evals during training, with the options of the eval."""

    scenarios: tuple[Scenario, ...]
    dialect: Dialect
    options: jobs.Evaluate

    @property
    def facts(self) -> WorldsFacts:
        """The record of these worlds in the run's manifest."""
        return WorldsFacts(path=self.options.scenarios, sha256=scenarios_digest(self.scenarios))

    def open(self, scenario: Scenario) -> World:
        options = self.options
        return open_world(
            scenario, sandbox=options.sandbox, userland=options.userland, dialect=self.dialect
        )


def choose_trials(job: jobs.Train, context: Context) -> Trials | None:
    """Choose the worlds and check that they open; None = the recipe asks for no evals.

    Raises:
        BadInput: there are no scenarios, or fewer than asked for.
        Unavailable: there is no sandbox for them.
    """
    recipe, workspace = job.recipe, context.workspace
    if not recipe.eval_every:
        return None
    named = job.scenarios or (workspace.train_scenarios if workspace else "")
    if not named:
        raise BadInput("no scenarios named", mend="name a folder with --scenarios")
    folder = str(Path(named).expanduser().absolute())
    trials = Trials(
        scenarios=choose_scenarios(load_scenarios(folder), recipe.eval_worlds, recipe.seed),
        dialect=workspace.dialect if workspace else DEFAULT_DIALECT,
        options=jobs.Evaluate(base=job.base, scenarios=folder, seed=recipe.seed),
    )
    trials.open(trials.scenarios[0]).close()
    return trials


def refuse_undecodable(trials: Trials | None, base: ResidentBase) -> None:
    """Raise :class:`Unavailable` if ``base`` cannot act in them, before training begins."""
    if trials is not None:
        choose_decoding(
            base.model,
            sorted(base.tokenizer.end_of_turn_ids),
            context=context_limit(base.model.config, trials.options.context).limit,
        )


def measure_rates(
    trials: Trials, step: int, episodes: Path, base: ResidentBase, name: str, context: Context
) -> events.RatesMeasured:
    """Let adapter ``name`` act in each world, and store its episodes in folder ``episodes``.

    Raises:
        Interrupted: the job was asked to stop; the finished episodes are stored.
    """
    began = time.monotonic()
    subject = f"step-{step:06d}"
    label = f"eval after step {step}"
    done: list[FinishedEpisode] = []

    def keep(_episode: Episode, finished: FinishedEpisode) -> None:
        write_episode(episodes, subject, finished)
        done.append(finished)
        context.progress(label, len(done), len(trials.scenarios))

    def wait_or_stop() -> None:
        context.wait_while_paused()
        context.let_guest_work()
        if context.cancelled():
            raise Interrupted("the eval was stopped")

    options = trials.options
    operator, rows = LocalOperators(options, context, base)(Subject(name=subject, adapter=name))
    context.progress(label, 0, len(trials.scenarios))
    episodes.mkdir(exist_ok=True)
    run_episodes(
        [
            Episode(scenario, subject, step_cap=options.step_cap, open_world=trials.open)
            for scenario in trials.scenarios
        ],
        operator,
        rows=rows,
        seed=options.seed,
        on_done=keep,
        between=wait_or_stop,
    )
    verdicts = [episode.verdict for episode in done if not episode.verdict.invalid]
    counts = {what: sum(getattr(verdict, what) for verdict in verdicts) for what in MEASURES}
    seconds = round(time.monotonic() - began, 3)
    return events.RatesMeasured(job="", step=step, n=len(verdicts), seconds=seconds, **counts)


def score_of(rates: events.RatesMeasured) -> tuple[float, ...]:
    """The rates that rank adapters, in order of weight: clean termination, verified, terminates,
    operates. () = no episode counts."""
    if not rates.n:
        return ()
    order = (rates.clean_termination, rates.verified, rates.terminates, rates.operates)
    return tuple(count / rates.n for count in order)


def trial_rates(rates: events.RatesMeasured) -> TrialRates:
    """The measured rates as the run's result holds them."""
    return TrialRates(
        step=rates.step,
        n=rates.n,
        operates=rates.operates,
        terminates=rates.terminates,
        verified=rates.verified,
        clean_termination=rates.clean_termination,
    )
