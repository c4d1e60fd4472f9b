"""Choose which runs are laid over the one that is shown."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sekft_engine.runs import RunInfo, list_runs
from sekft_tui.screens.choose import Choice, ChooseScreen

if TYPE_CHECKING:
    from sekft_tui.app import Workbench


def choose(host: Workbench) -> None:
    """Ask for a training run of the workspace, to pin it or to let it go."""
    host.run_worker(_ask(host), group="choose-run", exclusive=True)


async def _ask(host: Workbench) -> None:
    from sekft_tui.panes.runs import summary

    found = await asyncio.to_thread(list_runs, host.workspace.runs)
    runs: list[RunInfo] = [run for run in reversed(found) if run.kind == "train"]
    if not runs:
        host.note("no training runs yet")
        return

    def chosen(run: str | None) -> None:
        if run:
            host.note(host.others.toggle(run))
            host.redraw_pane()

    choices = tuple(
        Choice(run.id, f"{host.others.letter(run.id) or '·'} {run.id}", summary(run))
        for run in runs
    )
    host.push_screen(ChooseScreen("pin a run, or let it go", choices), chosen)
