"""What the adapter in training does in real worlds: a small eval every so many steps.

The loss tells how well commands are predicted, not whether the model operates a shell and leaves.
Episodes are those of ``sekft eval``: greedy, in the sandbox, on the base that is resident. They
draw nothing from the generators that training draws from.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine import events, jobs
from sekft_engine.base import ResidentBase
from sekft_engine.context import Context
from sekft_engine.dialect import DEFAULT_DIALECT, Dialect
from sekft_engine.errors import BadInput, Interrupted
from sekft_engine.evaluate.choose import choose_scenarios, scenarios_digest
from sekft_engine.evaluate.episode import Episode, Finished
from sekft_engine.evaluate.local import LocalOperators, context_limit
from sekft_engine.evaluate.loop import run_episodes
from sekft_engine.evaluate.prove import refuse_what_cannot_be_decoded
from sekft_engine.evaluate.store import write_episode
from sekft_engine.evaluate.subjects import Subject
from sekft_engine.evaluate.verdict import MEASURES
from sekft_engine.scenario import Scenario
from sekft_engine.sources import load_scenarios
from sekft_engine.worlds import World, open_world


class Trials(msgspec.Struct, frozen=True, kw_only=True):
    """The worlds that an adapter in training is tried in. ``options`` are those of an eval."""

    scenarios: tuple[Scenario, ...]
    dialect: Dialect
    options: jobs.Evaluate

    @property
    def facts(self) -> dict[str, Any]:
        """What the run records of them."""
        return {"path": self.options.scenarios, "sha256": scenarios_digest(self.scenarios)}

    def open(self, scenario: Scenario) -> World:
        options = self.options
        return open_world(
            scenario, sandbox=options.sandbox, userland=options.userland, dialect=self.dialect
        )


def choose_trials(job: jobs.Train, context: Context) -> Trials | None:
    """The worlds for the run, tried out; None = its recipe asks for no evals.

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
    """Raise :class:`Unavailable` where ``base`` cannot act in them: now, and not after an hour."""
    if trials is not None:
        refuse_what_cannot_be_decoded(
            base.model,
            sorted(base.tokenizer.end_of_turn_ids),
            context=context_limit(base.model.config, trials.options.context).limit,
        )


def measure_rates(
    trials: Trials, step: int, episodes: Path, base: ResidentBase, name: str, context: Context
) -> events.RatesMeasured:
    """Let adapter ``name`` act in each world, and store its episodes in folder ``episodes``.

    Raises:
        Interrupted: the job is to stop; the episodes that ended are stored.
    """
    began = time.monotonic()
    subject = f"step-{step:06d}"
    label = f"eval after step {step}"
    done: list[Finished] = []

    def keep(_episode: Episode, finished: Finished) -> None:
        write_episode(episodes, subject, finished)
        done.append(finished)
        context.progress(label, len(done), len(trials.scenarios))

    def heed() -> None:
        context.wait_while_paused()
        if context.cancelled():
            raise Interrupted("the eval was stopped")

    options = trials.options
    operator, rows = LocalOperators(options, context, base)(Subject(name=subject, adapter=name))
    context.progress(label, 0, len(trials.scenarios))
    episodes.mkdir(exist_ok=True)
    run_episodes(
        [
            Episode(one, subject, step_cap=options.step_cap, open_world=trials.open)
            for one in trials.scenarios
        ],
        operator,
        rows=rows,
        seed=options.seed,
        on_done=keep,
        between=heed,
    )
    verdicts = [one.verdict for one in done if not one.verdict.invalid]
    counts = {what: sum(getattr(one, what) for one in verdicts) for what in MEASURES}
    seconds = round(time.monotonic() - began, 3)
    return events.RatesMeasured(job="", step=step, n=len(verdicts), seconds=seconds, **counts)


def score_of(rates: events.RatesMeasured) -> tuple[float, ...]:
    """What makes one adapter better than another: first that it ends cleanly, then that its work is
    verified, then that it ends at all, then that it operates. () = no episode counts."""
    if not rates.n:
        return ()
    order = (rates.clean_termination, rates.verified, rates.terminates, rates.operates)
    return tuple(count / rates.n for count in order)
