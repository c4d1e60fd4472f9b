"""The report of an eval as one self-contained HTML page: tables, plots, readable transcripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.errors import BadInput
from sekft_engine.evaluate.endings import ENDINGS
from sekft_engine.evaluate.episode import Finished
from sekft_engine.evaluate.reference import References
from sekft_engine.evaluate.report import BREAKDOWNS, OUTCOMES
from sekft_engine.evaluate.state import FINAL_STATE
from sekft_engine.evaluate.store import read_episode
from sekft_engine.evaluate.tables import decision_lines, group_cell, partial_line, some_passes
from sekft_engine.evaluate.verdict import MEASURES
from sekft_engine.files import write_whole
from sekft_engine.runs import RunInfo
from sekft_engine.visible import visible

_TEMPLATE = Path(__file__).with_name("report.html.jinja")
#: Colours that the colour-blind tell apart too (Okabe and Ito 2008).
_COLOURS = ("#7f8790", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
#: The plot's scale in its own units: where 0 and 1 lie, and the height of a bar.
_LEFT, _RIGHT, _ROW = 230.0, 600.0, 20


def write_page(info: RunInfo, target: Path) -> Path:
    """Write the report of a finished or stopped eval run to ``target``.

    Raises:
        BadInput: the run is no eval, or has found nothing yet.
    """
    if info.kind != "eval" or not info.result.get("subjects"):
        raise BadInput(
            "no eval with results", where=info.path, mend="sekft runs list shows the evals"
        )
    folder = Path(info.path) / "episodes"
    episodes = [read_episode(path) for path in sorted(folder.glob("*.json"))]
    references = References(info)
    left = {
        one.trajectory.id: references.compare(one.trajectory).told()
        for one in episodes
        # Where the checker passed there is nothing to explain.
        if FINAL_STATE in one.trajectory.meta and not one.verdict.verified
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    html = page(info.result, episodes, title=info.id, when=info.created, left=left)
    write_whole(target, html.encode())
    return target


def page(
    document: Mapping[str, Any],
    episodes: Sequence[Finished],
    *,
    title: str,
    when: str = "",
    left: Mapping[str, Sequence[str]] = {},
) -> str:
    """The page. Whatever was typed or printed is escaped, and made visible first.

    Args:
        document: what ``sekft eval --json`` prints.
        episodes: the stored episodes; those that the document does not tell of are left out.
        left: by episode, how its final world differs from the reference's, in lines.
    """
    import jinja2

    template = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    ).from_string(_TEMPLATE.read_text(encoding="utf-8"))
    subjects = document["subjects"]
    facts = {one["id"]: one for one in document["episodes"]}
    about = document.get("about", {})
    return template.render(
        title=visible(title),
        subtitle=f"{when}  {len(facts)} episodes in {document['seconds']:.0f} s".strip(),
        measures=MEASURES,
        subjects=[one | {"name": visible(one["name"])} for one in subjects],
        plot=_plot(subjects),
        partial=partial_line(document),
        warnings=[visible(one["text"]) for one in document.get("warnings", ())],
        passes=[
            (
                visible(one["name"]),
                measure.replace("_", " "),
                [(k, f"{share:.2f}") for k, share in some_passes(shares)],
            )
            for one in subjects
            for measure, shares in one.get("pass_at", {}).items()
        ],
        decisions=[visible(line) for line in decision_lines(document)],
        outcomes=OUTCOMES,
        comparisons=[
            pair | {"a": visible(pair["a"]), "b": visible(pair["b"])}
            for pair in document.get("comparisons", ())
        ],
        endings=ENDINGS,
        told=lambda name: any(one["endings"].get(name) for one in subjects),
        breakdowns={name: _breakdown(subjects, name) for name in ("archetype", *BREAKDOWNS)},
        episodes=[
            _episode(one, facts[one.trajectory.id], left.get(one.trajectory.id, ()))
            for one in episodes
            if one.trajectory.id in facts
        ],
        about=[(visible(name.replace("_", " ")), _value(value)) for name, value in about.items()],
    )


def _plot(subjects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Points with their intervals, one line for each measure and subject."""
    bars: list[dict[str, Any]] = []
    for measure in MEASURES:
        for number, one in enumerate(subjects):
            low, high = one["intervals"][measure]
            rate = one[measure] / one["n"] if one["n"] else 0.0
            bars.append(
                {
                    "label": f"{measure.replace('_', ' ')} · {visible(one['name'])}"[:38],
                    "y": 14 + _ROW * len(bars),
                    "at": _across(rate),
                    "low": _across(low),
                    "high": _across(high),
                    "colour": _COLOURS[number % len(_COLOURS)],
                }
            )
    ticks = [{"at": _across(at / 4), "label": f"{at / 4:g}"} for at in range(5)]
    return {"bars": bars, "ticks": ticks, "height": 30 + _ROW * len(bars)}


def _across(share: float) -> float:
    return round(_LEFT + (_RIGHT - _LEFT) * share, 1)


def _breakdown(subjects: Sequence[Mapping[str, Any]], by: str) -> list[tuple[str, list[str]]]:
    groups = [one["by_archetype"] if by == "archetype" else one["by"][by] for one in subjects]
    return [
        (
            visible(name) or f"(no {by})",
            [group_cell(group[name]) if name in group else "–" for group in groups],
        )
        for name in sorted({name for group in groups for name in group})
    ]


def _episode(finished: Finished, facts: Mapping[str, Any], left: Sequence[str]) -> dict[str, Any]:
    trajectory = finished.trajectory
    checker = trajectory.meta.get("checker")
    said = checker.get("output", "") if isinstance(checker, dict) else ""
    return {
        "name": visible(trajectory.id),
        "ending": facts["ending"],
        "good": facts["ending"] == "done",
        "outcome": facts["outcome"],
        "steps": facts["steps"],
        "seconds": facts["seconds"],
        "checker": _lines(str(said).strip()),
        "left": [(line.strip()[:1], _lines(line)) for line in left],
        "turns": [
            {"command": turn.is_command, "text": _lines(turn.content), "status": turn.exit_status}
            for turn in trajectory.turns
        ],
    }


def _lines(text: str) -> str:
    return "\n".join(visible(line) for line in text.replace("\r\n", "\n").split("\n"))


def _value(value: object) -> str:
    return visible(value if isinstance(value, str) else msgspec.json.encode(value).decode())
