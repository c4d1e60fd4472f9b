"""``sekft queue``: what waits in a workspace, and what an engine that is gone had yet to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from sekft_engine import events
from sekft_engine.cli.display import Display
from sekft_engine.cli.options import find_workspace, json_option, print_json, workspace_option
from sekft_engine.engine import JOURNAL, Engine
from sekft_engine.errors import BadInput, SekftError, Unavailable
from sekft_engine.events import Event
from sekft_engine.foreground import run_job
from sekft_engine.jobs import Job
from sekft_engine.journal import is_being_written
from sekft_engine.visible import visible
from sekft_engine.waiting import last_queue, left_over, queued
from sekft_engine.workspace import Workspace


@click.group("queue")
def command() -> None:
    """Jobs that wait: those of an engine at work, or those it left when it went."""


@command.command("list")
@json_option
@workspace_option
def list_(as_json: bool, workspace: Path | None) -> int:
    """List what runs and what waits, in order."""
    place = _place(workspace)
    journal = place.root / JOURNAL
    live = is_being_written(journal)
    told = last_queue(journal) if live else None
    running = told.running if told is not None else None
    waiting = told.waiting if told is not None else []
    if not live:  # nobody does them; what ran waits like the others
        waiting = [queued(job, held=True) for job in left_over(journal)]
    if as_json:
        document = {"live": live, "running": running, "waiting": waiting}
        print_json(msgspec.to_builtins(document))
        return 0
    rows = [(running, "running")] if running is not None else []
    rows += [(one, "held" if one.held else "queued") for one in waiting]
    for one, status in rows:
        click.echo(f"{visible(one.id):<12} {status:<8} {one.kind:<8} {visible(one.label)}")
    if not live and waiting:
        click.echo("no engine is at work here; sekft queue run does them")
    return 0


@command.command("run")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@json_option
@workspace_option
def run(ids: tuple[str, ...], as_json: bool, workspace: Path | None) -> int:
    """Do what waits, or only the jobs named, one after another on one resident base."""
    with _engine(workspace) as (engine, waiting):
        chosen = [job for job in waiting if not ids or job.id in ids]
        for name in set(ids) - {job.id for job in chosen}:
            raise BadInput("no such job waits", where=name, mend="sekft queue list")
        results = [_do(engine, job) for job in chosen]
    if as_json:
        print_json({"jobs": results})
    for result in results:
        if "error" in result:
            click.echo(f"{result['id']}: {visible(result['error'])}", err=True)
    return 1 if any("error" in result for result in results) else 0


@command.command("drop")
@click.argument("identity", metavar="ID")
@workspace_option
def drop(identity: str, workspace: Path | None) -> int:
    """Take a waiting job out. What it has written stays."""
    with _engine(workspace) as (engine, _):
        if not engine.cancel(identity):
            raise BadInput("no such job waits", where=identity, mend="sekft queue list")
    return 0


@command.command("move", context_settings={"ignore_unknown_options": True})
@click.argument("identity", metavar="ID")
@click.argument("by", type=int)
@workspace_option
def move(identity: str, by: int, workspace: Path | None) -> int:
    """Let a waiting job come BY places later; earlier where BY is negative."""
    with _engine(workspace) as (engine, waiting):
        if all(job.id != identity for job in waiting):
            raise BadInput("no such job waits", where=identity, mend="sekft queue list")
        engine.move(identity, by)
    return 0


def _do(engine: Engine, job: Job) -> dict[str, Any]:
    """Do a copy of the job; the one that waits goes when the copy has begun."""
    with Display() as display:

        def heard(event: Event) -> None:
            if isinstance(event, events.JobStarted):
                engine.cancel(job.id)
            display.show(event)

        facts = queued(job).facts
        try:
            again = msgspec.structs.replace(job, id="")
            return facts | {"result": run_job(again, on_event=heard, engine=engine)}
        except SekftError as error:
            if error.exit_status == 130:
                raise
            return facts | {"error": str(error)}


@contextmanager
def _engine(workspace: Path | None) -> Iterator[tuple[Engine, list[Job]]]:
    """An engine that holds what waits, where no other one does."""
    place = _place(workspace)
    journal = place.root / JOURNAL
    if is_being_written(journal):
        raise Unavailable(
            "an engine is at work here, and has the queue",
            where=str(place.root),
            mend="order it there (Q in the workbench)",
        )
    waiting = left_over(journal)
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
