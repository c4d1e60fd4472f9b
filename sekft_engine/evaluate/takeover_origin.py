"""Where a take-over begins: a recorded session at one of its turns, or an untouched world."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.adapters import adapter_digest
from sekft_engine.dialect import DEFAULT_DIALECT, Dialect
from sekft_engine.errors import BadInput, SekftError
from sekft_engine.evaluate.store import read_episode
from sekft_engine.evaluate.subjects import BASE
from sekft_engine.evaluate.takeover_typist import typed_elsewhere
from sekft_engine.runs import MANIFEST, list_runs, read_run
from sekft_engine.scenario import Scenario
from sekft_engine.sources import load_scenarios
from sekft_engine.trajectory import Trajectory, Turn
from sekft_engine.workspace import Workspace

#: How the name of a take-over's draft begins.
DRAFT = ".takeover-"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What is played again, and in what.

    Attributes:
        turns: as recorded; the commands among the first ``turn`` are typed again.
        run, episode: where they were recorded; empty for an untouched world.
        subject, digest: who typed them, and the digest of its adapter ('' = the bare base).
        adapter: the folder of that adapter here; ``missing`` says why there is none.
        heldout: its world is for evals: none of the workspace's training scenarios. None where
            there is no workspace to tell.
        about: what the run says of itself.
        before: what the session says of how it was taken over before.
        draft: the file of a draft that is gone on with.
    """

    scenario: Scenario
    turns: tuple[Turn, ...] = ()
    turn: int = 0
    run: str = ""
    episode: str = ""
    subject: str = ""
    digest: str = ""
    adapter: str = ""
    missing: str = ""
    heldout: bool | None = None
    dialect: Dialect = DEFAULT_DIALECT
    about: dict[str, Any] = {}
    before: dict[str, Any] = {}
    draft: str = ""

    @property
    def recorded(self) -> tuple[Turn, ...]:
        """The turns that are played again, each command with who typed it."""
        return tuple(
            msgspec.structs.replace(turn, extra={"by": self.subject or BASE} | turn.extra)
            if turn.is_command
            else turn
            for turn in upto(self.turns, self.turn)
        )

    @property
    def sandbox(self) -> str:
        return str(self.about.get("world") or "auto")

    @property
    def userland(self) -> str:
        """The name of the userland it was recorded in; its digest may be another by now."""
        return str(self.about.get("userland") or "auto").partition(":")[0]

    @property
    def temperature(self) -> float:
        return float(self.about.get("temperature") or 0.0)

    @property
    def turn_tokens(self) -> int:
        return int(self.about.get("turn_tokens") or 64)


def last_turn(trajectory: Trajectory) -> int:
    """The last turn of a session at which someone else can go on: its end where a limit ended it,
    else its last command, which ended it."""
    commands = [number for number, turn in enumerate(trajectory.turns) if turn.is_command]
    if trajectory.outcome == "cap" or not commands:
        return len(trajectory.turns)
    return commands[-1]


def upto(turns: Sequence[Turn], turn: int) -> tuple[Turn, ...]:
    """The turns before turn ``turn``, and that one where nobody typed it: what stands on the
    screen when turn ``turn`` is to be typed."""
    typed = turn < len(turns) and turns[turn].is_command
    return tuple(turns[: turn if typed else turn + 1])


def origin_of_session(
    path: Path, turn: int | None, workspace: Workspace | None, *, scenarios: str = ""
) -> Origin:
    """The stored session ``path`` at ``turn``; None = as late as can be.

    Args:
        turn: the first turn that is not played again, its index in ``turns``. Where nobody typed
            that one, it is what stands on the screen.
        scenarios: where its bundle lies; empty = where the run says, else in the workspace.

    Raises:
        BadInput: it is no session, its bundle is not found, it had ended by that turn, or it is a
            draft that another process types now.
    """
    trajectory = read_episode(path).trajectory
    last = last_turn(trajectory)
    turn = last if turn is None else turn
    if not 0 <= turn <= last:
        raise BadInput(
            f"there is no taking over at turn {turn + 1}: turn {last + 1} ended the session"
            if turn <= len(trajectory.turns)
            else f"there is no turn {turn + 1}",
            where=str(path),
            mend=f"choose a turn from 1 to {last + 1}",
        )
    if path.name.startswith(DRAFT) and typed_elsewhere(trajectory):
        raise BadInput(
            "another process types it now",
            where=str(path),
            mend="leave the take-over there first",
        )
    folder = path.absolute().parent.parent
    recorded = (folder / MANIFEST).is_file() and path.parent.name == "episodes"
    run = read_run(folder) if recorded else None
    about = run.about if run is not None else {}
    places = [scenarios] if scenarios else [str(about.get("scenarios") or "")]
    scenario = find_scenario(trajectory.scenario, places, workspace)
    subject = str(trajectory.meta.get("subject") or "")
    digest = str(trajectory.meta.get("adapter_digest") or "")
    before = trajectory.meta.get("takeover")
    adapter, missing = _find_adapter(subject, digest, workspace)
    return Origin(
        scenario=scenario,
        turns=trajectory.turns,
        turn=turn,
        run=run.id if run is not None else "",
        episode=path.stem,
        subject=subject,
        digest=digest,
        adapter=adapter,
        missing=missing,
        heldout=_is_heldout(scenario, workspace),
        dialect=_dialect(trajectory.meta.get("dialect") or about.get("dialect"), workspace),
        about={**about, **{k: v for k, v in trajectory.meta.items() if k in RECORDED}},
        before=before if isinstance(before, dict) else {},
        draft=str(path.absolute()) if path.name.startswith(DRAFT) else "",
    )


def origin_of_scenario(name: str, workspace: Workspace | None, *, scenarios: str = "") -> Origin:
    """The world of the scenario called ``name``, where nobody has typed anything yet."""
    scenario = find_scenario(name, [scenarios] if scenarios else [], workspace)
    return Origin(
        scenario=scenario,
        heldout=_is_heldout(scenario, workspace),
        dialect=workspace.dialect if workspace is not None else DEFAULT_DIALECT,
    )


#: What an episode itself records of how it was run.
RECORDED = ("world", "userland", "temperature", "seed")


def find_scenario(name: str, places: Sequence[str], workspace: Workspace | None) -> Scenario:
    """The bundle called ``name``, in the first of ``places`` or of the workspace that has it.

    Raises:
        BadInput: it is in none of them.
    """
    folders = [Path(place).expanduser() for place in places if place]
    if workspace is not None:
        folders += [workspace.holdout_scenarios, workspace.train_scenarios]
    for folder in folders:
        if folder.exists():
            for scenario in load_scenarios(folder) if _has_any(folder) else ():
                if scenario.id == name:
                    return scenario
    looked = ", ".join(str(folder) for folder in folders) or "nowhere"
    raise BadInput(
        f"its scenario is not there any more (looked in {looked})",
        where=name or "a session without a scenario",
        mend="name the folder of its bundle with --scenarios",
    )


def _has_any(place: Path) -> bool:
    return place.is_file() or any(place.glob("*.json*"))


def _is_heldout(scenario: Scenario, workspace: Workspace | None) -> bool | None:
    if workspace is None:
        return None
    if _has_any(workspace.train_scenarios):
        return all(one.id != scenario.id for one in load_scenarios(workspace.train_scenarios))
    held_out = workspace.holdout_scenarios
    return _has_any(held_out) and any(one.id == scenario.id for one in load_scenarios(held_out))


def _find_adapter(subject: str, digest: str, workspace: Workspace | None) -> tuple[str, str]:
    """The folder of the adapter with this digest, or why there is none."""
    if not digest:
        return "", ""
    if workspace is not None:
        runs = [run for run in list_runs(workspace.runs) if run.adapter]
        runs.sort(key=lambda run: run.id != subject)  # it is mostly the run of that name
        for run in runs:
            try:
                if adapter_digest(Path(run.adapter)) == digest:
                    return run.adapter, ""
            except SekftError:
                continue
    return "", f"the adapter of {subject} ({digest[:12]}) is not in this workspace"


def _dialect(recorded: object, workspace: Workspace | None) -> Dialect:
    if isinstance(recorded, dict):
        return Dialect(**{key: str(recorded[key]) for key in ("name", "prompt") if key in recorded})
    return workspace.dialect if workspace is not None else DEFAULT_DIALECT
