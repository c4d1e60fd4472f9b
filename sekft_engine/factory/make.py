"""Make: scenarios through the gate, their reference sessions recorded, written as one whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from sekft_engine.dialect import DEFAULT_DIALECT, Dialect
from sekft_engine.errors import BadInput, JobFailed, Unavailable
from sekft_engine.factory.compose import compose, specs
from sekft_engine.factory.gate import Admission, admit_one
from sekft_engine.scenario import Scenario

Progress = Callable[[str, int, int], None]
_PARTS = ("scenarios/train", "scenarios/holdout", "trajectories")


class FactoryReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was written where."""

    out: str
    train: int
    holdout: int
    trajectories: int
    seed: int
    refused: dict[str, str] = {}
    by_archetype: dict[str, int] = {}
    by_channel: dict[str, int] = {}
    by_terminal: dict[str, int] = {}


def make(
    out: Path,
    *,
    train: int,
    holdout: int,
    seed: int,
    workers: int = 2,
    sandbox: str = "auto",
    dialect: Dialect = DEFAULT_DIALECT,
    progress: Progress | None = None,
) -> FactoryReport:
    """Write ``out/scenarios/{train,holdout}`` and ``out/trajectories``; same seed, same bytes.

    Sessions are recorded for the training scenarios only. Nothing of ``out`` changes before all
    is done; its own folders of these names must be empty or absent.

    Raises:
        BadInput: the counts are negative, or ``out`` already holds data.
        Unavailable: no sandbox, or ``out`` cannot be written.
        JobFailed: a bundle did not pass its reference gate: a bug of the factory or the machine.
    """
    if train < 0 or holdout < 0:
        raise BadInput("counts cannot be negative", where="sekft factory make")
    for part in _PARTS:
        if (out / part).is_dir() and any((out / part).iterdir()):
            raise BadInput(
                "already holds files",
                where=str(out / part),
                mend="choose another folder with --out",
            )
    wanted = [*specs("train", train, seed), *specs("holdout", holdout, seed)]
    bundles = [compose(spec) for spec in wanted]
    admissions = _gate(bundles, workers, sandbox, dialect, progress)
    refused = {each.scenario: each.reason for each in admissions if not each.admitted}
    if refused:
        first, reason = next(iter(refused.items()))
        raise JobFailed(
            f"{len(refused)} of {len(bundles)} bundles did not pass their gate: {reason}",
            where=first,
            mend="run sekft doctor",
        )
    _write(out, bundles[:train], bundles[train:], admissions[:train])
    return FactoryReport(
        out=str(out),
        train=train,
        holdout=holdout,
        trajectories=train,
        seed=seed,
        by_archetype=_counts(bundle.archetype for bundle in bundles),
        by_channel=_counts(bundle.announcement.channel for bundle in bundles),
        by_terminal=_counts(bundle.terminal for bundle in bundles),
    )


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _gate(
    bundles: list[Scenario],
    workers: int,
    sandbox: str,
    dialect: Dialect,
    progress: Progress | None,
) -> list[Admission]:
    out: list[Admission] = []
    with ThreadPoolExecutor(max(workers, 1), thread_name_prefix="factory") as pool:
        results = pool.map(
            lambda bundle: admit_one(bundle, sandbox=sandbox, dialect=dialect), bundles
        )
        try:
            for admission in results:
                out.append(admission)
                if progress is not None:
                    progress("scenarios", len(out), len(bundles))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return out


def _write(
    out: Path, train: list[Scenario], holdout: list[Scenario], recorded: list[Admission]
) -> None:
    """Stage everything beside ``out``, then rename each folder into place."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".making-", dir=out))
        try:
            for part in _PARTS:
                (staging / part).mkdir(parents=True)
            for part, bundles in zip(_PARTS[:2], (train, holdout), strict=True):
                for bundle in bundles:
                    _dump(staging / part / f"{bundle.id}.json", bundle.to_json())
            for admission in recorded:
                if admission.trajectory is not None:
                    path = staging / _PARTS[2] / f"{admission.scenario}.json"
                    _dump(path, admission.trajectory.to_json())
            for part in _PARTS:
                target = out / part
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.is_dir():
                    target.rmdir()
                (staging / part).rename(target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise Unavailable(
            f"cannot write: {error.strerror}",
            where=str(error.filename or out),
            mend="choose a folder you may write to with --out",
        ) from error


def _dump(path: Path, document: object) -> None:
    data = msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
