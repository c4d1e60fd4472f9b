"""Episodes on disk: found in the runs of a workspace, newest run first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sekft_engine.errors import SekftError
from sekft_engine.events import EpisodeDone
from sekft_engine.sources.record import trajectory_in
from sekft_engine.trajectory import Trajectory
from sekft_tui.cast import verdict_of

if TYPE_CHECKING:
    from sekft_engine.evaluate.reference import StateDifference


class Episode(NamedTuple):
    """A stored episode. ``name`` is the scenario's, with ``@2`` for the second draw in it."""

    run: str
    subject: str
    path: str
    trajectory: Trajectory
    verdict: EpisodeDone | None
    name: str

    @property
    def world(self) -> tuple[str, object]:
        """What episodes of several subjects have in common: the scenario and the draw in it."""
        return self.trajectory.scenario, self.trajectory.meta.get("draw", 0)


class EpisodeShelf:
    """Reads episodes, each file once as long as it does not change. For any one thread at a time,
    while others may use what it found."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[tuple[int, int], Episode]] = {}

    def find(self, runs: Path) -> tuple[list[Episode], list[str]]:
        """All episodes under ``runs`` and what could not be read."""
        found: list[Episode] = []
        broken: list[str] = []
        folders = sorted(runs.glob("*/episodes"), reverse=True)
        for folder in folders:
            for path in sorted(folder.glob("*.json")):
                try:
                    found.append(self.read(path))
                except (OSError, SekftError, ValueError) as error:
                    broken.append(f"{path}: {error}")
        return found, broken

    def read(self, path: Path) -> Episode:
        """One episode; the same object as before where its file is as before.

        Raises:
            SekftError, ValueError, OSError: it is no trajectory, no JSON, or cannot be read.
        """
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._read.get(str(path))
        if known is None or known[0] != stamp:
            known = self._read[str(path)] = (stamp, _read(path))
        return known[1]


def _read(path: Path) -> Episode:
    from sekft_engine.evaluate.episode import trial_name

    trajectory = trajectory_in(path.read_bytes(), str(path), path.stem)
    verdict = verdict_of(trajectory)
    subject = str(trajectory.meta.get("subject", ""))
    draw = trajectory.meta.get("draw", 0)
    name = trial_name(trajectory.scenario or trajectory.id, draw if isinstance(draw, int) else 0)
    return Episode(path.parent.parent.name, subject, str(path), trajectory, verdict, name)


def final_difference(episode: Episode) -> StateDifference:
    """How the world that ``episode`` left differs from what the reference solution leaves.

    Opens a world the first time that it is asked of a scenario: takes a moment.
    """
    from sekft_engine.evaluate.reference import StateDifference, state_difference
    from sekft_engine.runs import read_run

    try:
        return state_difference(read_run(Path(episode.path).parent.parent), episode.trajectory)
    except (OSError, SekftError) as error:
        return StateDifference(unknown=str(error))
