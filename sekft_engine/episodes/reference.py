"""The reference solution of a scenario: typed as a session, and what it leaves in its world.

The session is an :class:`~sekft_engine.episodes.episode.Episode` like those of an eval or a
take-over, so one rule judges them all. The factory records it, the gate asks whether it passes, and
the final state of other sessions is compared with the one that it leaves.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.core.documents import NOT_JSON, encode
from sekft_engine.core.errors import SekftError
from sekft_engine.core.files import write_whole
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.data.workspace import Workspace
from sekft_engine.episodes.command_turn import CommandTurn
from sekft_engine.episodes.episode import Episode, FinishedEpisode
from sekft_engine.episodes.state import (
    Changes,
    PathDifference,
    changes_of,
    differences,
)
from sekft_engine.episodes.store import find_scenario
from sekft_engine.records.runs import RunInfo
from sekft_engine.worlds import CommandResult, World, open_world

#: A run's folder for what its scenarios' reference solutions changed.
REFERENCES = "references"
#: Who typed it, where an eval has the name of a base or an adapter.
REFERENCE = "reference"


class ReferenceSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session of the reference solution, with what each of its commands did."""

    finished: FinishedEpisode
    results: tuple[CommandResult, ...]

    @property
    def changes(self) -> Changes | None:
        """What it changed in its world; None where the sandbox cannot list that."""
        return changes_of(self.finished.trajectory)


def run_reference(scenario: Scenario, open_world: Callable[[Scenario], World]) -> ReferenceSession:
    """Type the reference solution of ``scenario`` into a fresh world, and judge the session.

    A solution that does not end the session is stopped after its last command, as a limit on
    commands would stop it.

    Args:
        open_world: makes the world.

    Raises:
        Unavailable: this machine has no such sandbox.
        WorldBroken: the sandbox failed; that says nothing of the solution.
        BadInput: no world can hold the bundle.
    """
    solution = scenario.reference_solution
    episode = Episode(scenario, REFERENCE, step_cap=len(solution) + 1, open_world=open_world)
    results: list[CommandResult] = []
    try:
        episode.open()
        for command in solution:
            if episode.over:
                break
            episode.type(CommandTurn(text=command))
            results.append(episode.last_result)
        episode.stop("commands")
        finished = episode.finish()
    finally:
        episode.close()
    if episode.error is not None:
        raise episode.error
    return ReferenceSession(finished=finished, results=tuple(results))


class StateDifference(msgspec.Struct, frozen=True):
    """How an episode's final state differs from the reference's.

    Attributes:
        unknown: why the two cannot be compared; empty where they can.
        partly: why the list may be incomplete; empty where it is complete.
    """

    differences: tuple[PathDifference, ...] = ()
    unknown: str = ""
    partly: str = ""

    @property
    def same(self) -> bool:
        return not self.differences and not self.unknown

    def lines(self) -> list[str]:
        """The differences as lines for a person; control characters are not yet made visible."""
        if self.unknown:
            return [f"cannot be compared: {self.unknown}"]
        lines = ["the world is as the reference solution leaves it"] if self.same else []
        for found in self.differences:
            lines.append(f"{found.sign} {found.path}  {found.what}")
            lines += [f"    {line}" for line in found.lines]
        return [*lines, f"there may be more: {self.partly}"] if self.partly else lines

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document | {"same": self.same}


def state_difference(run: RunInfo, trajectory: Trajectory) -> StateDifference:
    """Compare the final state of one episode of ``run`` with what the reference solution leaves."""
    return References(run).compare(trajectory)


class References:
    """Compares episodes of a run with the reference solutions of their scenarios.

    Each reference solution is typed once, into a world of the run's kind; what it changed is then
    stored in the run's folder.

    Args:
        run: an eval, or another run with episodes.
    """

    def __init__(self, run: RunInfo) -> None:
        self._run = run
        self._known: dict[str, tuple[Scenario, Changes | None] | SekftError] = {}

    def compare(self, trajectory: Trajectory) -> StateDifference:
        """How the final state of an episode differs from that of its scenario's reference."""
        here = changes_of(trajectory)
        if here is None:
            return StateDifference(unknown="its final state was not stored with it")
        found = self._of(trajectory.scenario)
        if isinstance(found, SekftError):
            return StateDifference(unknown=str(found))
        scenario, there = found
        return compare_changes(scenario, here, there)

    def _of(self, name: str) -> tuple[Scenario, Changes | None] | SekftError:
        if name not in self._known:
            try:
                scenario = _scenario_of(self._run, name)
                there = _stored(self._run, scenario) or _type_and_store(self._run, scenario)
                self._known[name] = scenario, there
            except SekftError as error:
                self._known[name] = error
        return self._known[name]


def compare_changes(
    scenario: Scenario, here: Changes | None, there: Changes | None
) -> StateDifference:
    """Compare what a session changed (``here``) with what the reference changed (``there``)."""
    if here is None or there is None:
        return StateDifference(unknown="this sandbox cannot list what a session left")
    partly = "" if here.whole and there.whole else "there were too many files to list all of them"
    return StateDifference(differences(scenario, here, there), partly=partly)


def _scenario_of(run: RunInfo, name: str) -> Scenario:
    """The bundle called ``name``: from where the eval's run took it, else from its workspace.

    Raises:
        BadInput: it is in neither place.
    """
    place = str(run.about.get("scenarios") or "")
    return find_scenario(name, [place], Workspace(Path(run.path).parent.parent))


def _stored(run: RunInfo, scenario: Scenario) -> Changes | None:
    """What the reference solution changed, where that is stored in the run; else None."""
    with contextlib.suppress(OSError, *NOT_JSON):
        return msgspec.json.decode(_path(run, scenario).read_bytes(), type=Changes)
    return None


def _type_and_store(run: RunInfo, scenario: Scenario) -> Changes | None:
    """Type the reference solution into a world like those of ``run``, and store what it changed.

    Raises:
        Unavailable, WorldBroken: there is no such sandbox here, or it failed.
    """
    backend, userland = run.about.get("world"), run.about.get("userland")

    def world_of(wanted: Scenario) -> World:
        return open_world(
            wanted,
            sandbox=backend if isinstance(backend, str) else "auto",
            userland=userland.split(":")[0] if isinstance(userland, str) else "auto",
        )

    found = run_reference(scenario, world_of).changes
    if found is not None:
        path = _path(run, scenario)
        with contextlib.suppress(OSError):  # the folder may be read-only
            path.parent.mkdir(exist_ok=True)
            write_whole(path, encode(found))
    return found


def _path(run: RunInfo, scenario: Scenario) -> Path:
    """The file for ``scenario`` in ``run``, by the bundle's content and the userland."""
    what = encode([scenario.to_json(), run.about.get("userland")])
    safe = re.sub(r"[^A-Za-z0-9._+-]", "_", scenario.id)[:120]
    return Path(run.path) / REFERENCES / f"{safe}-{sha256(what).hexdigest()[:12]}.json"
