"""Choose which runs are drawn beside the one that is shown."""

from __future__ import annotations

from collections.abc import Callable

from sekft_engine.records.runs import list_runs
from sekft_tui.host import Host
from sekft_tui.model.runs.summary import summary
from sekft_tui.process.workers import run_on_thread
from sekft_tui.screens.choose import Choice, ChooseScreen


async def ask(host: Host, changed: Callable[[], None]) -> None:
    """Ask for a training run of the workspace, and pin or unpin it; then call ``changed``."""
    found = await run_on_thread(lambda: list_runs(host.workspace.runs))
    runs = [run for run in reversed(found) if run.kind == "train"]
    if not runs:
        host.note("no training runs yet")
        return

    def chosen(run: str | None) -> None:
        if run:
            host.note(host.pinned.toggle(run))
            changed()

    choices = tuple(
        Choice(run.id, f"{host.pinned.letter(run.id) or '·'} {run.id}", summary(run))
        for run in runs
    )
    host.push_screen(ChooseScreen("pin or unpin a run", choices), chosen)
