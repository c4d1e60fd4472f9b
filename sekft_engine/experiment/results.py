"""The table of results: from the episodes of an experiment's evals to counts and tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import get_args

import msgspec

from sekft_engine.episodes.episode import FinishedEpisode
from sekft_engine.episodes.store import episodes_of
from sekft_engine.evaluation.report.comparisons import differences, paired
from sekft_engine.evaluation.report.document import subject_facts
from sekft_engine.evaluation.statistics.paired import compare
from sekft_engine.experiment.presets import HELD_OUT
from sekft_engine.records.evals import EvalResult, PairedComparison
from sekft_engine.records.experiments import ImproveResult, PlanFacts, ResultRow, RowKind
from sekft_engine.records.jobs import AblationName
from sekft_engine.records.runs import RunInfo
from sekft_engine.records.stages import finished_run

#: The control that knows everything; an effect counts above the others only.
ORACLE = "oracle"
#: What is compared with the best control.
COMPARED = ("solved", "clean_termination")


class Acted(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody in the worlds of a split.

    Attributes:
        name: for the table.
        episodes: what it did there.
        run: the eval's id.
        trained: the id of the training run; empty = there is none.
    """

    name: str
    episodes: tuple[FinishedEpisode, ...]
    run: str
    trained: str = ""


def acted(run: RunInfo, trained: Sequence[str] = ()) -> list[Acted]:
    """Who acted in an eval, in its order: base, adapters, controls.

    Args:
        run: the eval.
        trained: ids of the training runs of its adapters, in order.
    """
    if not isinstance(run.result, EvalResult):
        return []
    found = episodes_of(Path(run.path) / "episodes")
    out: list[Acted] = []
    adapters = 0
    for subject in run.result.subjects:
        training = ""
        if not subject.control and subject.name != "base" and adapters < len(trained):
            training = trained[adapters]
            adapters += 1
        episodes = tuple(found.get(subject.name, ()))
        out.append(Acted(name=subject.name, episodes=episodes, run=run.id, trained=training))
    return out


def row(split: str, kind: RowKind, name: str, several: Sequence[Acted]) -> ResultRow:
    """The row of one that acted, or of several together: each is then a draw in its worlds."""
    episodes = [episode for each in several for episode in each.episodes]
    facts = subject_facts(name, episodes, control=kind == "control")
    return ResultRow(
        split=split,
        kind=kind,
        name=name,
        facts=msgspec.structs.replace(facts, pass_at=msgspec.UNSET),
        runs=list(dict.fromkeys(each.run for each in several)),
        trained=list(dict.fromkeys(each.trained for each in several if each.trained)),
    )


def compared(found: ResultRow, several: Sequence[Acted], controls: Sequence[Acted]) -> ResultRow:
    """The row with a paired test against the best unskilled control, by measure."""
    against = [
        _against(found.name, several, best, measure)
        for measure in COMPARED
        if (best := _best(controls, measure)) is not None
    ]
    return msgspec.structs.replace(found, against=against)


def _best(controls: Iterable[Acted], measure: str) -> Acted | None:
    unskilled = [each for each in controls if each.name != ORACLE]
    return max(unskilled, key=lambda each: _count(each, measure), default=None)


def _count(of: Acted, measure: str) -> int:
    facts = subject_facts(of.name, of.episodes, control=True)
    kinds = facts.kinds
    if measure == "solved":
        return kinds.solved if kinds else 0
    return facts.count(measure)


def _against(name: str, several: Sequence[Acted], control: Acted, measure: str) -> PairedComparison:
    """All draws of ``several`` against the control in the same worlds."""
    by_world: dict[str, int] = {}
    for each in several:
        for world, by in differences(control.episodes, each.episodes, measure).items():
            by_world[world] = by_world.get(world, 0) + by
    return paired(control.name, name, measure, compare([*by_world.values()]))


def seed_stages(plan: PlanFacts) -> tuple[str, ...]:
    """The stages that train, one for each seed."""
    return tuple(f"train-{number}" for number in range(plan.seeds))


def ablations_of(plan: PlanFacts) -> tuple[AblationName, ...]:
    """What is left out, in the order of the report."""
    return tuple(name for name in get_args(AblationName) if name in plan.ablations)


#: The worlds of all held-out splits together.
ALL_HELD_OUT = "held-out"

#: Who acted in the worlds of a split, by kind and name; several = as draws in the same worlds.
_Table = dict[tuple[RowKind, str], list[Acted]]


def rows_of(
    plan: PlanFacts, folder: Callable[[str], Path], improvement: ImproveResult | None
) -> list[ResultRow]:
    """The table of results, as far as the evals are done: each split, then all held-out ones.

    Args:
        plan: of the experiment.
        folder: gives the folder of a stage's run.
        improvement: what the rounds did, where there were any.
    """
    tables = {split: _acted_in(split, plan, folder, improvement) for split in plan.worlds}
    held_out = [tables[split] for split in HELD_OUT if split in tables]
    if len(held_out) > 1:
        # Whoever has not acted in all of them yet has no rate over all of them.
        tables[ALL_HELD_OUT] = {
            who: [each for table in held_out for each in table[who]]
            for who in held_out[0]
            if all(who in table for table in held_out)
        }
    return [found for split, table in tables.items() for found in _rows(split, table)]


def _acted_in(
    split: str,
    plan: PlanFacts,
    folder: Callable[[str], Path],
    improvement: ImproveResult | None,
) -> _Table:
    """Who acted in the worlds of ``split``."""

    def who(stage: str, trained: Sequence[str] = ()) -> list[Acted]:
        run = finished_run(folder(stage))
        return acted(run, trained) if run is not None else []

    found: _Table = {("base", "base"): who(f"base-{split}")}
    evaluated = who(f"adapters-{split}", [folder(name).name for name in seed_stages(plan)])
    adapters = [each for each in evaluated if each.trained]
    found["adapter", "adapter"] = adapters
    if len(adapters) > 1:
        for number, each in enumerate(adapters):
            found["seed", f"seed {number}"] = [each]
    for each in evaluated:
        if not each.trained:
            found["control", each.name] = [each]
    rounds = [each.train_run for each in improvement.rounds] if improvement is not None else []
    improved = who(f"rounds-{split}", [run for run in rounds if run])
    for number, each in enumerate(improved, 1):
        found["round", f"round {number}"] = [each]
    names = [name for name in ablations_of(plan) if finished_run(folder(f"without-{name}"))]
    left_out = who(f"without-{split}", [folder(f"without-{name}").name for name in names])
    for name, each in zip(names, left_out, strict=False):
        found["ablation", name] = [each]
    return {key: several for key, several in found.items() if several}


def _rows(split: str, table: _Table) -> list[ResultRow]:
    controls = [_joined(several) for (kind, _), several in table.items() if kind == "control"]
    rows = []
    for (kind, name), several in table.items():
        found = row(split, kind, name, several)
        rows.append(found if kind in ("base", "control") else compared(found, several, controls))
    return rows


def _joined(several: Sequence[Acted]) -> Acted:
    """One that acted in the worlds of several splits."""
    first = several[0]
    episodes = tuple(episode for each in several for episode in each.episodes)
    return msgspec.structs.replace(first, episodes=episodes)
