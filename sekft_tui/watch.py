"""``sekft shell`` on a terminal. Textual is imported when the screen opens."""

from __future__ import annotations

from pathlib import Path

import click

from sekft_engine.core.text import visible
from sekft_engine.data.workspace import Workspace
from sekft_engine.takeover.cast import LiveCast
from sekft_engine.takeover.shell import Shell, prepare
from sekft_tui.launch import prepare_terminal


def open_shell(
    asked: Shell, workspace: Workspace | None, cast: Path | None, resident: bool = True
) -> int:
    """Watch a model on this terminal; returns the exit status.

    Raises:
        BadInput: what was asked for is not there.
        Unavailable: this terminal cannot place text.
    """
    prepare_terminal("use sekft shell --plain")
    from sekft_engine.engine.attached.for_session import engine_for_shell
    from sekft_tui.process.fdguard import guarded
    from sekft_tui.process.hangup import LastWords, on_hangup
    from sekft_tui.process.settings import state_path
    from sekft_tui.watch_app import WatchApp, Watcher

    watcher = Watcher()
    engine, asked, text = engine_for_shell(asked, workspace, resident=resident)
    if text:
        click.echo(f"sekft: info: {visible(text)}", err=True)
    watched = prepare(asked, workspace, engine, watcher.changed)
    if cast is not None:
        path = cast.expanduser().absolute()
        watcher.cast = LiveCast(path, f"sekft shell: {watched.subject}")
    session = watched.session
    try:
        with guarded(state_path().with_name("tui.log")):
            app = WatchApp(engine, watched, watcher, workspace)
            words = LastWords("", lambda: visible(app.farewell))
            with on_hangup(lambda: engine, app, lambda: words):
                app.run()
    finally:
        session.close()
        session.join(30.0)
        if watcher.cast is not None:
            watcher.cast.close()
        watched.record.close()
        engine.close(timeout=2.0)
    if app.crash is not None:
        raise app.crash
    if session.view.recorded:
        click.echo(f"recorded: {visible(session.view.recorded)}", err=True)
    if app.farewell:
        click.echo(visible(app.farewell), err=True)
    return app.return_code or 0
