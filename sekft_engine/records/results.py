"""What each job returns: the document that its command prints with ``--json``.

A result is stored in the journal (``JobDone``), in the run's manifest and on stdout, always as the
same JSON. All fields have defaults, since older versions of sekft wrote fewer of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from sekft_engine.core.documents import converted
from sekft_engine.core.text import count
from sekft_engine.records.evals import EvalResult, Interval
from sekft_engine.records.experiments import ExperimentResult, ImproveResult
from sekft_engine.records.exports import ExportResult
from sekft_engine.records.result import Result
from sekft_engine.records.trainings import FindRateResult, MeasureResult, TrainResult

if TYPE_CHECKING:
    #: A result, or the JSON object of one that this version of sekft cannot read; empty = nothing.
    AnyResult = Result | dict[str, object]
else:
    # msgspec decodes no union of two kinds of JSON objects: read_result() does, by the job's kind.
    AnyResult = Any

# --- the base and its adapters --------------------------------------------------------------------


class LoadResult(Result, frozen=True, kw_only=True):
    """The resident base. ``adapters`` are digests by name; ``active`` None = the bare base.
    ``server`` is the address at which they are served; empty = nowhere. ``runs`` are the runs of
    adapters that have another name on the base, by that name."""

    base: str = ""
    digest: str = ""
    device: str = ""
    dtype: str = ""
    quantised: bool = False
    adapters: dict[str, str] = {}
    active: str | None = None
    server: str = ""
    runs: dict[str, str] = {}

    def called(self, name: str) -> str:
        """What the adapter ``name`` of this base is called in reports: as its run."""
        return self.runs.get(name, name)


class PrepareResult(Result, frozen=True, kw_only=True):
    """Where the base is on disk."""

    base: str = ""
    path: str = ""


class AttachResult(Result, frozen=True, kw_only=True):
    name: str = ""
    digest: str = ""


class SwapResult(Result, frozen=True, kw_only=True):
    """The active adapter and its digest; None and '' = the bare base."""

    active: str | None = None
    digest: str = ""


class DropResult(Result, frozen=True, kw_only=True):
    """The adapters that remain on the base."""

    adapters: dict[str, str] = {}
    active: str | None = None


class RenameResult(Result, frozen=True, kw_only=True):
    """The adapters on the base, by their names from now on."""

    adapters: dict[str, str] = {}
    active: str | None = None


# --- sweeps ---------------------------------------------------------------------------------------


class BestHeldout(msgspec.Struct, frozen=True, kw_only=True):
    """The step with the lowest held-out loss, in nats."""

    step: int
    heldout: float


class PointRates(msgspec.Struct, frozen=True, kw_only=True):
    """How the adapter of a point did in its eval of ``n`` episodes."""

    run: str = ""
    n: int = 0
    intervals: dict[str, Interval] = {}
    operates: int = 0
    terminates: int = 0
    verified: int = 0
    clean_termination: int = 0


class SweepPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One point of a sweep. Losses are means in nats, ``best`` the lowest held-out one. Beside the
    statuses of a run there is ``waiting``."""

    run: str = ""
    changes: dict[str, object] = {}
    values: dict[str, object] = {}
    status: str = "waiting"
    error: str = ""
    steps: int = 0
    loss: float | None = None
    heldout: float | None = None
    best: BestHeldout | None = None
    seconds: float | None = None
    adapter: str = ""
    eval: PointRates | None = None


class SweepResult(Result, frozen=True, kw_only=True):
    """A sweep. ``fields`` are the recipe fields that differ, ``best`` the run of the best point."""

    sweep: str = ""
    path: str = ""
    fields: list[str] = []
    points: list[SweepPoint] = []
    finished: int = 0
    trained_now: int = 0
    best: str | None = None
    seconds: float = 0.0


# --- take-over, serving, demo ---------------------------------------------------------------------


class HandBackResult(Result, frozen=True, kw_only=True):
    """Who typed how many turns; ``stopped`` says why it ended early, '' = it did not."""

    subject: str = ""
    adapter: str = ""
    turns: int = 0
    stopped: str = ""


class ServeResult(Result, frozen=True, kw_only=True):
    """Where which models are served."""

    url: str = ""
    models: list[str] = []


class UnserveResult(Result, frozen=True, kw_only=True):
    """Whether a server was open."""

    closing: bool = False


class ShellResult(Result, frozen=True, kw_only=True):
    """A session of ``sekft shell``. ``path`` is the episode's file in the run, '' where it was not
    recorded; ``touched`` says that a person typed in it, so that it counts in no rate."""

    run: str = ""
    path: str = ""
    scenario: str = ""
    subject: str = ""
    touched: bool = False
    steps: int = 0
    outcome: str = ""
    expected: str = ""
    clean: bool = False
    verified: bool = False
    invalid: str = ""
    seconds: float = 0.0

    @property
    def in_words(self) -> str:
        """Who typed, and what came of it, in a line."""
        facts = [f"{self.subject}: {self.outcome} after {count(self.steps, 'command')}"]
        facts.append("verified" if self.verified else "not verified")
        facts += ["does not count"] if self.invalid else []
        facts += ["touched"] if self.touched else []
        return ", ".join(facts)


class FactoryReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the factory wrote, and where."""

    out: str
    train: int
    holdout: int
    trajectories: int
    seed: int
    splits: dict[str, int] = {}
    by_archetype: dict[str, int] = {}
    by_channel: dict[str, int] = {}
    by_terminal: dict[str, int] = {}
    by_obstacle: dict[str, int] = {}


class SetupResult(Result, frozen=True, kw_only=True):
    """The demo workspace. ``made`` is None where its data was there before."""

    workspace: str = ""
    base: str = ""
    base_how: str = ""
    made: FactoryReport | None = None
    seconds: float = 0.0


# --- answered at once -----------------------------------------------------------------------------


class RunningStatus(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    kind: str
    label: str = ""
    paused: bool = False


class QueuedStatus(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    kind: str
    label: str = ""
    held: bool = False


class StatusResult(Result, frozen=True, kw_only=True):
    """What is resident (a :class:`LoadResult`, empty where nothing is), what runs, what waits."""

    resident: AnyResult = {}
    running: RunningStatus | None = None
    queued: list[QueuedStatus] = []

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "resident", read_result("load", self.resident))


class CancelResult(Result, frozen=True, kw_only=True):
    cancelled: bool = False


class CheckpointResult(Result, frozen=True, kw_only=True):
    asked: bool = False


class PauseResult(Result, frozen=True, kw_only=True):
    paused: bool = False


class ResumeResult(Result, frozen=True, kw_only=True):
    paused: bool = False
    found: bool = False


class MoveResult(Result, frozen=True, kw_only=True):
    moved: bool = False


# --- reading them ---------------------------------------------------------------------------------

#: Kind of job, or of run, as in JSON -> what such a job returns.
RESULTS: dict[str, type[Result]] = {
    "load": LoadResult,
    "prepare": PrepareResult,
    "train": TrainResult,
    "sweep": SweepResult,
    "find_rate": FindRateResult,
    "eval": EvalResult,
    "experiment": ExperimentResult,
    "improve": ImproveResult,
    "hand_back": HandBackResult,
    "serve": ServeResult,
    "unserve": UnserveResult,
    "shell": ShellResult,
    "measure_losses": MeasureResult,
    "export": ExportResult,
    "attach": AttachResult,
    "swap": SwapResult,
    "drop": DropResult,
    "rename": RenameResult,
    "status": StatusResult,
    "cancel": CancelResult,
    "checkpoint": CheckpointResult,
    "pause": PauseResult,
    "resume": ResumeResult,
    "move": MoveResult,
    "setup": SetupResult,
}

R = TypeVar("R", bound=Result)


def read_result(kind: str, document: AnyResult) -> AnyResult:
    """Decode the result of a job of this kind from a JSON object.

    An object that does not match is returned unchanged: it was written by another version of sekft,
    or is still empty.
    """
    known = RESULTS.get(kind)
    if known is None or isinstance(document, Result):
        return document
    if not set(known.__struct_encode_fields__) & document.keys():
        return document
    try:
        return converted(document, known)
    except msgspec.ValidationError:
        return document


def expect(result: AnyResult, kind: type[R]) -> R:
    """``result`` as a ``kind``.

    Raises:
        TypeError: it is another kind of result.
    """
    if not isinstance(result, kind):
        raise TypeError(f"a {kind.__name__} is wanted, and not {result!r:.200}")
    return result
