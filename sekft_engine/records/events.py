"""Typed events of the engine, in the order in which they happened.

Every screen is a reducer over these, so live view, replay and tests share one path. An event is
journalled before anyone sees it. ``t`` is seconds since the epoch, ``job`` the job that caused it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from sekft_engine.core.gpu import GpuReading
from sekft_engine.records.results import AnyResult, read_result


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """The fields of all events."""

    job: str
    t: float = 0.0


# --- jobs -----------------------------------------------------------------------------------


class JobQueued(Event, frozen=True, kw_only=True, tag=True):
    kind: str
    label: str = ""


class JobStarted(Event, frozen=True, kw_only=True, tag=True):
    kind: str
    label: str = ""


class Progress(Event, frozen=True, kw_only=True, tag=True):
    """A long task moved on; ``total`` 0 = unknown. ``left``: seconds until its end; 0 = unknown."""

    label: str
    done: int
    total: int = 0
    detail: str = ""
    left: float = 0.0


class Log(Event, frozen=True, kw_only=True, tag=True):
    level: str
    text: str


class JobDone(Event, frozen=True, kw_only=True, tag=True):
    """``result`` is what the command prints with ``--json``."""

    kind: str
    result: AnyResult

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "result", read_result(self.kind, self.result))


class JobFailed(Event, frozen=True, kw_only=True, tag=True):
    """``error`` is one line for a person, made of ``what``, ``where`` and ``mend``; ``trace`` is
    the traceback of another library's error, ``unexpected`` where nobody foresaw it."""

    kind: str
    error: str
    exit_status: int = 1
    trace: str = ""
    what: str = ""
    where: str = ""
    mend: str = ""
    unexpected: bool = False


#: How ``what`` of :class:`JobFailed` begins where the job's process has ended.
ENGINE_ENDED = "the engine has ended"
#: How the detail of :class:`JobCancelled` begins where the job left the queue before it began, and
#: ends where the next engine offers it again.
NOT_BEGUN = "it had not begun"
OFFERED = "it is offered again at the next start"


class JobCancelled(Event, frozen=True, kw_only=True, tag=True):
    """``detail`` says what is saved; ``result`` is as far as the job has come."""

    kind: str
    detail: str = ""
    result: AnyResult = {}

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "result", read_result(self.kind, self.result))


class JobPaused(Event, frozen=True, kw_only=True, tag=True):
    kind: str


class JobResumed(Event, frozen=True, kw_only=True, tag=True):
    kind: str


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """A job in the queue. A ``held`` one waits until it is released; ``spec`` is the job
    as JSON, ready to be submitted again. ``resumes``: it was asked to go on with an earlier run,
    which the spec of a running job cannot say."""

    id: str
    kind: str
    label: str = ""
    held: bool = False
    spec: dict[str, Any] = {}
    resumes: bool = False


class QueueChanged(Event, frozen=True, kw_only=True, tag=True):
    """What runs, and what waits, in order. ``job`` is empty: this is about all of them. The spec of
    the running job resumes it, so that nothing is lost if the engine ends."""

    running: Queued | None = None
    waiting: list[Queued] = []


# --- base and adapters ----------------------------------------------------------------------


class BaseLoaded(Event, frozen=True, kw_only=True, tag=True):
    """``digest`` is over the base's config and weight files; ``memory`` in bytes; ``threads``
    compute where it is on a CPU."""

    base: str
    digest: str
    parameters: int
    dtype: str
    device: str
    seconds: float
    memory: int = 0
    quantised: bool = False
    threads: int = 0


class AdapterAttached(Event, frozen=True, kw_only=True, tag=True):
    name: str
    digest: str
    path: str = ""
    active: bool = True


class AdapterDropped(Event, frozen=True, kw_only=True, tag=True):
    name: str


# --- training -------------------------------------------------------------------------------


class RunCreated(Event, frozen=True, kw_only=True, tag=True):
    """``kind``: train or eval. ``about`` holds the recipe (train) or the subjects (eval)."""

    run: str
    path: str
    kind: str
    about: dict[str, Any] = {}


class RowsReady(Event, frozen=True, kw_only=True, tag=True):
    """What is trained on. ``dropped`` counts trajectories by the reason, ``notes`` those in which
    something was read in another form or is not used, and ``passed_over`` files of the folder that
    are not read; ``untrained_commands`` are not trained because their session says so."""

    kept: int
    dropped: dict[str, int]
    tokens: int
    trained_tokens: int
    heldout: int
    steps: int
    notes: dict[str, int] = {}
    passed_over: dict[str, int] = {}
    untrained_commands: int = 0


class BatchRow(msgspec.Struct, frozen=True, kw_only=True):
    """A trajectory in training: its tokens, and where trained ones begin and end, in turn."""

    id: str
    tokens: int
    edges: list[int]


class StepBegan(Event, frozen=True, kw_only=True, tag=True):
    """The batch that is trained on now. Of quick steps only some are published, but of each
    trajectory the first."""

    step: int
    batch: list[BatchRow]


class StepDone(Event, frozen=True, kw_only=True, tag=True):
    """One optimiser step. ``loss`` is the mean over its trained tokens, in nats; ``rows`` are the
    ids of its trajectories."""

    step: int
    steps: int
    epoch: float
    loss: float
    lr: float
    grad_norm: float
    trained_tokens: int
    tokens: int
    tokens_per_s: float
    seconds: float
    eta_s: float
    rows: list[str] = []


class RunResumed(Event, frozen=True, kw_only=True, tag=True):
    """A run is resumed after ``step``; later steps in its journal happen again."""

    step: int


class HeldoutDone(Event, frozen=True, kw_only=True, tag=True):
    step: int
    loss: float
    tokens: int


class RatesMeasured(Event, frozen=True, kw_only=True, tag=True):
    """An eval in real worlds during training, after ``step``: of ``n`` episodes that count, so many
    operated, terminated, were verified, and terminated cleanly."""

    step: int
    n: int
    operates: int
    terminates: int
    verified: int
    clean_termination: int
    seconds: float


class SignSeen(Event, frozen=True, kw_only=True, tag=True):
    """A warning about ``step``: ``sign`` is ``loss spike`` or ``vanishing gradient``; ``value`` is
    the loss, or the gradient's norm, and ``usual`` what it was of late."""

    step: int
    sign: str
    value: float
    usual: float


class RateTried(Event, frozen=True, kw_only=True, tag=True):
    """A step of the learning-rate finder, of ``steps`` at most: ``share`` is its loss over what the
    bare base makes of the same trajectories, ``smooth`` that over the steps so far."""

    step: int
    steps: int
    lr: float
    share: float
    smooth: float


class AdapterSaved(Event, frozen=True, kw_only=True, tag=True):
    name: str
    path: str
    digest: str
    step: int


class LossesMeasured(Event, frozen=True, kw_only=True, tag=True):
    """The losses of trained tokens are in the run's ``token_losses.jsonl`` for ``trajectories``
    more trajectories; ``before`` and ``after`` are means over their ``tokens``, in nats."""

    run: str
    path: str
    trajectories: int
    tokens: int
    before: float
    after: float


class BoundMeasured(Event, frozen=True, kw_only=True, tag=True):
    """What the machine can do at most: ``rate`` operations per second in matrix products, for a
    base of so many weights in its ``layers`` and in its ``head``."""

    rate: float
    layers: int
    head: int


class MachineSeen(Event, frozen=True, kw_only=True, tag=True):
    """The machine at one moment: the share of its ``cores`` that was busy (``cpu``), the process's
    bytes in memory and the most they ever were, of ``memory`` that there are; the GPU, and what
    torch's tensors hold and at most held there (``cuda``)."""

    cores: int
    cpu: float
    rss: int
    rss_most: int
    memory: int
    gpu: GpuReading | None = None
    cuda: int = 0
    cuda_most: int = 0


# --- eval -----------------------------------------------------------------------------------


class EvalStarted(Event, frozen=True, kw_only=True, tag=True):
    """``scenarios`` are ids in order, ``archetypes`` theirs; ``subjects`` base, adapters and
    ``controls``. Each world stands there ``seeds`` times in a row, once for every episode in it."""

    subjects: list[str]
    scenarios: list[str]
    archetypes: list[str]
    seeds: int = 1
    until_decided: bool = False
    controls: list[str] = []


class EpisodeStarted(Event, frozen=True, kw_only=True, tag=True):
    subject: str
    scenario: str


class TurnDone(Event, frozen=True, kw_only=True, tag=True):
    """A turn of a running episode. ``at`` = seconds from the episode's start."""

    subject: str
    scenario: str
    number: int
    role: str
    content: str
    at: float


class EpisodeDone(Event, frozen=True, kw_only=True, tag=True):
    """The verdict. ``invalid`` names why an episode does not count ('' = it counts); ``kept``: it
    was judged before the eval was resumed."""

    subject: str
    scenario: str
    archetype: str
    outcome: str
    expected: str
    steps: int
    turns: int
    clean: bool
    operates: bool
    terminates: bool
    verified: bool
    clean_termination: bool
    invalid: str
    seconds: float
    path: str = ""
    kept: bool = False


# --- serving ---------------------------------------------------------------------------------


class ServerChanged(Event, frozen=True, kw_only=True, tag=True):
    """The engine serves ``models`` at ``url`` from now on; empty = nowhere any more, and why."""

    url: str
    models: list[str] = []
    why: str = ""


# --- take-over -------------------------------------------------------------------------------


class CommandTyped(Event, frozen=True, kw_only=True, tag=True):
    """A model has written the command turn ``number`` of a session that lives in another process:
    its own record of it. ``adapter`` and ``base`` are digests."""

    takeover: str
    number: int
    subject: str
    text: str
    adapter: str = ""
    base: str = ""
    ids: list[int] | None = None
    logprobs: list[float] | None = None
    cut: bool = False


AnyEvent = (
    JobQueued
    | JobStarted
    | Progress
    | Log
    | JobDone
    | JobFailed
    | JobCancelled
    | JobPaused
    | JobResumed
    | QueueChanged
    | BaseLoaded
    | AdapterAttached
    | AdapterDropped
    | RunCreated
    | RowsReady
    | RunResumed
    | StepBegan
    | StepDone
    | HeldoutDone
    | RatesMeasured
    | SignSeen
    | RateTried
    | AdapterSaved
    | BoundMeasured
    | MachineSeen
    | LossesMeasured
    | EvalStarted
    | EpisodeStarted
    | TurnDone
    | EpisodeDone
    | CommandTyped
    | ServerChanged
)

#: Events that end a job.
ENDINGS = (JobDone, JobFailed, JobCancelled)

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(AnyEvent).decode
