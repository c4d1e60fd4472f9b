"""Episodes on disk, one trajectory per file, and the bundles of their scenarios."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from zlib import crc32

from sekft_engine.core.documents import decode
from sekft_engine.core.errors import BadInput, SekftError
from sekft_engine.core.files import read_regular
from sekft_engine.core.text import count
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.data.workspace import Workspace
from sekft_engine.episodes.episode import FinishedEpisode, draw_of, episode_key, trial_name
from sekft_engine.episodes.verdict import verdict_of
from sekft_engine.sources import survey_scenarios, write_trajectory


def episode_path(folder: Path, subject: str, trial: str) -> Path:
    """The file of an episode: ``<subject>--<trial>.json``.

    Where that name cannot be the name of a file it is changed, and made unique by a checksum.
    """
    key = episode_key(subject, trial)
    safe = re.sub(r"[^A-Za-z0-9._+@-]", "_", key)[:180]
    if safe != key or safe.startswith("."):
        checksum = crc32(key.encode("utf-8", "surrogatepass"))
        safe = f"e{safe}-{checksum:08x}"
    return folder / f"{safe}.json"


def write_episode(folder: Path, subject: str, finished: FinishedEpisode) -> Path:
    """Store a finished episode and return its path.

    Raises:
        Unavailable: the folder cannot be written to.
    """
    trial = trial_name(finished.trajectory.scenario, draw_of(finished))
    path = episode_path(folder, subject, trial)
    write_trajectory(path, finished.trajectory)
    return path


def read_episode(path: Path) -> FinishedEpisode:
    """Read one episode back.

    Raises:
        BadInput: the file holds no episode; the error names it.
    """
    try:
        data = read_regular(path)
    except OSError as error:
        raise BadInput(str(error.strerror), where=str(path)) from error
    raw = decode(data, where=str(path))
    return as_finished(Trajectory.from_json(raw, str(path)))


def episodes_of(folder: Path) -> dict[str, list[FinishedEpisode]]:
    """All readable episodes in ``folder``, by subject; damaged files are skipped."""
    found: dict[str, list[FinishedEpisode]] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            finished = read_episode(path)
        except SekftError:
            continue
        found.setdefault(str(finished.trajectory.meta.get("subject", "")), []).append(finished)
    return found


def find_episode(folder: Path, name: str) -> Path:
    """The file of the episode called ``name``, or of the only one whose name contains ``name``.

    Raises:
        BadInput: there is none, or more than one.
    """
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


def as_finished(trajectory: Trajectory) -> FinishedEpisode:
    """A stored episode with its verdict and its time."""
    verdict = verdict_of(
        trajectory.meta,
        outcome=trajectory.outcome,
        steps=trajectory.steps,
        verified=trajectory.verified,
    )
    seconds = trajectory.meta.get("seconds", 0.0)
    return FinishedEpisode(
        trajectory=trajectory,
        verdict=verdict,
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
    )


def finished_already(
    folder: Path, subject: str, trials: Iterable[tuple[str, int]]
) -> Iterator[tuple[str, FinishedEpisode]]:
    """The episodes of ``subject`` that need not be run again, with the names of their trials.

    Invalid episodes, those that a person touched and damaged files are left out: they are run
    again.

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
        if same and not finished.verdict.invalid and not touched(finished):
            yield trial, finished


def touched(finished: FinishedEpisode) -> bool:
    """Whether a person typed in it, so that it counts in no rate."""
    about = finished.trajectory.meta.get("takeover")
    return isinstance(about, dict) and bool(about.get("hand"))


def find_scenario(name: str, places: Sequence[str], workspace: Workspace | None) -> Scenario:
    """The bundle called ``name``, from the first place that has it; broken ones beside it do not
    matter.

    Args:
        name: the scenario's id.
        places: files or folders to look in first; empty names are skipped.
        workspace: its held-out and its training scenarios are looked through last.

    Raises:
        BadInput: it is in none of them.
    """
    folders = [Path(place).expanduser() for place in places if place]
    if workspace is not None:
        folders += [workspace.holdout_scenarios, workspace.train_scenarios]
    broken: list[SekftError] = []
    for folder in folders:
        if folder.exists() and holds_bundles(folder):
            there = survey_scenarios(folder)
            broken += there.broken
            for scenario in there.scenarios:
                if scenario.id == name:
                    return scenario
    looked = ", ".join(str(folder) for folder in folders) or "no folder: there is no workspace here"
    if broken:
        looked += f"; {count(len(broken), 'bundle')} there cannot be read, as {broken[0]}"
    raise BadInput(
        f"its scenario was not found (looked in {looked})",
        where=name or "a session without a scenario",
        mend="name the folder of its bundle with --scenarios",
    )


def holds_bundles(place: Path) -> bool:
    """Whether ``place`` is a file, or a folder with JSON files in it."""
    return place.is_file() or any(place.glob("*.json*"))
