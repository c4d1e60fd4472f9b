"""What befell runs since the workbench was last open here: the log of a session begins with it."""

from __future__ import annotations

import time
from pathlib import Path

from sekft_engine.core.errors import BadInput
from sekft_engine.records.runs import EVENTS, read_run
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


def _last_written(folder: Path) -> float:
    try:
        return (folder / EVENTS).stat().st_mtime
    except OSError:
        return 0.0
