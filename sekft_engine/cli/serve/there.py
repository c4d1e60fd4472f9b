"""``sekft serve`` on the living engine of the workspace, which has the address and the base."""

from __future__ import annotations

import contextlib
import queue
import signal
from collections.abc import Iterator
from types import FrameType

import click
import msgspec

from sekft_engine.core.errors import Interrupted, JobFailed, Unavailable
from sekft_engine.core.text import visible
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.remote import RemoteEngine
from sekft_engine.engine.run_job import follow_job
from sekft_engine.engine.socket.client import connect
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from sekft_engine.records.results import ServeResult, expect


def serve_there(engine: RemoteEngine, job: jobs.Serve, key: str, *, detach: bool) -> int:
    """Open the server, and stay until it is closed; Ctrl-C and SIGTERM close it. Where the terminal
    hangs up, or with ``detach``, it stays open.

    Raises:
        SekftError: it cannot be opened, or the engine has ended.
    """
    heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
    unsubscribe = engine.subscribe(heard.put)

    def show(event: Event) -> None:
        match event:
            case events.JobStarted() if key:
                engine.tell(event.job, msgspec.json.encode({"key": key}))
            case events.Log():
                click.echo(visible(f"sekft: {event.level}: {event.text}"), err=True)
            case _:
                pass

    try:
        done = follow_job(engine, lambda: engine.submit(job), show)
        served = expect(done, ServeResult)
        needed = "with a key" if key else "without a key"
        names = ", ".join(served.models)
        click.echo(visible(f"ready: {served.url} serves {names} ({needed})"))
        return 0 if detach else _stay(engine, heard)
    finally:
        unsubscribe()
        engine.close()


def stop_there(place: Workspace | None) -> int:
    """Close the server of the workspace's engine.

    Raises:
        SekftError: there is no engine, or no server.
    """
    if place is None:
        raise Unavailable("no workspace here", mend="name it with --workspace")
    with connect(place) as client:
        client.call("unserve")
    click.echo("closing: answers that are under way may end")
    return 0


def _stay(engine: RemoteEngine, heard: queue.SimpleQueue[Event]) -> int:
    """Wait until the server is closed, here or elsewhere."""
    asked = 0
    with _signals() as signals:
        while True:
            if signals and signals[-1] == signal.SIGHUP:
                raise Interrupted("the terminal hung up; the server stays open in the engine")
            if len(signals) > asked:
                asked = len(signals)
                if asked > 1:
                    raise Interrupted("left without waiting for the answers under way")
                engine.unserve()
            if engine.state == "ended":
                raise JobFailed(
                    f"the engine has ended: {engine.why}", mend="sekft resident --detach"
                )
            try:
                event = heard.get(timeout=0.2)
            except queue.Empty:
                continue
            if isinstance(event, events.ServerChanged) and not event.url:
                if event.why:
                    raise JobFailed(event.why)
                return 0


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """The signals that asked this process to end, instead of its end."""
    seen: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        seen.append(number)

    caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in caught}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
