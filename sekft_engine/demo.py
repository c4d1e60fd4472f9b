"""The demo: a small real base, real worlds and sessions, and the proof that training changes how
the base behaves at a prompt.

Everything that fixes the demo stands here once; the command and the workbench both take it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from sekft_engine.core.errors import Interrupted
from sekft_engine.core.locks import is_held, take_lock
from sekft_engine.data.recipe import Recipe
from sekft_engine.data.workspace import CONFIG, Workspace
from sekft_engine.records import jobs
from sekft_engine.records.results import SetupResult
from sekft_engine.work.context import Context

#: Sessions that the factory has recorded so far, so that a stopped set-up goes on where it was. It
#: is there from the beginning of the set-up to its end, and locked while a process is at it.
KEPT = ".factory.jsonl"
FOLDER = "demo"
BASE = "smollm2-135m"
#: A base of 135 M weights wants a higher rate than a large one. More different sessions teach more
#: than a second pass over the same ones does.
RECIPE = Recipe(lr=2e-3, epochs=1, batch=2, dropout=0.0, heldout=0.03, heldout_every=0)
EPISODES = 16
#: What the longest reference session of a held-out world needs, and more tokens than nearly all of
#: its commands have. The base rambles on and is stopped at these.
STEP_CAP = 20
TURN_TOKENS = 64


def default_folder() -> Path:
    """Where the demo is if no folder is named: in ``demo``, or here if one is in it already."""
    is_inside = Path(CONFIG).is_file() and Path.cwd().name == FOLDER
    return Path() if is_inside else Path(FOLDER)


def run_setup(job: jobs.Setup, context: Context) -> SetupResult:
    """Make the demo workspace; what is there already stays as it is."""
    from sekft_engine.bases.store import add_base
    from sekft_engine.factory import make

    began = time.monotonic()
    workspace = Workspace(job.workspace).create()
    made = None
    with _being_made(workspace):
        base = add_base(BASE, workspace.bases, report=context.progress, cancelled=context.cancelled)
        if not has_data(workspace):
            made = make(
                workspace.root,
                train=job.train,
                holdout=job.holdout,
                seed=job.seed,
                core=True,
                dialect=workspace.dialect,
                keep=workspace.root / KEPT,
                progress=_stoppable(context),
            )
    return SetupResult(
        workspace=str(workspace.root),
        base=base.base.path,
        base_how=base.how,
        made=made,
        seconds=round(time.monotonic() - began, 2),
    )


def has_data(workspace: Workspace) -> bool:
    """Whether sessions and scenarios of both kinds are there."""
    folders = (workspace.trajectories, workspace.train_scenarios, workspace.holdout_scenarios)
    return all(any(folder.glob("*.json*")) for folder in folders)


def unfinished(workspace: Workspace) -> Literal["", "being made", "interrupted"]:
    """What has become of a demo that was begun in ``workspace`` and is not whole; "" = there is
    none. Reads the disk."""
    kept = workspace.root / KEPT
    if not kept.is_file() or (workspace.base and has_data(workspace)):
        return ""
    return "being made" if is_held(kept, lambda: False) else "interrupted"


@contextlib.contextmanager
def _being_made(workspace: Workspace) -> Iterator[None]:
    """Mark the workspace as half made until all is there, however this process ends."""
    kept = workspace.root / KEPT
    with kept.open("ab") as mark:
        take_lock(mark.fileno())
        yield
    kept.unlink(missing_ok=True)


def _stoppable(context: Context) -> Callable[[str, int, int], None]:
    """Progress of the factory, which is where it can be stopped: nothing is written yet."""

    def report(label: str, done: int, total: int) -> None:
        if context.cancelled():
            raise Interrupted("set-up stopped; what it has made is kept")
        context.progress(label, done, total)

    return report
