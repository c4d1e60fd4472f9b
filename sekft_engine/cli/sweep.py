"""``sekft train --sweep``: many recipes on one resident base, and the table of what they gave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sekft_engine.cli.show.display import Display
from sekft_engine.cli.show.document import print_json
from sekft_engine.core.errors import BadInput
from sekft_engine.core.text import visible
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.run_job import run_job
from sekft_engine.episodes.verdict import MEASURES
from sekft_engine.records import jobs
from sekft_engine.records.results import SweepResult, expect
from sekft_engine.sweep.table import Table, read_table
from sekft_engine.work.context import Stopped


def run(
    job: jobs.Train,
    file: Path,
    flags: dict[str, Any],
    place: Workspace | None,
    *,
    inspect: bool,
    display: Display,
    as_json: bool,
    resident: bool = True,
) -> int:
    """Train what ``file`` lists; what ``job`` names (base, data, ...) holds for all points, and
    ``flags`` are the recipe fields on the command line. It resumes an interrupted sweep of the same
    table, whether ``job`` says so or not."""
    if job.name:
        raise BadInput("a sweep names its adapters", where="--sweep", mend="leave --name out")
    if inspect:
        _inspect(file, flags, as_json)
        return 0
    sweep = jobs.Sweep(
        file=str(file.absolute()),
        base=job.base,
        data=job.data,
        hub=job.hub,
        out=job.out,
        flags=flags,
        load_4bit=job.load_4bit,
        device=job.device,
        shard_base=job.shard_base,
        strict=job.strict,
    )
    if place is not None and not job.out:
        place.create()
    try:
        with display:
            result = expect(run_job(sweep, place, display.show, resident=resident), SweepResult)
    except Stopped as stop:
        if isinstance(stop.result, SweepResult):
            _print(stop.result, as_json)
        raise
    _print(result, as_json)
    return 0 if result.finished == len(result.points) else 1


def _print(result: SweepResult, as_json: bool) -> None:
    if as_json:
        print_json(result)
    else:
        show(result)


def _inspect(file: Path, flags: dict[str, Any], as_json: bool) -> None:
    """List the points; checks the whole table and needs no torch."""
    table = read_table(file, flags)
    if as_json:
        print_json(
            {
                "file": table.file,
                "fields": list(table.fields),
                "points": [{"changes": point.changes} for point in table.points],
                "eval": table.evaluation,
            }
        )
    else:
        _print_points(table)


def _print_points(table: Table) -> None:
    out = _Columns(["point", *table.fields])
    for number, point in enumerate(table.points, 1):
        out.row([str(number), *(_value(getattr(point.recipe, name)) for name in table.fields)])
    out.show()


def show(result: SweepResult) -> None:
    """The table of a sweep's results, the best point marked. Held-out losses are the lowest ones,
    with their step."""
    evaluated = any(point.eval for point in result.points)
    rates = _RATES if evaluated else {}
    out = _Columns(["", "run", *result.fields, "status", "loss", "held-out", *rates.values(), "s"])
    for point in result.points:
        best, counts = point.best, point.eval
        out.row(
            [
                "*" if point.run == result.best else "",
                "-" + point.run.rpartition("-")[2],
                *(_value(point.values.get(name)) for name in result.fields),
                point.status,
                _loss(point.loss),
                f"{_loss(best.heldout)} @{best.step}" if best else "-",
                *(f"{getattr(counts, name)}/{counts.n}" if counts else "-" for name in rates),
                f"{point.seconds:.0f}" if point.seconds is not None else "-",
            ]
        )
    out.show(f"{result.sweep}: {result.finished} of {len(result.points)} points")


#: Short names of what is measured in worlds.
_RATES = dict(zip(MEASURES, ("operates", "ends", "verified", "clean end"), strict=True))


class _Columns:
    """A plain table; what files put into it cannot act on the terminal."""

    def __init__(self, titles: list[str]) -> None:
        from rich.table import Table as RichTable

        self._table = RichTable(box=None, padding=(0, 1))
        for title in titles:
            self._table.add_column(title.replace("_", " "), overflow="fold")

    def row(self, cells: list[str]) -> None:
        from rich.text import Text

        self._table.add_row(*(Text(visible(cell)) for cell in cells))

    def show(self, title: str = "") -> None:
        from rich.console import Console

        console = Console()
        if title:
            console.print(visible(title), markup=False, highlight=False)
        console.print(self._table)


def _value(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _loss(value: float | None) -> str:
    return f"{value:.4g}" if value is not None else "-"
