"""The turns of a take-over that a model types: each request is a job of the engine."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from sekft_engine.records.results import HandBackResult
from sekft_engine.takeover.relay import DistantEngine, Relay, RelayedSession
from sekft_engine.takeover.view import EngineClient


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """An OpenAI-compatible server whose model types, as in :class:`jobs.HandBack`."""

    endpoint: str
    model: str = ""
    api_key_env: str | None = None
    unchecked: bool = False


class ModelTurns:
    """Asks the engine for a model's turns.

    Args:
        session: where it types; an engine of another process is told about it.
        engine: runs the jobs; None = no model can type.
        base: the base that types; empty = no model can type.
        load_4bit: hold the base in 4 bits; None = as the adapter was trained.
        device: where the base computes, as in a job.
        server: holds the model that types; None = the base and its adapters do.
        done: called with the problem, or an empty text, when a job has ended; on a thread of the
            engine.
    """

    def __init__(
        self,
        session: RelayedSession,
        engine: EngineClient | None,
        base: str,
        *,
        load_4bit: bool | None,
        device: str,
        server: Server | None,
        done: Callable[[str], None],
    ) -> None:
        self._session = session
        self._engine = engine
        self._base, self._load_4bit, self._device = base, load_4bit, device
        self._server = server
        self._done = done
        self._job = ""
        self._requests = 0
        self._unsubscribe: Callable[[], None] = lambda: None
        if engine is not None and not isinstance(engine, DistantEngine):
            self._unsubscribe = engine.subscribe(self._on_event)

    @property
    def possible(self) -> bool:
        """Whether there is an engine, and a base or a server."""
        return self._engine is not None and (bool(self._base) or self._server is not None)

    def request(self, adapter: str, turns: int) -> None:
        """Submit the job in which the model with ``adapter`` types ``turns`` turns (0 = all)."""
        if self._engine is None:
            return
        self._job = f"hand-back-{self._session.id}-{self._requests}"
        job = jobs.HandBack(
            id=self._job,
            takeover=self._session.id,
            base=self._base,
            adapter=adapter,
            turns=turns,
            seed=self._requests,
            load_4bit=self._load_4bit,
            device=self._device,
            **(msgspec.structs.asdict(self._server) if self._server is not None else {}),
        )
        self._requests += 1
        if isinstance(self._engine, DistantEngine):
            relay = Relay(self._engine, self._session, self._ended)
            self._job = ""  # until it is known
            self._job = relay.begin(job)
            return
        self._engine.submit(job)

    def cancel(self) -> bool:
        """Stop the model after its present command; False where no job runs or waits."""
        # Without an id the engine would cancel whatever runs.
        return self._engine is not None and bool(self._job) and self._engine.cancel(self._job)

    def close(self) -> None:
        """Take no more notice of the engine."""
        self._unsubscribe()

    def _on_event(self, event: Event) -> None:
        if event.job == self._job and isinstance(event, events.ENDINGS):
            self._ended(event)

    def _ended(self, event: Event, problem: str = "") -> None:
        if isinstance(event, events.JobFailed):
            problem = event.error
        if isinstance(event, events.JobDone) and isinstance(event.result, HandBackResult):
            problem = event.result.stopped or problem
        self._job = ""
        self._done(problem)
