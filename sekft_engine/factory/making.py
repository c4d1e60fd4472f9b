"""Make scenarios, pass them through the gate, and write them with their reference sessions."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from sekft_engine.core.errors import BadInput, JobFailed, explain_os_error
from sekft_engine.core.files import staged_folder
from sekft_engine.data.dialect import DEFAULT_DIALECT, Dialect
from sekft_engine.data.scenario import Scenario
from sekft_engine.factory.compose import compose
from sekft_engine.factory.gate import Admission, admit_one
from sekft_engine.factory.kept import KeptSessions
from sekft_engine.factory.splits import SPLITS, Spec, Split, specs
from sekft_engine.records.results import FactoryReport

Progress = Callable[[str, int, int], None]
#: So many times more specs than are wanted are tried to find those of some kinds.
_MOST_TRIED = 64
#: Splits that may be asked for by name; training worlds come with their sessions.
NAMED_SPLITS: tuple[Split, ...] = tuple(split for split in SPLITS if split != "train")


def make(
    out: Path,
    *,
    train: int,
    holdout: int,
    seed: int,
    splits: Mapping[Split, int] | None = None,
    core: bool = False,
    kinds: frozenset[str] | None = None,
    workers: int = 2,
    sandbox: str = "auto",
    userland: str = "auto",
    dialect: Dialect = DEFAULT_DIALECT,
    keep: Path | None = None,
    progress: Progress | None = None,
) -> FactoryReport:
    """Write ``out/scenarios/{train,holdout}``, ``out/trajectories`` and further splits.

    The same seed gives the same bytes. Sessions are recorded for the training scenarios only.
    Nothing is written before all scenarios have passed; the folders must be empty or absent.

    Args:
        out: the folder to write to.
        train: number of training scenarios, each with a recorded session.
        holdout: number of held-out scenarios; half are new compositions, half new primitives.
        splits: number of scenarios of single splits, each written to ``out/scenarios/SPLIT``.
        seed: fixes all choices.
        core: of training's kinds of work, take only the most usual ones.
        kinds: take only training worlds whose parts are all of these kinds; None = any.
        workers: number of worlds at a time.
        sandbox, userland: of the worlds.
        dialect: how outputs and prompts are shown in environment turns.
        keep: a file for the sessions that are recorded, so that what was stopped, or is made in a
            larger number later, records none of them again; None = there is none.
        progress: called with (label, done, total).

    Raises:
        BadInput: the counts are negative, or ``out`` already holds data.
        Unavailable: no sandbox, or ``out`` cannot be written to.
        JobFailed: a scenario did not pass its gate, which is a bug of the factory or the machine.
    """
    named = dict(splits or {})
    if min(train, holdout, *named.values()) < 0:
        raise BadInput("counts cannot be negative", where="sekft factory make")
    folders: dict[str, list[Spec]] = {
        "train": _training(train, seed, core=core, kinds=kinds),
        "holdout": [
            *specs("compositions", holdout - holdout // 2, seed, core=core),
            *specs("primitives", holdout // 2, seed, core=core),
        ],
    }
    folders |= {split: specs(split, count, seed, core=core) for split, count in named.items()}
    for name in folders:
        _must_be_free(out / "scenarios" / name)
    _must_be_free(out / "trajectories")
    made = {name: [compose(spec) for spec in wanted] for name, wanted in folders.items()}
    bundles = [bundle for each in made.values() for bundle in each]
    with KeptSessions.open(keep, (sandbox, userland, dialect.digest)) as kept:

        def admit(bundle: Scenario) -> Admission:
            found = kept.find(bundle)
            if found is not None:
                return found
            admission = admit_one(bundle, sandbox=sandbox, userland=userland, dialect=dialect)
            kept.add(bundle, admission)
            return admission

        admissions = _gate(bundles, workers, admit, progress)
    refused = {each.scenario: each.reason for each in admissions if not each.admitted}
    if refused:
        first, reason = next(iter(refused.items()))
        raise JobFailed(
            f"{len(refused)} of {len(bundles)} bundles did not pass their gate: {reason}",
            where=first,
            mend="run sekft doctor",
        )
    _write(out, made, admissions[:train])
    return FactoryReport(
        out=str(out),
        train=train,
        holdout=holdout,
        trajectories=train,
        seed=seed,
        splits={str(split): count for split, count in named.items()},
        by_archetype=_counts(bundle.archetype for bundle in bundles),
        by_channel=_counts(bundle.announcement.channel for bundle in bundles),
        by_terminal=_counts(bundle.terminal for bundle in bundles),
        by_obstacle=_counts(str(bundle.extra["obstacle"]) or "none" for bundle in bundles),
    )


def _training(count: int, seed: int, *, core: bool, kinds: frozenset[str] | None) -> list[Spec]:
    """The first ``count`` training specs of these kinds.

    Raises:
        BadInput: there are too few.
    """
    if kinds is None:
        return specs("train", count, seed, core=core)
    tried = max(count, 1)
    while tried <= max(count, 1) * _MOST_TRIED:
        tried *= 4
        found = [
            spec
            for spec in specs("train", tried, seed, core=core)
            if {part for name in spec.archetypes for part in name.split("+")} <= kinds
        ]
        if len(found) >= count:
            return found[:count]
    raise BadInput(
        f"too few worlds have only {', '.join(sorted(kinds)[:3])}, ...",
        where="sekft factory make",
        mend="name more kinds of work",
    )


def _must_be_free(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise BadInput(
            "already holds files", where=str(folder), mend="choose another folder with --out"
        )


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _gate(
    bundles: list[Scenario],
    workers: int,
    admit: Callable[[Scenario], Admission],
    progress: Progress | None,
) -> list[Admission]:
    out: list[Admission] = []
    with ThreadPoolExecutor(max(workers, 1), thread_name_prefix="factory") as pool:
        results = pool.map(admit, bundles)
        try:
            for admission in results:
                out.append(admission)
                if progress is not None:
                    progress("scenarios", len(out), len(bundles))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return out


def _write(out: Path, made: Mapping[str, list[Scenario]], recorded: list[Admission]) -> None:
    """Write all folders beside their places, then move them there one after the other."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            # They are moved in reverse order, trajectories last: where these are, all is complete.
            trajectories = stack.enter_context(staged_folder(out / "trajectories"))
            for name, bundles in reversed(list(made.items())):
                folder = stack.enter_context(staged_folder(out / "scenarios" / name))
                for bundle in bundles:
                    _dump(folder / f"{bundle.id}.json", bundle.to_json())
            for admission in recorded:
                if admission.trajectory is not None:
                    path = trajectories / f"{admission.scenario}.json"
                    _dump(path, admission.trajectory.to_json())
    except OSError as error:
        raise explain_os_error(error) or error from error


def _dump(path: Path, document: object) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")
