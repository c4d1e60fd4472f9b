"""The final state of an episode against that of the reference solution, in a world of its own."""

from __future__ import annotations

import contextlib
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.documents import NOT_JSON, encode
from sekft_engine.errors import SekftError
from sekft_engine.evaluate.state import Changes, Difference, changes, changes_of, differences
from sekft_engine.evaluate.takeover_origin import find_scenario
from sekft_engine.files import write_whole
from sekft_engine.runs import RunInfo
from sekft_engine.scenario import Scenario
from sekft_engine.trajectory import Trajectory
from sekft_engine.workspace import Workspace
from sekft_engine.worlds import World, open_world

#: A run's folder for what its scenarios' reference solutions changed.
REFERENCES = "references"


class StateDifference(msgspec.Struct, frozen=True):
    """How an episode's final state differs from the reference's.

    Attributes:
        unknown: why it cannot be told; empty where it can.
        partly: why it may not be all.
    """

    differences: tuple[Difference, ...] = ()
    unknown: str = ""
    partly: str = ""

    @property
    def same(self) -> bool:
        return not self.differences and not self.unknown

    def told(self) -> list[str]:
        """Lines for a person, as they are: not yet made visible."""
        if self.unknown:
            return [f"cannot be told: {self.unknown}"]
        lines = ["the world is as the reference solution leaves it"] if self.same else []
        for one in self.differences:
            lines += [f"{one.sign} {one.path}  {one.what}", *(f"    {line}" for line in one.lines)]
        return [*lines, f"this may not be all: {self.partly}"] if self.partly else lines

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document | {"same": self.same}


def state_difference(run: RunInfo, trajectory: Trajectory) -> StateDifference:
    """Compare the final state of one episode of ``run`` with what the reference solution leaves."""
    return References(run).compare(trajectory)


class References:
    """What the reference solutions of a run's scenarios leave, each found once.

    A reference is typed into a world of the run's kind the first time, and kept in the run.
    """

    def __init__(self, run: RunInfo) -> None:
        self._run = run
        self._known: dict[str, tuple[Scenario, Changes | None] | SekftError] = {}

    def compare(self, trajectory: Trajectory) -> StateDifference:
        """How the final state of an episode differs from its scenario's reference."""
        here = changes_of(trajectory)
        if here is None:
            return StateDifference(unknown="its final state was not kept with it")
        found = self._of(trajectory.scenario)
        if isinstance(found, SekftError):
            return StateDifference(unknown=str(found))
        scenario, there = found
        return compared(scenario, here, there)

    def _of(self, name: str) -> tuple[Scenario, Changes | None] | SekftError:
        if name not in self._known:
            try:
                scenario = scenario_of(self._run, name)
                there = recorded(self._run, scenario) or record(self._run, scenario)
                self._known[name] = scenario, there
            except SekftError as error:
                self._known[name] = error
        return self._known[name]


def compared(scenario: Scenario, here: Changes | None, there: Changes | None) -> StateDifference:
    """What a session left (``here``) against what the reference solution leaves (``there``)."""
    if here is None or there is None:
        return StateDifference(unknown="this sandbox cannot tell what a session left")
    partly = "" if here.whole and there.whole else "there was too much to look at all of it"
    return StateDifference(differences(scenario, here, there), partly=partly)


def scenario_of(run: RunInfo, name: str) -> Scenario:
    """The bundle called ``name`` of an eval's run: where it was, else in the run's workspace.

    Raises:
        BadInput: it is there no more.
    """
    place = str(run.about.get("scenarios") or "")
    return find_scenario(name, [place], Workspace(Path(run.path).parent.parent))


def recorded(run: RunInfo, scenario: Scenario) -> Changes | None:
    """What the reference solution changed, where it was typed before."""
    with contextlib.suppress(OSError, *NOT_JSON):
        return msgspec.json.decode(_path(run, scenario).read_bytes(), type=Changes)
    return None


def record(run: RunInfo, scenario: Scenario) -> Changes | None:
    """Type the reference solution into a world like those of ``run``, and keep what it changed.

    Raises:
        Unavailable, WorldBroken: there is no such sandbox here, or it failed.
    """
    backend, userland = run.about.get("world"), run.about.get("userland")
    with open_world(
        scenario,
        sandbox=backend if isinstance(backend, str) else "auto",
        userland=userland.split(":")[0] if isinstance(userland, str) else "auto",
    ) as world:
        found = solution_changes(scenario, world)
    if found is not None:
        path = _path(run, scenario)
        with contextlib.suppress(OSError):  # a run that one may only read
            path.parent.mkdir(exist_ok=True)
            write_whole(path, encode(found))
    return found


def solution_changes(scenario: Scenario, world: World) -> Changes | None:
    """Type the reference solution into ``world``, which is untouched, and tell what it changed;
    None where that cannot be told."""
    for command in scenario.reference_solution:
        if world.run(command).ended:
            break
    world.check()
    listing = world.listing()
    return changes(scenario, listing) if listing is not None else None


def _path(run: RunInfo, scenario: Scenario) -> Path:
    """Of another bundle of the same name, and in another userland, it is another file."""
    what = encode([scenario.to_json(), run.about.get("userland")])
    safe = re.sub(r"[^A-Za-z0-9._+-]", "_", scenario.id)[:120]
    return Path(run.path) / REFERENCES / f"{safe}-{sha256(what).hexdigest()[:12]}.json"
