"""``sekft shell``: watch a model log in, live; on a terminal with a screen, else a line a turn."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from sekft_engine.cli.commands import SCREENS, screen_point
from sekft_engine.cli.options import (
    api_key_option,
    find_workspace,
    json_option,
    no_resident_option,
    struct_options,
    workspace_option,
)
from sekft_engine.cli.shell.lines import SessionLines
from sekft_engine.cli.show.display import Display
from sekft_engine.cli.show.document import print_json
from sekft_engine.core.errors import Interrupted, JobFailed, Unavailable
from sekft_engine.core.text import visible
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.for_session import engine_for_shell
from sekft_engine.engine.attached.remote import RemoteEngine
from sekft_engine.engine.engine import Engine
from sekft_engine.records.events import Event, Log
from sekft_engine.takeover.cast import LiveCast
from sekft_engine.takeover.shell import Shell, Watched, prepare, result_of
from sekft_engine.takeover.takeover import TakeOver
from sekft_engine.takeover.view import TakeOverView

#: What a screen for this command is given, and what it returns: the exit status.
Screen = Callable[[Shell, Workspace | None, Path | None, bool], int]


@click.command("shell")
@struct_options(Shell)
@api_key_option
@click.option(
    "--cast",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Record the session as an asciicast while it goes on; a player can follow the file.",
)
@click.option(
    "--plain",
    "as_lines",
    is_flag=True,
    help="Print a line for each turn on stdout instead of opening a screen. This is the default "
    "where stdout is not a terminal.",
)
@click.option("-q", "--quiet", is_flag=True, help="With --plain: only the turns and errors.")
@no_resident_option
@json_option
@workspace_option
def command(
    cast: Path | None,
    as_lines: bool,
    quiet: bool,
    no_resident: bool,
    as_json: bool,
    workspace: Path | None,
    **values: Any,
) -> int:
    """Let a model log in to a world, and watch what it types.

    On a terminal you see each token, may pause it, take the keyboard and hand it back. The session
    is judged and recorded as an episode of a run of its own; one in which you typed counts in no
    rate and can be kept as training data.
    """
    asked = Shell(**values)
    place = find_workspace(workspace)
    if not (as_lines or as_json) and sys.stdout.isatty() and sys.stdin.isatty():
        return _screen()(asked, place, cast, not no_resident)
    return _plain(asked, place, cast, quiet=quiet, as_json=as_json, resident=not no_resident)


def _screen() -> Screen:
    point = screen_point("shell")
    if point is None:
        raise Unavailable(
            f"no installed package has a screen for it (entry points {SCREENS})",
            mend="use --plain, or install sekft-tui again",
        )
    module, _, attribute = point.partition(":")
    found: Screen = getattr(importlib.import_module(module), attribute)
    return found


def _plain(
    asked: Shell,
    place: Workspace | None,
    cast: Path | None,
    *,
    quiet: bool,
    as_json: bool,
    resident: bool,
) -> int:
    display = Display(quiet=quiet)

    def out(line: str) -> None:
        if not as_json:
            click.echo(line)
        elif not quiet:
            display.line(line.replace("\t", "  "))

    recording: LiveCast | None = None
    told = threading.Condition()

    def changed(session: TakeOver) -> None:
        if recording is not None:
            recording.update(session.view)
        with told:
            told.notify_all()

    engine, asked, text = engine_for_shell(asked, place, resident=resident)
    if text:
        display.show(Log(job="", level="info", text=text))
    with contextlib.ExitStack() as stack:
        stack.callback(engine.close)
        watched = prepare(asked, place, engine, changed)
        stack.callback(watched.record.close)
        if cast is not None:
            recording = LiveCast(cast.expanduser().absolute(), f"sekft shell: {watched.subject}")
        stack.enter_context(display)
        _begin(engine, display)
        session = watched.session.start()
        stack.callback(session.join, 30.0)
        stack.callback(session.close, discard=True)
        view = _watch(watched, told, SessionLines(out))
        if recording is not None:
            recording.close()
    finished = view.finished
    if finished is None:
        raise JobFailed(view.problem or "the session did not begin")
    if as_json:
        print_json(watched.record.result or result_of(finished))
    elif view.recorded and not quiet:
        click.echo(f"recorded: {visible(view.recorded)}", err=True)
    return 0


def _begin(engine: Engine | RemoteEngine, display: Display) -> None:
    """Start the engine, and show what it does; of one that others use too, what concerns models in
    sessions."""

    def show(event: Event) -> None:
        if isinstance(engine, Engine) or event.job.startswith("hand_back-"):
            display.show(event)

    engine.subscribe(show)
    if isinstance(engine, Engine):
        engine.start()


def _watch(watched: Watched, told: threading.Condition, lines: SessionLines) -> TakeOverView:
    """Show the session until it is over, or cannot go on. Ctrl-C ends it; a second one leaves."""
    session = watched.session
    handed = ended = False
    while True:
        try:
            with told:
                told.wait(0.2)
            view = session.view
            lines.show(view)
            if view.state == "ready" and ended:
                session.finish()
            elif view.state == "ready" and handed:
                return view  # the model cannot go on; the view says why
            elif view.state == "ready":
                handed = session.hand_back(watched.adapter)
                if not handed:
                    return session.view
            elif view.state in ("failed", "closed") or (view.finished is not None and view.settled):
                return view
        except KeyboardInterrupt:
            if ended:
                raise Interrupted("left; nothing is recorded") from None
            ended = True
            session.take_back()
            session.interrupt()
