"""Write the report of an experiment: one self-contained page, and the same as markdown."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sekft_engine.core.files import write_whole
from sekft_engine.core.text import visible
from sekft_engine.experiment.report.tables import (
    Table,
    ablation_tables,
    leakage_table,
    result_tables,
    round_table,
    size_lines,
    stage_table,
)
from sekft_engine.records import events
from sekft_engine.records.experiments import ExperimentResult
from sekft_engine.records.journal import effective_events
from sekft_engine.records.runs import RunInfo, read_events
from sekft_engine.records.stages import stage_folder

_TEMPLATE = Path(__file__).with_name("report.html.jinja")
PAGE, MARKDOWN = "report.html", "experiment.md"
#: A palette for all kinds of colour vision (Okabe and Ito 2008).
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7f8790")
#: The plots in their own units.
_LEFT, _RIGHT, _ROW = 250.0, 600.0, 20
_LOSS_WIDTH, _LOSS_HEIGHT = 600.0, 180.0
#: Most points of a loss curve.
_POINTS = 200


def write_report(run: RunInfo, result: ExperimentResult) -> dict[str, str]:
    """Write the page and the markdown into the run's folder.

    Args:
        run: of the experiment.
        result: what it found.

    Returns:
        The files by kind.
    """
    folder = Path(run.path)
    page, markdown = folder / PAGE, folder / MARKDOWN
    write_whole(page, html_of(run, result).encode())
    write_whole(markdown, markdown_of(run, result).encode())
    return {"html": str(page), "markdown": str(markdown)}


def tables_of(result: ExperimentResult) -> list[Table]:
    """All tables in order."""
    found = [
        *result_tables(result),
        round_table(result),
        *ablation_tables(result),
        leakage_table(result),
        stage_table(result.stages),
    ]
    return [table for table in found if table is not None]


# --- the page -------------------------------------------------------------------------------------


def html_of(run: RunInfo, result: ExperimentResult, at: Path | None = None) -> str:
    """The page. All text is escaped, and nothing is loaded from elsewhere.

    Args:
        run: of the experiment.
        result: what it found.
        at: the folder of the page, from which links lead to runs; None = the run's own.
    """
    import jinja2

    template = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    ).from_string(_TEMPLATE.read_text(encoding="utf-8"))
    here = Path(run.path)
    return template.render(
        title=visible(run.id),
        when=run.created,
        sizes=size_lines(result),
        tables=tables_of(result),
        plots=[plot for table in result_tables(result) if (plot := _plot(table))["bars"]],
        losses=_losses(here, result),
        link=lambda identity: visible(_link(here, identity, at or here)),
        visible=visible,
    )


def _link(here: Path, identity: str, at: Path) -> str:
    """The way from the folder ``at`` to a run, which lies beside the experiment or inside it."""
    inside = here / identity
    target = inside if inside.is_dir() else here.parent / identity
    return os.path.relpath(target, at)


def _plot(table: Table) -> dict[str, Any]:
    """The solved and rightly given up of each line, with their intervals."""
    bars: list[dict[str, Any]] = []
    for number, measure in ((2, "solved"), (4, "rightly given up")):
        for line in table.lines:
            cell = line.cells[number]
            if cell.rate is None or cell.interval is None:
                continue
            bars.append(
                {
                    "label": f"{measure} · {line.name}"[:40],
                    "y": 14 + _ROW * len(bars),
                    "at": _across(cell.rate),
                    "low": _across(cell.interval[0]),
                    "high": _across(cell.interval[1]),
                    "colour": _COLOURS[0 if line.strong else 6],
                }
            )
    ticks = [{"at": _across(at / 4), "label": f"{at / 4:g}"} for at in range(5)]
    return {
        "title": table.title,
        "bars": bars,
        "ticks": ticks,
        "height": 30 + _ROW * len(bars),
    }


def _across(share: float) -> float:
    return round(_LEFT + (_RIGHT - _LEFT) * share, 1)


def _losses(here: Path, result: ExperimentResult) -> dict[str, Any]:
    """The training losses of all seeds as curves."""
    curves: list[tuple[str, list[tuple[int, float]]]] = []
    for stage in result.stages:
        if stage.kind == "train" and stage.name.startswith("train-") and stage.run:
            path = _journal(here, stage.name)
            journal = effective_events(read_events(path) if path.is_file() else [])
            points = [
                (event.step, event.loss)
                for event in journal
                if isinstance(event, events.StepDone) and math.isfinite(event.loss)
            ]
            if len(points) > 1:
                curves.append((stage.run, points[:: max(1, len(points) // _POINTS)]))
    if not curves:
        return {"curves": []}
    last = max(step for _, points in curves for step, _ in points)
    top = max(loss for _, points in curves for _, loss in points)
    return {
        "width": _LOSS_WIDTH,
        "height": _LOSS_HEIGHT,
        "top": f"{top:.2g}",
        "last": last,
        "curves": [
            {
                "name": visible(name),
                "colour": _COLOURS[number % len(_COLOURS)],
                "points": " ".join(
                    f"{40 + (_LOSS_WIDTH - 50) * step / last:.1f},"
                    f"{10 + (_LOSS_HEIGHT - 30) * (1 - loss / (top or 1)):.1f}"
                    for step, loss in points
                ),
            }
            for number, (name, points) in enumerate(curves)
        ],
    }


def _journal(here: Path, stage: str) -> Path:
    inside = stage_folder(here, stage, None)
    folder = inside if inside.is_dir() else stage_folder(here, stage, here.parent)
    return folder / "events.jsonl"


# --- markdown -------------------------------------------------------------------------------------


def markdown_of(run: RunInfo, result: ExperimentResult) -> str:
    """The report as markdown, each line with the runs that it comes from."""
    parts = [f"# {visible(run.id)}", f"Written from the files of the run, begun {run.created}."]
    parts.append(_columns(["", ""], [[name, value] for name, value in size_lines(result)]))
    for table in tables_of(result):
        heads = ["", *table.heads, *([table.remarks] if table.remarks else []), "runs"]
        rows = [
            [
                f"**{line.name}**" if line.strong else line.name,
                *(str(cell) for cell in line.cells),
                *([line.remark] if table.remarks else []),
                ", ".join(f"`{identity}`" for identity in line.runs),
            ]
            for line in table.lines
        ]
        parts += [f"## {table.title[:1].upper()}{table.title[1:]}", table.about]
        parts.append(_columns(heads, rows))
    parts.append(
        "Brackets are 95 % Wilson intervals; with several seeds in a world, clustered ones."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
