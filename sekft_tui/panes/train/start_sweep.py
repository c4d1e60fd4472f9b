"""Start a sweep from the table in a TOML file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sekft_engine.core.errors import BadInput
from sekft_engine.records import jobs
from sekft_engine.sweep.table import Table, read_table
from sekft_tui.model.job_size import JobSize

if TYPE_CHECKING:
    from sekft_tui.host import Host


def ask(host: Host, form: jobs.Train, start: Callable[[jobs.Sweep, JobSize], None]) -> None:
    """Ask for the file, check all of it, and start the sweep. Base and data are those of the form
    unless the table names its own."""

    def chosen(text: str) -> None:
        path = Path(text.strip()).expanduser()
        if not text.strip():
            raise BadInput("type the path of the sweep's table")
        table = read_table(path)
        varied = ", ".join(name.replace("_", " ") for name in table.fields)
        start(job_of(table, form), JobSize((f"a sweep of {len(table.points)} runs: {varied}",)))

    host.prompt.ask("sweep", chosen, hint="path of a TOML table of recipes")


def job_of(table: Table, form: jobs.Train) -> jobs.Sweep:
    """The job of ``table``; what it does not name comes from the form."""
    own = bool(table.data or table.hub)
    return jobs.Sweep(
        file=table.file,
        base=table.base or form.base,
        data=table.data if own else form.data,
        hub=table.hub if own else form.hub,
        load_4bit=form.load_4bit,
        device=form.device,
    )
