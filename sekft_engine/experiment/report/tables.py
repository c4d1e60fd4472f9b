"""The tables of an experiment's report, as rows of text with the runs they come from."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sekft_engine.core.text import visible
from sekft_engine.factory.leakage import COMMAND_WORDS, DIRECTIVE_WORDS, LeakageReport
from sekft_engine.records.evals import Interval, KindCounts
from sekft_engine.records.experiments import ExperimentResult, ResultRow, RoundFacts, StageFacts
from sekft_engine.records.jobs import AblationName

#: How a row without this part is called.
WITHOUT: dict[AblationName, str] = {
    "mask": "every token trained, not only commands",
    "end-of-turn": "the end of a turn not trained",
    "normaliser": "the login as a system turn, not folded",
    "verify": "no looks after acting",
    "archetypes": "half of the kinds of work, as many sessions",
}
#: What a split holds.
SPLITS = {
    "seen": "fresh worlds of training's kinds of work",
    "compositions": "known kinds of work, in pairs that training never has",
    "primitives": "kinds of work that training never has",
    "held-out": "compositions and primitives together",
    "holdout": "half new pairs of known kinds of work, half new kinds",
}


class Cell(msgspec.Struct, frozen=True):
    """A count with its interval; an empty text where there is nothing to count."""

    text: str
    rate: float | None = None
    interval: Interval | None = None

    @property
    def span(self) -> str:
        return f"[{self.interval[0]:.2f}, {self.interval[1]:.2f}]" if self.interval else ""

    def __str__(self) -> str:
        return f"{self.text} {self.span}".strip()


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a table: a name, its cells, a remark, and the runs that it comes from."""

    name: str
    cells: list[Cell]
    remark: str = ""
    runs: list[str] = []
    strong: bool = False


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table with a title and the heads of its cells; the first column is a name. ``remarks`` is
    the head of the column of remarks; empty = there is none."""

    title: str
    about: str
    heads: list[str]
    remarks: str = ""
    lines: list[Line]


RESULT_HEADS = ["operates", "ends cleanly", "solved", "wrongly given up", "rightly given up"]


def result_tables(result: ExperimentResult) -> list[Table]:
    """A table of each split: base, adapter, its seeds, controls, rounds."""
    splits = list(dict.fromkeys(row.split for row in result.rows))
    return [
        Table(
            title=split,
            about=SPLITS.get(split, ""),
            heads=list(RESULT_HEADS),
            remarks="against the best unskilled control",
            lines=[
                result_line(row)
                for row in result.rows
                if row.split == split and row.kind != "ablation"
            ],
        )
        for split in splits
    ]


def result_line(row: ResultRow) -> Line:
    """The line of somebody in the worlds of a split."""
    facts = row.facts
    kinds = facts.kinds or KindCounts()
    cells = [
        _cell(facts.count(name), facts.n, facts.intervals.get(name))
        for name in ("operates", "clean_termination")
    ]
    cells += [
        _cell(getattr(kinds, name), of, kinds.intervals.get(name))
        for name, of in (
            ("solved", kinds.doable),
            ("wrongly_given_up", kinds.doable),
            ("rightly_given_up", kinds.blocked),
        )
    ]
    return Line(
        name=visible(_name(row)),
        cells=cells,
        remark=_against(row),
        runs=[*row.trained, *row.runs],
        strong=row.kind == "adapter",
    )


def _name(row: ResultRow) -> str:
    seeds = len(row.trained)
    if row.kind == "adapter" and seeds > 1:
        return f"adapter, {seeds} training seeds"
    if row.kind == "control":
        return f"control: {row.name}"
    return row.name


def _cell(count: int, of: int, interval: Interval | None) -> Cell:
    if not of:
        return Cell("–")
    return Cell(f"{count}/{of}", count / of, interval)


def _against(row: ResultRow) -> str:
    found = next((each for each in row.against if each.measure == "solved"), None)
    if found is None:
        return ""
    return f"solved more often in {found.only_b}, less in {found.only_a}; p = {found.p:.2g}"


def ablation_tables(result: ExperimentResult) -> list[Table]:
    """What each part is worth: the whole adapter, and those without a part, by split."""
    out = []
    for split in dict.fromkeys(row.split for row in result.rows if row.kind == "ablation"):
        rows = [row for row in result.rows if row.split == split]
        whole = [row for row in rows if row.kind in ("seed", "adapter")]
        whole = [row for row in whole if row.name == "seed 0"] or whole[:1]
        lines = [
            msgspec.structs.replace(result_line(row), name="whole", strong=True, remark="")
            for row in whole
        ]
        lines += [
            msgspec.structs.replace(result_line(row), name=_left_out(row.name), remark="")
            for row in rows
            if row.kind == "ablation"
        ]
        out.append(
            Table(
                title=f"what a part is worth: {split}",
                about="one training seed each, the same number of sessions",
                heads=list(RESULT_HEADS),
                lines=lines,
            )
        )
    return out


def _left_out(name: str) -> str:
    return next((words for known, words in WITHOUT.items() if known == name), name)


def round_table(result: ExperimentResult) -> Table | None:
    """What the rounds of improvement did; None where there were none."""
    improvement = result.improvement
    if improvement is None or len(improvement.rounds) < 2:
        return None
    return Table(
        title="rounds of improvement",
        about="the adapter acts in training worlds; its verified clean sessions join the data",
        heads=["sessions that are right", "worlds with one", "added", "trained on"],
        lines=[_round_line(each) for each in improvement.rounds if each.round],
    )


def _round_line(facts: RoundFacts) -> Line:
    return Line(
        name=f"round {facts.round}",
        cells=[
            Cell(f"{facts.solved}/{facts.sampled}"),
            Cell(f"{facts.worlds_solved}/{facts.worlds}"),
            Cell(str(facts.added)),
            Cell(str(facts.sessions)),
        ],
        runs=[run for run in (facts.sample_run, facts.train_run, facts.eval_run) if run],
    )


def leakage_table(result: ExperimentResult) -> Table | None:
    """How much of the evaluated worlds is in the training data, beside a contaminated control."""
    lines = []
    for split, raw in result.leakage.items():
        report = msgspec.convert(raw, LeakageReport)
        for name, found in (
            (split, report.held_out),
            (f"{split}, {report.contaminated} of them training worlds", report.control),
        ):
            directives, commands = found.directives, found.commands
            lines.append(
                Line(
                    name=name,
                    cells=[
                        Cell(f"{directives.exact}/{directives.texts}"),
                        Cell(f"{directives.shared}/{directives.ngrams}"),
                        Cell(f"{commands.exact}/{commands.texts}"),
                        Cell(f"{commands.shared}/{commands.ngrams}"),
                    ],
                )
            )
    if not lines:
        return None
    return Table(
        title="leakage",
        about="what stands in the training worlds too; the second line of each is a control",
        heads=[
            "directives",
            f"{DIRECTIVE_WORDS}-grams of directives",
            "commands",
            f"{COMMAND_WORDS}-grams of commands",
        ],
        lines=lines,
    )


def stage_table(stages: Sequence[StageFacts]) -> Table:
    """What was done, how long it took, and what was left out."""
    return Table(
        title="stages",
        about="each is a run of its own, beside the experiment's",
        heads=["status", "seconds"],
        remarks="why",
        lines=[
            Line(
                name=stage.name,
                cells=[Cell(stage.status), Cell(f"{stage.seconds:.0f}")],
                remark=visible(stage.why),
                runs=[stage.run] if stage.run else [],
            )
            for stage in stages
        ],
    )


def size_lines(result: ExperimentResult) -> list[tuple[str, str]]:
    """What was made and done, by name."""
    plan = result.plan
    if plan is None:
        return []
    worlds = ", ".join(f"{count} {split}" for split, count in plan.worlds.items())
    lines = [
        ("preset", result.preset),
        ("base", visible(result.base)),
        ("training sessions", str(plan.sessions)),
        ("training seeds", str(plan.seeds)),
        ("worlds", worlds),
        ("rounds of improvement", str(plan.rounds)),
        ("time", f"{result.seconds / 60:.0f} minutes"),
    ]
    if plan.budget_s:
        lines.append(("budget", f"{plan.budget_s / 60:.0f} minutes"))
    if plan.speed is not None and plan.speed.token_s:
        speed = f"{1 / plan.speed.token_s:.0f} training tokens a second, "
        speed += f"{plan.speed.episode_s:.1f} s an episode"
        lines.append(("measured", speed))
    return [*lines, *(("to keep the budget", note) for note in plan.notes)]
