"""``sekft queue``: the jobs that wait in a workspace, or that an earlier engine left unfinished."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from sekft_engine.cli.options import find_workspace, json_option, workspace_option
from sekft_engine.cli.show.display import Display
from sekft_engine.cli.show.document import print_json
from sekft_engine.core.errors import BadInput, JobFailed, SekftError, Unavailable
from sekft_engine.core.text import visible
from sekft_engine.data.workspace import Workspace, naming
from sekft_engine.engine.attached.recorded import Recorded
from sekft_engine.engine.attached.remote import RemoteEngine
from sekft_engine.engine.attached.where import Where
from sekft_engine.engine.engine import JOURNAL, Engine
from sekft_engine.engine.queue import last_queue, queue_entry, unfinished_jobs
from sekft_engine.engine.run_job import follow_job, run_job
from sekft_engine.records import events
from sekft_engine.records.events import Event, Queued
from sekft_engine.records.jobs import Job, kind_of, label_of
from sekft_engine.records.journal import is_being_written
from sekft_engine.records.results import AnyResult

Waiting = TypeVar("Waiting")


class DoneJob(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A waiting job that was done: its result, or why there is none."""

    id: str
    kind: str
    label: str
    result: AnyResult = {}
    error: str = ""


@click.group("queue")
def command() -> None:
    """Waiting jobs: those of the living engine, or those that an earlier one left."""


@command.command("list")
@json_option
@workspace_option
def list_(as_json: bool, workspace: Path | None) -> int:
    """List the running job and the waiting ones, in order."""
    place = _place(workspace)
    journal = place.root / JOURNAL
    live = is_being_written(journal)
    last = last_queue(journal) if live else None
    running = last.running if last is not None else None
    waiting = last.waiting if last is not None else []
    if not live:  # no engine does them; what ran waits like the others
        waiting = [queue_entry(job, held=True) for job in unfinished_jobs(journal)]
    if as_json:
        document = {"live": live, "running": running, "waiting": waiting}
        print_json(msgspec.to_builtins(document))
        return 0
    rows = [(running, "running")] if running is not None else []
    rows += [(entry, "held" if entry.held else "queued") for entry in waiting]
    for entry, status in rows:
        click.echo(f"{visible(entry.id):<12} {status:<8} {entry.kind:<8} {visible(entry.label)}")
    if not live and waiting:
        click.echo(f"no engine is at work here; sekft queue run{naming(place.root)} does them")
    return 0


@command.command("run")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@json_option
@workspace_option
def run(ids: tuple[str, ...], as_json: bool, workspace: Path | None) -> int:
    """Run the waiting jobs, or only those named, on one resident base.

    Where an engine is alive in the workspace (sekft resident), it does them: held ones are
    released, and each is followed to its end.
    """
    place = _place(workspace)
    if Where(place).is_there():
        with _resident(place) as (said, entries):
            found = _chosen(ids, {entry.id: entry for entry in entries})
            results = [_follow(said, entry) for entry in found]
    else:
        with _engine(place) as (engine, waiting):
            chosen = _chosen(ids, {job.id: job for job in waiting})
            results = [_do(engine, job) for job in chosen]
    if as_json:
        print_json({"jobs": results})
    for result in results:
        if result.error:
            click.echo(f"{result.id}: {visible(result.error)}", err=True)
    return 1 if any(result.error for result in results) else 0


@command.command("drop")
@click.argument("identity", metavar="ID")
@workspace_option
def drop(identity: str, workspace: Path | None) -> int:
    """Remove a waiting job. What it has written stays."""
    with _queue(workspace) as (engine, ids):
        _chosen((identity,), ids)
        engine.cancel(identity)
    return 0


@command.command("move", context_settings={"ignore_unknown_options": True})
@click.argument("identity", metavar="ID")
@click.argument("by", type=int)
@workspace_option
def move(identity: str, by: int, workspace: Path | None) -> int:
    """Move a waiting job BY places later; earlier if BY is negative."""
    with _queue(workspace) as (engine, ids):
        _chosen((identity,), ids)
        engine.move(identity, by)
    return 0


def _chosen(ids: tuple[str, ...], waiting: Mapping[str, Waiting]) -> list[Waiting]:
    """The jobs with these ids, in the queue's order; all of them where no id is named."""
    for name in ids:
        if name not in waiting:
            raise BadInput("no such job waits", where=name, mend="sekft queue list")
    return [job for name, job in waiting.items() if not ids or name in ids]


def _do(engine: Engine, job: Job) -> DoneJob:
    """Run a copy of the job; the waiting one is removed when the copy has begun."""
    with Display() as display:

        def show(event: Event) -> None:
            if isinstance(event, events.JobStarted):
                engine.cancel(job.id)
            display.show(event)

        done = DoneJob(id=job.id, kind=kind_of(job), label=label_of(job))
        try:
            again = msgspec.structs.replace(job, id="")
            result = run_job(again, on_event=show, engine=engine)
            return msgspec.structs.replace(done, result=result)
        except SekftError as error:
            if error.exit_status == 130:
                raise
            return msgspec.structs.replace(done, error=str(error))


def _follow(said: Recorded, entry: Queued) -> DoneJob:
    """Release a waiting job, and follow it to its end."""
    done = DoneJob(id=entry.id, kind=entry.kind, label=entry.label)

    def release() -> str:
        if entry.held:
            said.engine.resume(entry.id)
        return entry.id

    with Display() as display:
        try:
            result = follow_job(said, release, display.show)
            return msgspec.structs.replace(done, result=result)
        except SekftError as error:
            if error.exit_status == 130:
                raise
            return msgspec.structs.replace(done, error=str(error))


@contextmanager
def _queue(workspace: Path | None) -> Iterator[tuple[Engine | RemoteEngine, dict[str, str]]]:
    """The engine that has the waiting jobs, and their ids: the living one, or one for a moment."""
    place = _place(workspace)
    if Where(place).is_there():
        with _resident(place) as (said, entries):
            yield said.engine, {entry.id: entry.id for entry in entries}
    else:
        with _engine(place) as (engine, waiting):
            yield engine, {job.id: job.id for job in waiting}


@contextmanager
def _resident(place: Workspace) -> Iterator[tuple[Recorded, list[Queued]]]:
    """The living engine, with the jobs that wait there."""
    remote = RemoteEngine(Where(place))
    said = Recorded(remote)
    remote.start()
    failed: list[str] = []

    def watch(event: Event) -> None:
        if isinstance(event, events.Log) and not event.job and event.level == "warning":
            failed.append(event.text)

    remote.subscribe(watch)
    try:
        yield said, remote.queue().waiting
    finally:
        remote.close()
    if failed:
        raise JobFailed(failed[0])


@contextmanager
def _engine(place: Workspace) -> Iterator[tuple[Engine, list[Job]]]:
    """An engine with the waiting jobs, unless another engine has them."""
    journal = place.root / JOURNAL
    if is_being_written(journal):
        raise Unavailable(
            "an engine is at work here, and has the queue",
            where=str(place.root),
            mend="order it there (Q in the workbench)",
        )
    waiting = unfinished_jobs(journal)
    engine = Engine(place, nice=0).start()
    try:
        yield engine, waiting
    finally:
        engine.close()


def _place(workspace: Path | None) -> Workspace:
    place = find_workspace(workspace)
    if place is None:
        raise BadInput("no workspace here", where=str(Path.cwd()), mend="name it with --workspace")
    return place
