"""Episodes on disk: found in the runs of a workspace, newest run first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from sekft_engine.errors import SekftError
from sekft_engine.events import EpisodeDone
from sekft_engine.trajectory import Trajectory
from sekft_tui.cast import verdict_of


class Episode(NamedTuple):
    """A stored episode."""

    run: str
    subject: str
    path: str
    trajectory: Trajectory
    verdict: EpisodeDone | None


def find_episodes(runs: Path) -> tuple[list[Episode], list[str]]:
    """All episodes under ``runs`` and what could not be read."""
    found: list[Episode] = []
    broken: list[str] = []
    folders = sorted(runs.glob("*/episodes"), reverse=True)
    for folder in folders:
        for path in sorted(folder.glob("*.json")):
            try:
                found.append(read_episode(path))
            except (OSError, SekftError, ValueError) as error:
                broken.append(f"{path}: {error}")
    return found, broken


def read_episode(path: Path) -> Episode:
    """Read one episode file.

    Raises:
        SekftError, ValueError, OSError: it is no trajectory, no JSON, or cannot be read.
    """
    raw = json.loads(path.read_bytes())
    trajectory = Trajectory.from_json(raw, str(path))
    verdict = verdict_of(trajectory)
    subject = str(trajectory.meta.get("subject", ""))
    return Episode(path.parent.parent.name, subject, str(path), trajectory, verdict)
