"""What happened to runs and sessions since the workbench was last open here, for the log."""

from __future__ import annotations

import time
from pathlib import Path

from sekft_engine.core.errors import BadInput, SekftError
from sekft_engine.core.text import count
from sekft_engine.records.runs import EVENTS, read_run
from sekft_engine.takeover.draft_files import drafts
from sekft_tui.input.actions import key_for

#: How a run has ended, as the log says it. One that is done says so in Runs.
_ENDINGS = {
    "died": ("warning", "was killed, or its process died"),
    "failed": ("info", "failed"),
    "stopped": ("info", "was stopped"),
}
#: So many runs are named, the newest.
MOST = 20


def endings_since(runs: Path, since: float) -> list[tuple[float, str, str]]:
    """Runs in the folder ``runs`` that died, failed or were stopped.

    Args:
        since: only those that wrote something after it, in seconds since the epoch.

    Returns:
        When each wrote last, the level of that in the log, and a line; in the order of the times.
    """
    found = []
    try:
        wrote = [(_last_written(folder), folder) for folder in runs.iterdir()]
    except OSError:
        return []
    for when, folder in sorted(each for each in wrote if each[0] > since)[-MOST:]:
        try:
            run = read_run(folder)
        except (BadInput, OSError):
            continue
        if run.status in _ENDINGS:
            level, how = _ENDINGS[run.status]
            clock = time.strftime("%d %b %H:%M", time.localtime(when))
            resume = f"; {key_for('runs.resume')} in Runs resumes it"
            text = f"before this session: {run.id} {how} (it wrote last at {clock}){resume}"
            found.append((when, level, text))
    return found


def sessions_left_since(folder: Path | None, since: float) -> list[tuple[float, str, str]]:
    """Sessions that were neither saved nor given up, because their terminal was lost.

    Args:
        folder: of drafts.
        since: as for :func:`endings_since`.

    Returns:
        as :func:`endings_since`.
    """
    newest = drafts(folder)[:MOST]
    if not newest:  # what reads them takes long to import, when the first keys want an answer
        return []
    from sekft_engine.episodes.store import read_episode
    from sekft_engine.takeover.origin import typed_elsewhere

    found = []
    for path in reversed(newest):
        try:
            when, left = path.stat().st_mtime, read_episode(path).trajectory
        except (SekftError, OSError):
            continue
        if when > since and not typed_elsewhere(left):
            clock = time.strftime("%d %b %H:%M", time.localtime(when))
            what = f"a session in {left.scenario} was left after {count(left.steps, 'command')}"
            resume = f"{key_for('global.demonstrate')} offers to continue it"
            found.append((when, "info", f"before this session: {what} (at {clock}); {resume}"))
    return found


def _last_written(folder: Path) -> float:
    try:
        return (folder / EVENTS).stat().st_mtime
    except OSError:
        return 0.0
