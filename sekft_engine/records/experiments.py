"""What an experiment, and an improvement, found: the documents of their commands and runs."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from sekft_engine.records.evals import PairedComparison, SubjectFacts
from sekft_engine.records.result import Result

StageStatus = Literal["waiting", "running", "done", "skipped", "failed"]


class StageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A stage of an experiment.

    Attributes:
        name: of the stage.
        kind: of its run; ``factory`` for one that has none.
        run: the run's id, its folder's name; empty = it has none.
        status: how it stands.
        why: why it was skipped or failed.
        seconds: how long it took, over all times that it was begun and ended.
        optional: whether the experiment is whole without it.
    """

    name: str
    kind: str
    run: str = ""
    status: StageStatus = "waiting"
    why: str = ""
    seconds: float = 0.0
    optional: bool = False


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured to keep a budget: seconds for a recorded session, for an evaluated episode,
    and for a training token; and the tokens of a session, on average."""

    session_s: float = 0.0
    episode_s: float = 0.0
    token_s: float = 0.0
    session_tokens: float = 0.0


class PlanFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The size of an experiment.

    Attributes:
        sessions, seeds, rounds: numbers of training sessions, of training seeds, of rounds.
        worlds: number of worlds, by split.
        ablations: what is left out, each in a training run of its own.
        budget_s: seconds that it may take; 0 = any number.
        forecast_s: seconds that it should take; 0 = unknown.
        speed: what was measured for that.
        notes: what was changed to keep the budget, in lines.
    """

    sessions: int
    worlds: dict[str, int]
    seeds: int = 1
    rounds: int = 0
    ablations: list[str] = []
    budget_s: float = 0.0
    forecast_s: float = 0.0
    speed: Speed | None = None
    notes: list[str] = []


RowKind = Literal["base", "adapter", "seed", "control", "round", "ablation"]


class ResultRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the table of results.

    Attributes:
        split: the worlds.
        kind: who acted: the base, all training seeds together, one of them, a control, ...
        name: of whoever acted.
        facts: the counts; of several adapters together, each is a draw in its world.
        runs: ids of the evals that the counts come from.
        trained: ids of the training runs.
        against: paired comparisons with the best unskilled control, where there is one.
    """

    split: str
    kind: RowKind
    name: str
    facts: SubjectFacts
    runs: list[str] = []
    trained: list[str] = []
    against: list[PairedComparison] = []


class ExperimentResult(Result, frozen=True, kw_only=True):
    """The document of ``sekft experiment``.

    Attributes:
        experiment, path: the run's id and folder.
        plan: its size, as it was carried out.
        stages: in order.
        rows: the table of results.
        leakage: how much of the worlds of each split is in the training data.
        improvement: what the rounds of improvement did, where there were any.
        files: the files that were written about it, by kind; empty until its end.
    """

    experiment: str = ""
    path: str = ""
    preset: str = ""
    base: str = ""
    plan: PlanFacts | None = None
    stages: list[StageFacts] = []
    rows: list[ResultRow] = []
    leakage: dict[str, Any] = {}
    improvement: ImproveResult | None = None
    files: dict[str, str] = {}
    seconds: float = 0.0

    @property
    def finished(self) -> bool:
        """Whether it came to its end, and all that had to be done was done. A stage that it can do
        without may have failed, but not have been stopped."""
        return bool(self.files) and all(
            stage.status in ("done", "skipped") or (stage.optional and stage.status == "failed")
            for stage in self.stages
        )

    @property
    def in_words(self) -> str:
        """What the adapters solved, by split, and how far it is, in a line."""
        rates = [
            f"{row.split} {kinds.solved}/{kinds.doable}"
            for row in self.rows
            if row.kind == "adapter" and (kinds := row.facts.kinds)
        ]
        done = sum(stage.status == "done" for stage in self.stages)
        solved = f"  solved {'  '.join(rates)}" if rates else ""
        return f"{done} of {len(self.stages)} stages{solved}"


class RoundFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A round of improvement.

    Attributes:
        round: its number, from 1; round 0 is the adapter that it began with.
        adapter: the folder of the adapter after it.
        sampled: episodes that the adapter before it did in training worlds.
        solved: how many of these were worth training on.
        worlds, worlds_solved: number of worlds, and of those with at least one such episode.
        dropped: why sessions worth training on were not taken, and how many.
        added: number of sessions that joined the data.
        archetypes: how many of them by archetype.
        sessions: number of sessions that were trained on.
        sample_run, train_run, eval_run: ids of the runs; empty where there is none.
        facts: how the adapter after it did in the worlds for measuring.
    """

    round: int
    adapter: str = ""
    sampled: int = 0
    solved: int = 0
    worlds: int = 0
    worlds_solved: int = 0
    dropped: dict[str, int] = {}
    added: int = 0
    archetypes: dict[str, int] = {}
    sessions: int = 0
    sample_run: str = ""
    train_run: str = ""
    eval_run: str = ""
    facts: SubjectFacts | None = None


class ImproveResult(Result, frozen=True, kw_only=True):
    """The document of ``sekft improve``. ``adapter`` is that of the last round, ``pairs`` the
    number of preference pairs that were written."""

    run: str = ""
    path: str = ""
    adapter: str = ""
    rounds: list[RoundFacts] = []
    pairs: int = 0
    seconds: float = 0.0

    @property
    def in_words(self) -> str:
        """The rounds as a curve of what was right, in a line."""
        curve = [f"{each.solved}/{each.sampled}" for each in self.rounds if each.sampled]
        measured = [
            f"{kinds.solved}/{kinds.doable}"
            for each in self.rounds
            if each.facts is not None and (kinds := each.facts.kinds)
        ]
        said = f"right {' → '.join(curve)}" if curve else "no rounds yet"
        return f"{said}  solved {' → '.join(measured)}" if measured else said
