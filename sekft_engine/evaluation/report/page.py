"""The report of an eval as one self-contained HTML page: tables, plots, readable transcripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.core.files import write_whole
from sekft_engine.core.text import visible
from sekft_engine.data.trajectory import OUTCOMES
from sekft_engine.episodes.endings import ENDINGS
from sekft_engine.episodes.episode import FinishedEpisode
from sekft_engine.episodes.reference import References
from sekft_engine.episodes.state import FINAL_STATE
from sekft_engine.episodes.store import episodes_of
from sekft_engine.episodes.verdict import MEASURES
from sekft_engine.evaluation.report.document import BREAKDOWNS
from sekft_engine.evaluation.report.tables import (
    decision_lines,
    group_cell,
    partial_line,
    some_passes,
)
from sekft_engine.records.evals import EpisodeFacts, EvalResult, SubjectFacts
from sekft_engine.records.runs import RunInfo

_TEMPLATE = Path(__file__).with_name("report.html.jinja")
#: A palette for all kinds of colour vision (Okabe and Ito 2008).
_COLOURS = ("#7f8790", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
#: The plot in its own units: the positions of 0 and 1, and the height of a row.
_LEFT, _RIGHT, _ROW = 230.0, 600.0, 20


def write_page(info: RunInfo, target: Path) -> Path:
    """Write the report of a finished or stopped eval run to ``target``.

    Raises:
        BadInput: the run is no eval, or has no results yet.
    """
    found = info.result
    if not isinstance(found, EvalResult) or not found.subjects:
        raise BadInput(
            "no eval with results", where=info.path, mend="sekft runs list shows the evals"
        )
    folder = Path(info.path) / "episodes"
    episodes = [episode for found in episodes_of(folder).values() for episode in found]
    references = References(info)
    left = {
        finished.trajectory.id: references.compare(finished.trajectory).lines()
        for finished in episodes
        # Where the checker passed there is nothing to explain.
        if FINAL_STATE in finished.trajectory.meta and not finished.verdict.verified
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    html = page(found, episodes, title=info.id, when=info.created, left=left)
    write_whole(target, html.encode())
    return target


def page(
    document: EvalResult,
    episodes: Sequence[FinishedEpisode],
    *,
    title: str,
    when: str = "",
    left: Mapping[str, Sequence[str]] = {},
) -> str:
    """The page of an eval as HTML. Control characters are made visible, and all text is escaped.

    Args:
        document: what ``sekft eval --json`` prints.
        episodes: the stored episodes; those that the document does not list are left out.
        title: of the page.
        when: the date and time of the run.
        left: episode -> lines about how its final state differs from the reference's.
    """
    import jinja2

    template = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    ).from_string(_TEMPLATE.read_text(encoding="utf-8"))
    subjects = document.subjects
    facts = {episode.id: episode for episode in document.episodes}
    return template.render(
        title=visible(title),
        subtitle=f"{when}  {len(facts)} episodes in {document.seconds:.0f} s".strip(),
        measures=MEASURES,
        subjects=[
            msgspec.structs.replace(subject, name=visible(subject.name)) for subject in subjects
        ],
        kinds=[(visible(subject.name), kinds) for subject in subjects if (kinds := subject.kinds)],
        plot=_plot(subjects),
        partial=partial_line(document),
        warnings=[visible(warning.text) for warning in document.warnings],
        passes=[
            (
                visible(subject.name),
                measure.replace("_", " "),
                [(k, f"{share:.2f}") for k, share in some_passes(shares)],
            )
            for subject in subjects
            for measure, shares in (subject.pass_at or {}).items()
        ],
        decisions=[visible(line) for line in decision_lines(document)],
        outcomes=OUTCOMES,
        comparisons=[
            msgspec.structs.replace(pair, a=visible(pair.a), b=visible(pair.b))
            for pair in document.comparisons
        ],
        endings=ENDINGS,
        has_ending=lambda name: any(subject.endings.get(name) for subject in subjects),
        breakdowns={name: _breakdown(subjects, name) for name in ("archetype", *BREAKDOWNS)},
        episodes=[
            _episode(done, facts[done.trajectory.id], left.get(done.trajectory.id, ()))
            for done in episodes
            if done.trajectory.id in facts
        ],
        about=[
            (visible(name.replace("_", " ")), _value(value))
            for name, value in document.about.items()
        ],
    )


def _plot(subjects: Sequence[SubjectFacts]) -> dict[str, Any]:
    """Points with their intervals, one line for each measure and subject."""
    bars: list[dict[str, Any]] = []
    for measure in MEASURES:
        for number, subject in enumerate(subjects):
            low, high = subject.intervals[measure]
            rate = subject.count(measure) / subject.n if subject.n else 0.0
            bars.append(
                {
                    "label": f"{measure.replace('_', ' ')} · {visible(subject.name)}"[:38],
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


def _breakdown(subjects: Sequence[SubjectFacts], by: str) -> list[tuple[str, list[str]]]:
    groups = [subject.groups(by) for subject in subjects]
    return [
        (
            visible(name) or f"(no {by})",
            [group_cell(group[name]) if name in group else "–" for group in groups],
        )
        for name in sorted({name for group in groups for name in group})
    ]


def _episode(finished: FinishedEpisode, facts: EpisodeFacts, left: Sequence[str]) -> dict[str, Any]:
    trajectory = finished.trajectory
    checker = trajectory.meta.get("checker")
    said = checker.get("output", "") if isinstance(checker, dict) else ""
    return {
        "name": visible(trajectory.id),
        "ending": facts.ending,
        "good": facts.ending == "done",
        "outcome": facts.outcome,
        "steps": facts.steps,
        "seconds": facts.seconds,
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
