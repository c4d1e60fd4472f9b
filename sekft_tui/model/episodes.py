"""Episodes on disk: found in the runs of a workspace, newest run first."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sekft_engine.core.errors import SekftError, in_words
from sekft_engine.core.files import read_regular
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.records.events import EpisodeDone
from sekft_engine.sources.read.parse import trajectory_in
from sekft_tui.model.recording import verdict_of

if TYPE_CHECKING:
    from sekft_engine.episodes.reference import StateDifference


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
        """The scenario and the draw: equal for episodes that began in the same world."""
        return self.trajectory.scenario, self.trajectory.meta.get("draw", 0)


class EpisodeShelf:
    """Reads episodes; a file is read again only if it has changed. One thread may call it at a
    time; the episodes may be used by any."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[tuple[int, int], Episode]] = {}

    @staticmethod
    def stamps(runs: Path) -> tuple[tuple[str, int, int], ...]:
        """Changes when an episode is written, or goes with its run. Quick: reads no episode."""
        folders = []
        for folder in sorted(runs.glob("*/episodes")):
            with suppress(OSError):
                status = folder.stat()
                folders.append((str(folder), status.st_ctime_ns, status.st_ino))
        return tuple(folders)

    def find(self, runs: Path) -> tuple[list[Episode], list[str]]:
        """All episodes under ``runs``, and a line for each file that could not be read."""
        found: list[Episode] = []
        broken: list[str] = []
        folders = sorted(runs.glob("*/episodes"), reverse=True)
        for folder in folders:
            for path in sorted(folder.glob("*.json")):
                try:
                    found.append(self.read(path))
                except (OSError, SekftError, ValueError) as error:
                    broken.append(unread(path, error))
        return found, broken

    def read(self, path: Path) -> Episode:
        """One episode; the same object as before if its file has not changed.

        Raises:
            SekftError, ValueError, OSError: it is not a trajectory, not JSON, or cannot be read.
        """
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._read.get(str(path))
        if known is None or known[0] != stamp:
            known = self._read[str(path)] = (stamp, _read(path))
        return known[1]


def _read(path: Path) -> Episode:
    from sekft_engine.episodes.episode import trial_name

    trajectory = trajectory_in(read_regular(path), str(path), path.stem)
    verdict = verdict_of(trajectory)
    subject = str(trajectory.meta.get("subject", ""))
    draw = trajectory.meta.get("draw", 0)
    name = trial_name(trajectory.scenario or trajectory.id, draw if isinstance(draw, int) else 0)
    return Episode(path.parent.parent.name, subject, str(path), trajectory, verdict, name)


def final_difference(episode: Episode) -> StateDifference:
    """How the final world of ``episode`` differs from that of the reference solution.

    The first call for a scenario opens a world, which takes a moment.
    """
    from sekft_engine.episodes.reference import StateDifference, state_difference
    from sekft_engine.records.runs import read_run

    try:
        return state_difference(read_run(Path(episode.path).parent.parent), episode.trajectory)
    except (OSError, SekftError) as error:
        return StateDifference(unknown=in_words(error))


def unread(path: Path, error: Exception) -> str:
    """Why the episode in ``path`` cannot be read; the error may name its file or not."""
    return f"{path}: {in_words(error).removeprefix(f'{path}: ')}"
