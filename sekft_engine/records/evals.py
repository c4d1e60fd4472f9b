"""What an eval found: the document of ``sekft eval``, of its run and of its reports."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from sekft_engine.records.result import Result

#: Lower and upper bound of a rate, each from 0 to 1.
Interval = list[float]


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many of ``n`` episodes that count operated, terminated, and so on; ``invalid`` is the
    number of those that do not count. ``intervals`` are 95 % Wilson intervals, by measure."""

    n: int = 0
    invalid: int = 0
    operates: int = 0
    terminates: int = 0
    verified: int = 0
    clean_termination: int = 0
    clean: int = 0
    intervals: dict[str, Interval] = {}

    def count(self, measure: str) -> int:
        """How many episodes fulfil the measure of that name."""
        found: int = getattr(self, measure)
        return found


class KindCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Doable and blocked worlds apart.

    Attributes:
        doable: episodes that count in worlds that can be done.
        solved: of these, how many did the work: checker passed, only commands, ``exit``.
        wrongly_given_up: of these, how many ended by ``panic``.
        blocked: episodes that count in worlds that cannot be done.
        rightly_given_up: of these, how many were given up with a reason, by commands only.
        intervals: 95 % Wilson intervals, by measure.
    """

    doable: int = 0
    solved: int = 0
    wrongly_given_up: int = 0
    blocked: int = 0
    rightly_given_up: int = 0
    intervals: dict[str, Interval] = {}


class SubjectFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of one subject, as in :class:`Counts`, whole and broken down.

    Attributes:
        control: whether it is an unskilled or an all-knowing control, see ``--control``.
        worlds: how many worlds the episodes that count were in.
        kinds: doable and blocked worlds apart; older evals have none.
        invalid_by: causes of episodes that do not count.
        limits: how many episodes a limit ended, by the limit's name.
        by: further breakdowns: what by -> group -> counts.
        confusion: expected ending -> how it ended -> episodes.
        endings: episodes by how they ended.
        pass_at: measure -> k -> pass@k; only with several draws in a world.
        base_confirmed: whether the subject is known to be trained on this base; only of adapters.
        trained_4bit: whether it was trained on the base in 4 bits, where that is recorded.
    """

    name: str = ""
    control: bool = False
    n: int = 0
    worlds: int = 0
    invalid: int = 0
    invalid_by: dict[str, int] = {}
    limits: dict[str, int] = {}
    operates: int = 0
    terminates: int = 0
    verified: int = 0
    clean_termination: int = 0
    clean: int = 0
    intervals: dict[str, Interval] = {}
    kinds: KindCounts | UnsetType = UNSET
    by_archetype: dict[str, Counts] = {}
    by: dict[str, dict[str, Counts]] = {}
    outcomes: dict[str, int] = {}
    confusion: dict[str, dict[str, int]] = {}
    endings: dict[str, int] = {}
    pass_at: dict[str, dict[str, float]] | UnsetType = UNSET
    base_confirmed: bool | UnsetType = UNSET
    trained_4bit: bool | UnsetType = UNSET

    def count(self, measure: str) -> int:
        """How many episodes fulfil the measure of that name."""
        found: int = getattr(self, measure)
        return found

    def groups(self, by: str) -> dict[str, Counts]:
        """The counts broken down by the archetype, channel, depth, ..."""
        return self.by_archetype if by == "archetype" else self.by.get(by, {})


class PairedComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two subjects on the worlds that count for both: in how many each was better."""

    a: str = ""
    b: str = ""
    measure: str = "clean_termination"
    pairs: int = 0
    only_a: int = 0
    only_b: int = 0
    p: float = 1.0
    test: str = "exact"
    evidence: float = 1.0


class EpisodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One episode; ``turns`` is their number, ``seconds`` how long it took."""

    id: str = ""
    scenario: str = ""
    archetype: str = ""
    subject: str = ""
    draw: int = 0
    steps: int = 0
    turns: int = 0
    outcome: str = ""
    expected: str = ""
    ending: str = ""
    clean: bool = False
    operates: bool = False
    terminates: bool = False
    verified: bool = False
    clean_termination: bool = False
    invalid: str = ""
    seconds: float = 0.0


class EvalWarning(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader should know before the rates."""

    name: str = ""
    subject: str = ""
    text: str = ""


class ContextLimit(msgspec.Struct, frozen=True, kw_only=True):
    """How many ids an episode may hold, and who says so."""

    limit: int = 0
    by: str = ""


class ServedFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was learnt of one model on one server.

    Attributes:
        sent: the fields that were sent beside model, messages and seed.
        seeded: whether a seed was sent.
        refused: the fields that the server did not take, with its words.
        open: those of them at which a sampling default of the server may change scores.
        answers: how many answers there were of each kind.
    """

    endpoint: str = ""
    model: str = ""
    sent: dict[str, Any] = {}
    seeded: bool = False
    refused: dict[str, str] = {}
    open: list[str] = []
    answers: dict[str, int] = {}


class DecisionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Where the comparison of a subject with the first one stands: open, decided, out of reach."""

    state: str = ""
    evidence: float = 1.0
    better: str = ""
    p: float = 1.0


class Partial(msgspec.Struct, frozen=True, kw_only=True):
    """How far an eval came that was stopped."""

    episodes: int = 0
    of: int = 0


class EvalResult(Result, frozen=True, kw_only=True):
    """The document of an eval.

    Attributes:
        about: what makes this eval this one, as the run's manifest has it.
        context: the limit of local episodes.
        served: the servers, where models behind endpoints acted.
        decisions: by subject, where the eval was to stop when it is decided.
        partial: only where it was stopped.
    """

    subjects: list[SubjectFacts] = []
    comparisons: list[PairedComparison] = []
    episodes: list[EpisodeFacts] = []
    seconds: float = 0.0
    warnings: list[EvalWarning] = []
    run: str = ""
    path: str = ""
    about: dict[str, Any] = {}
    context: ContextLimit | UnsetType = UNSET
    served: list[ServedFacts] | UnsetType = UNSET
    decisions: dict[str, DecisionFacts] | UnsetType = UNSET
    partial: Partial | UnsetType = UNSET
