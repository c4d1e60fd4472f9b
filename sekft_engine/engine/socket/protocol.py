"""What is said on the socket: newline-delimited JSON in the shape of JSON-RPC 2.0, as structs.

``docs/protocol.md`` is the page for people. Fields may be added to what the server says; what a
client sends is refused where a field is unknown, before anything happens.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from sekft_engine.core.errors import SekftError
from sekft_engine.records.jobs import AnyJob
from sekft_engine.records.results import LoadResult, QueuedStatus

#: Grows where a client of an older number would misunderstand the server.
PROTOCOL = 1
#: The longest line of a client, in bytes. A job has a few thousand.
LONGEST_LINE = 1 << 17

# Numbers of JSON-RPC 2.0, and the server's own.
NOT_JSON_CODE = -32700
INVALID_REQUEST = -32600
UNKNOWN_METHOD = -32601
INVALID_PARAMS = -32602
INTERNAL = -32603
REFUSED = -32001
WRONG_PROTOCOL = -32002
READ_ONLY = -32003
TOO_LONG = -32004
TOO_MANY = -32005
CLOSING = -32006

RequestId = Annotated[int, Meta(ge=-(2**53), le=2**53)] | Annotated[str, Meta(max_length=128)]
#: An idempotency key; not digits alone, which end the ids that the engine gives.
Key = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{0,64}$")]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client sends."""

    jsonrpc: Literal["2.0"]
    id: RequestId
    method: str
    params: msgspec.Raw = msgspec.Raw(b"{}")


# --- what may be asked ----------------------------------------------------------------------------


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters of a method of :data:`METHODS`."""

    #: Whether viewers may ask for it, who can change nothing.
    harmless: ClassVar[bool] = False


class Hello(Params, frozen=True, kw_only=True):
    """Says which protocol the client speaks. Another than the server's is refused, and the
    connection closed."""

    harmless = True
    protocol: int


class Status(Params, frozen=True, kw_only=True):
    """What is resident, what runs, what waits. Answered at once."""

    harmless = True


class Queue(Params, frozen=True, kw_only=True):
    """The running job and the waiting ones, in order, each ready to be submitted again."""

    harmless = True


class Submit(Params, frozen=True, kw_only=True):
    """Queues ``job``. The same ``key`` again is the same job. ``dry_run``: only says what would
    happen. Paths are the engine's: send absolute ones."""

    job: AnyJob
    key: Key = ""
    dry_run: bool = False


class Move(Params, frozen=True, kw_only=True):
    """Lets a waiting job run ``by`` places later; earlier where negative."""

    job: str
    by: int


class Pause(Params, frozen=True, kw_only=True):
    """Holds a job: the running one (also where ``job`` is empty) at its next step, a waiting one in
    the queue."""

    job: str = ""


class Resume(Params, frozen=True, kw_only=True):
    """Lets a paused or held job continue; ``job`` as in :class:`Pause`."""

    job: str = ""


class StopAfterStep(Params, frozen=True, kw_only=True):
    """Lets the job (empty = the running one) finish its step, save and end. The engine stays."""

    job: str = ""


class Cancel(Params, frozen=True, kw_only=True):
    """Ends the job (empty = the running one) without finishing its step; a waiting one leaves the
    queue."""

    job: str = ""


class Checkpoint(Params, frozen=True, kw_only=True):
    """Lets the training job (empty = the running one) save after its step and continue."""

    job: str = ""


class Unserve(Params, frozen=True, kw_only=True):
    """Closes the server on the base. Answers that are under way may end."""


class Tell(Params, frozen=True, kw_only=True):
    """Gives the running job a message, which means something to it alone. A message whose
    ``number`` is not greater than that of the one before was given already; 0 = it never was."""

    job: str
    message: msgspec.Raw
    number: Annotated[int, Meta(ge=0)] = 0


class AdaptersList(Params, frozen=True, kw_only=True):
    """The adapters on the base, by name, and the active one."""

    harmless = True


class AdaptersAttach(Params, frozen=True, kw_only=True):
    """Queues the attaching of the adapter in folder ``path``; empty ``name`` = the folder's."""

    path: str
    name: str = ""


class AdaptersDetach(Params, frozen=True, kw_only=True):
    """Queues the removal of an adapter from the base. Its files stay."""

    name: str


class AdaptersRename(Params, frozen=True, kw_only=True):
    """Queues another name for an adapter on the base."""

    name: str
    to: str


class Subscribe(Params, frozen=True, kw_only=True):
    """Sends what happens after the event ``after`` of the journal ``journal`` (ids and numbers as
    in the greeting); None = only what happens from now on. ``kinds``: only such events; empty =
    all. The cursor moves over all of them."""

    harmless = True
    journal: str = ""
    after: Annotated[int, Meta(ge=0)] | None = None
    what: tuple[Literal["events", "gauges", "writing"], ...] = ("events",)
    kinds: tuple[str, ...] = ()


class Unsubscribe(Params, frozen=True, kw_only=True):
    """Sends no more events on this connection."""

    harmless = True


class Detach(Params, frozen=True, kw_only=True):
    """Closes this connection. Nothing else changes."""

    harmless = True


class Shutdown(Params, frozen=True, kw_only=True):
    """Ends the engine: after the running job's step, which is saved, or after the whole queue."""

    after: Literal["step", "queue"] = "step"


METHODS: dict[str, type[Params]] = {
    "hello": Hello,
    "status": Status,
    "queue": Queue,
    "submit": Submit,
    "move": Move,
    "pause": Pause,
    "resume": Resume,
    "stop_after_step": StopAfterStep,
    "cancel": Cancel,
    "checkpoint": Checkpoint,
    "tell": Tell,
    "unserve": Unserve,
    "adapters.list": AdaptersList,
    "adapters.attach": AdaptersAttach,
    "adapters.detach": AdaptersDetach,
    "adapters.rename": AdaptersRename,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "detach": Detach,
    "shutdown": Shutdown,
}


# --- what is answered -----------------------------------------------------------------------------


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """The job that runs. ``since`` is when it began; ``doing`` its last word on how far it is, with
    ``done`` of ``total`` (0 = unknown) and ``detail``."""

    id: str
    kind: str
    label: str = ""
    paused: bool = False
    since: float = 0.0
    doing: str = ""
    done: int = 0
    total: int = 0
    detail: str = ""


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """``state``: ``idle``, ``busy``, ``paused``, or ``closing`` (no job is taken any more).

    ``silent``: for so many seconds the engine's process has given no sign of life; 0 = it does.
    ``stopped``: a signal (SIGSTOP) has stopped it. What else is said is then from before.
    """

    state: Literal["idle", "busy", "paused", "closing"]
    resident: LoadResult | None
    running: Running | None
    queued: list[QueuedStatus]
    journal: str
    first: int
    last: int
    clients: int = 0
    silent: float = 0.0
    stopped: bool = False


class Greeting(msgspec.Struct, frozen=True, kw_only=True):
    """What the server says first. ``first`` and ``last`` are the numbers of the events that can be
    had; ``busy`` is None where no job runs."""

    protocol: int
    engine: str
    pid: int
    workspace: str
    journal: str
    first: int
    last: int
    methods: list[str]
    kinds: list[str]
    read_only: bool
    longest_line: int
    started: float
    busy: Running | None


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """``job`` is the job's id; '' in a dry run that would get one. ``known``: the key was there
    before. ``before`` = so many jobs run or wait before it."""

    job: str
    kind: str
    label: str = ""
    known: bool = False
    dry_run: bool = False
    before: int = 0


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The message was given to the job, now or before."""

    told: bool = True


class ShutDown(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine waits for before it ends."""

    after: str


class AdaptersOnBase(msgspec.Struct, frozen=True, kw_only=True):
    """Digests by name; ``active`` None = the bare base."""

    base: str = ""
    adapters: dict[str, str] = {}
    active: str | None = None


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """An error: what is wrong, where, and the way out."""

    what: str
    where: str = ""
    mend: str = ""


class RpcError(SekftError):
    """A request that is answered by an error with the number ``code``."""

    def __init__(
        self, code: int, what: str, *, where: str | None = None, mend: str | None = None
    ) -> None:
        super().__init__(what, where=where, mend=mend)
        self.code = code
