"""Episodes on disk: one trajectory per file, written whole, read back as they were."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from zlib import crc32

from sekft_engine.documents import decode
from sekft_engine.errors import BadInput, SekftError
from sekft_engine.evaluate.episode import Finished, draw_of, episode_key, trial_name
from sekft_engine.evaluate.verdict import verdict_of
from sekft_engine.sources import write_trajectory
from sekft_engine.trajectory import Trajectory


def episode_path(folder: Path, subject: str, trial: str) -> Path:
    """``<subject>--<trial>.json``; a name that no file can have is told apart by a checksum."""
    key = episode_key(subject, trial)
    safe = re.sub(r"[^A-Za-z0-9._+@-]", "_", key)[:180]
    if safe != key or safe.startswith("."):
        checksum = crc32(key.encode("utf-8", "surrogatepass"))
        safe = f"e{safe}-{checksum:08x}"
    return folder / f"{safe}.json"


def write_episode(folder: Path, subject: str, finished: Finished) -> Path:
    """Store a finished episode. Raises :class:`~sekft_engine.errors.Unavailable`."""
    trial = trial_name(finished.trajectory.scenario, draw_of(finished))
    path = episode_path(folder, subject, trial)
    write_trajectory(path, finished.trajectory)
    return path


def read_episode(path: Path) -> Finished:
    """Read one episode back, raising :class:`BadInput` that names the file."""
    raw = decode(path.read_bytes(), where=str(path))
    return as_finished(Trajectory.from_json(raw, str(path)))


def episodes_of(folder: Path) -> dict[str, list[Finished]]:
    """All episodes that are whole, by subject; half of one decides nothing."""
    found: dict[str, list[Finished]] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            finished = read_episode(path)
        except SekftError:
            continue
        found.setdefault(str(finished.trajectory.meta.get("subject", "")), []).append(finished)
    return found


def find_episode(folder: Path, name: str) -> Path:
    """The file of the episode called ``name``, or of the only one whose name holds it."""
    paths = sorted(folder.glob("*.json"))
    found = [path for path in paths if path.stem == name]
    found = found or [path for path in paths if name in path.stem]
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} episodes have that in their names" if found else "no such episode"
    others = ", ".join(path.stem for path in (found or paths)[:3])
    raise BadInput(
        f"{what}: {name}",
        where=str(folder),
        mend=f"there are {others}, ..." if others else "run the eval first",
    )


def as_finished(trajectory: Trajectory) -> Finished:
    """The verdict and time of a stored episode."""
    verdict = verdict_of(
        trajectory.meta,
        outcome=trajectory.outcome,
        steps=trajectory.steps,
        verified=trajectory.verified,
    )
    seconds = trajectory.meta.get("seconds", 0.0)
    return Finished(
        trajectory=trajectory,
        verdict=verdict,
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
    )


def finished_already(
    folder: Path, subject: str, trials: Iterable[tuple[str, int]]
) -> Iterator[tuple[str, Finished]]:
    """The episodes of ``subject`` that need not be run again, by the names of their trials.

    Invalid ones do not count, and a damaged file is run again.

    Args:
        trials: scenarios, each with the number of its draw.
    """
    for scenario, draw in trials:
        trial = trial_name(scenario, draw)
        path = episode_path(folder, subject, trial)
        if not path.is_file():
            continue
        try:
            finished = read_episode(path)
        except SekftError:
            continue
        same = finished.trajectory.scenario == scenario and draw_of(finished) == draw
        if same and not finished.verdict.invalid:
            yield trial, finished
