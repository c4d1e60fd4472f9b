"""What clients ask of the engine: done in the engine's process, where it may take a while."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.core.text import visible
from sekft_engine.engine.at_once import AT_ONCE
from sekft_engine.engine.engine import JOURNAL, Engine
from sekft_engine.engine.socket import protocol
from sekft_engine.engine.socket.lines import parse_params
from sekft_engine.engine.socket.link import Order
from sekft_engine.engine.socket.protocol import Params, RpcError, Submitted
from sekft_engine.records import jobs
from sekft_engine.records.jobs import Job, kind_of, label_of
from sekft_engine.records.result import Result
from sekft_engine.records.results import (
    CancelResult,
    CheckpointResult,
    MoveResult,
    PauseResult,
    ResumeResult,
    UnserveResult,
)

#: So many keys of this engine's own jobs are known without a look into the journal.
MOST_KEYS = 4096
_CHUNK = 1 << 20


class Orders:
    """Carries out what changes something, one order after another.

    Args:
        engine: does the jobs.
        closing: whether no job is taken any more.
        shut_down: ends the engine; its argument says whether the queue is finished first.
    """

    def __init__(
        self, engine: Engine, closing: Callable[[], bool], shut_down: Callable[[bool], None]
    ) -> None:
        self._engine = engine
        self._closing = closing
        self._shut_down = shut_down
        self._keys: dict[str, tuple[str, Job]] = {}

    def do(self, order: Order) -> msgspec.Struct:
        """Carry out an order and return its result. Raises what it fails with."""
        params = parse_params(order.method, order.params)
        match params:
            case protocol.Shutdown():
                self._shut_down(params.after == "queue")
                return protocol.ShutDown(after=params.after)
            case protocol.Submit():
                return self._submit(params)
            case protocol.Unserve():
                if not self._engine.unserve():
                    raise BadInput("no server is open", mend="sekft serve opens one")
                return UnserveResult(closing=True)
            case protocol.Tell():
                if not self._engine.tell(params.job, bytes(params.message), params.number):
                    raise BadInput("no such job runs, or it does not listen", where=params.job)
                return protocol.Told()
            case protocol.AdaptersAttach():
                return self._queue(jobs.Attach(path=params.path, name=params.name))
            case protocol.AdaptersDetach():
                return self._queue(jobs.Drop(name=params.name))
            case protocol.AdaptersRename():
                return self._queue(jobs.Rename(name=params.name, to=params.to))
            case _:
                return self._control(params)

    # --- jobs ---------------------------------------------------------------------------------

    def _submit(self, params: protocol.Submit) -> Submitted:
        job, key = params.job, params.key
        if isinstance(job, AT_ONCE):
            kind = kind_of(job)  # its method has the same name
            raise RpcError(protocol.INVALID_PARAMS, f"{kind} is no job here", mend=f"call {kind}")
        if job.id:
            raise RpcError(
                protocol.INVALID_PARAMS, "the engine gives a job its id", mend='send a "key"'
            )
        if key.isdigit():
            raise RpcError(protocol.INVALID_PARAMS, "a key needs more than digits", where=key)
        job_id = self._known(key, job) if key else ""
        if job_id:
            return self._submitted(job, job_id, known=True, dry_run=params.dry_run)
        if params.dry_run:
            self._refuse_when_closing()
            return self._submitted(job, "", dry_run=True)
        if not key:
            return self._queue(job)
        named = msgspec.structs.replace(job, id=f"{kind_of(job)}-{key}")
        done = self._queue(named)
        self._keys[key] = (done.job, job)
        if len(self._keys) > MOST_KEYS:
            del self._keys[next(iter(self._keys))]
        return done

    def _queue(self, job: Job) -> Submitted:
        self._refuse_when_closing()
        before = self._submitted(job, "").before
        return msgspec.structs.replace(
            self._submitted(job, self._engine.submit(job)), before=before
        )

    def _submitted(
        self, job: Job, job_id: str, *, known: bool = False, dry_run: bool = False
    ) -> Submitted:
        now = self._engine.status()
        return Submitted(
            job=job_id,
            kind=kind_of(job),
            label=label_of(job),
            known=known,
            dry_run=dry_run,
            before=len(now.queued) + (now.running is not None),
        )

    def _known(self, key: str, job: Job) -> str:
        """The id of the job that came with this key, also to an earlier engine; '' = none did."""
        found = self._keys.get(key)
        if found is not None:
            if found[1] != job:
                raise RpcError(
                    protocol.INVALID_PARAMS,
                    "this key came with another job",
                    where=key,
                    mend="one key for each job",
                )
            return found[0]
        if self._engine.workspace is None:
            return ""
        return job_with_key(self._engine.workspace.root / JOURNAL, key)

    def _refuse_when_closing(self) -> None:
        if self._closing():
            raise RpcError(protocol.CLOSING, "the engine is closing", mend="start another one")

    # --- the running job and the queue ------------------------------------------------------------

    def _control(self, params: Params) -> Result:
        engine = self._engine
        match params:
            case protocol.Move():
                self._refuse_unknown(params.job)
                return MoveResult(moved=engine.move(params.job, params.by))
            case protocol.Pause():
                return PauseResult(paused=_found(engine.pause(params.job), params.job))
            case protocol.Resume():
                found = _found(engine.resume(params.job), params.job)
                return ResumeResult(paused=False, found=found)
            case protocol.StopAfterStep():
                done = engine.cancel(params.job, after_step=True)
                return CancelResult(cancelled=_found(done, params.job))
            case protocol.Cancel():
                return CancelResult(cancelled=_found(engine.cancel(params.job), params.job))
            case protocol.Checkpoint():
                if not engine.checkpoint(params.job):
                    raise BadInput("no such training job runs", where=params.job or None)
                return CheckpointResult(asked=True)
            case _:
                raise RpcError(protocol.INTERNAL, f"no way to do {type(params).__name__}")

    def _refuse_unknown(self, job_id: str) -> None:
        if all(entry.id != job_id for entry in self._engine.status().queued):
            raise BadInput("no such job waits", where=visible(job_id))


def job_with_key(journal: Path, key: str) -> str:
    """The id of the job that was queued with ``key`` in the workspace's journal; '' = none was."""
    pattern = re.compile(rb'"event":"JobQueued","job":"([a-z_]+-' + re.escape(key.encode()) + b')"')
    held = b""
    with contextlib.suppress(OSError), journal.open("rb") as file:
        while chunk := file.read(_CHUNK):  # in parts: a search holds the interpreter
            held += chunk
            if match := pattern.search(held):
                return match[1].decode()
            held = held[-256:]
    return ""


def _found(done: bool, job_id: str) -> bool:
    """True; else an error that there is no such job."""
    if not done:
        what = "no such job runs or waits" if job_id else "no job runs"
        raise BadInput(what, where=visible(job_id) or None)
    return True
