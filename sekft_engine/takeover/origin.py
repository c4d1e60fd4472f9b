"""The origin of a take-over: a recorded session at one of its turns, or an untouched world."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.core.errors import BadInput, SekftError
from sekft_engine.data.dialect import DEFAULT_DIALECT, Dialect
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.data.workspace import Workspace
from sekft_engine.episodes.store import find_scenario, holds_bundles, read_episode
from sekft_engine.operators.subjects import BASE
from sekft_engine.records.adapters import adapter_digest
from sekft_engine.records.runs import MANIFEST, list_runs, read_run
from sekft_engine.sources import survey_scenarios
from sekft_engine.takeover.draft_files import DRAFT
from sekft_engine.worlds.shell.engine_id import engine_id, gone, machine

#: Where a draft's ``meta.takeover`` names the process that types it.
TYPIST = "typist"
#: Where it has the command that runs.
RUNNING = "running"
#: What is said of such a command when the draft is continued.
CUT_OFF = "it may have run in part when it was cut off; in this world it has not"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The recorded turns to type again, and the world to type them in.

    Attributes:
        scenario: the bundle of the world.
        turns: the recorded session; the commands before turn ``turn`` are typed again.
        turn: the first turn that is not typed again, its index in ``turns``.
        run, episode: where they were recorded; empty for an untouched world.
        subject, digest: who typed them, and the digest of its adapter (empty = the bare base).
        adapter: the folder of that adapter here.
        missing: why there is no such folder; empty where there is.
        heldout: the world is none of the workspace's training scenarios; None = no workspace.
        dialect: of the recorded session.
        about: facts of the run.
        before: the session's ``meta.takeover``, where it was taken over before.
        draft: the file of the draft that is continued; empty = none.
        cut_off: the command of the person that ran when the draft was left, because the process
            was killed; empty = none did.
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
    cut_off: str = ""

    @property
    def recorded(self) -> tuple[Turn, ...]:
        """The turns that are typed again, each command with its typist in ``extra["by"]``."""
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
    """The last turn at which a session can be taken over.

    That is its end where a limit ended it, else its last command, which ended it.
    """
    commands = [number for number, turn in enumerate(trajectory.turns) if turn.is_command]
    if trajectory.outcome == "cap" or not commands:
        return len(trajectory.turns)
    return commands[-1]


def upto(turns: Sequence[Turn], turn: int) -> tuple[Turn, ...]:
    """The turns that are on the screen when turn ``turn`` is to be typed.

    They are those before it, and that turn itself where it is no command.
    """
    typed = turn < len(turns) and turns[turn].is_command
    return tuple(turns[: turn if typed else turn + 1])


def typed_elsewhere(draft: Trajectory) -> bool:
    """Whether another living process of this machine types ``draft``: two would overwrite it."""
    provenance = draft.meta.get("takeover")
    typist = str(provenance.get(TYPIST) or "") if isinstance(provenance, dict) else ""
    here = typist.startswith(f"{machine()}-")
    return here and typist != engine_id() and not gone(typist)


def origin_of_session(
    path: Path, turn: int | None, workspace: Workspace | None, *, scenarios: str = ""
) -> Origin:
    """The stored session ``path`` at ``turn``; None = as late as can be.

    Args:
        path: the file of the session.
        turn: the first turn that is not typed again, counted from 0; an environment turn is shown.
        workspace: where scenarios and adapters are looked for.
        scenarios: where its bundle is; empty = where the run took it, else in the workspace.

    Raises:
        BadInput: it is no session, its bundle is not found, it had ended before that turn, or it
            is a draft that another process is typing.
    """
    trajectory = read_episode(path).trajectory
    last = last_turn(trajectory)
    turn = last if turn is None else turn
    if not 0 <= turn <= last:
        raise BadInput(
            f"cannot take over at turn {turn + 1}: turn {last + 1} ended the session"
            if turn <= len(trajectory.turns)
            else f"there is no turn {turn + 1}",
            where=str(path),
            mend=f"choose a turn from 1 to {last + 1}",
        )
    if path.name.startswith(DRAFT) and typed_elsewhere(trajectory):
        raise BadInput(
            "another process is typing it",
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
    before = before if isinstance(before, dict) else {}
    adapter, missing = _find_adapter(subject, digest, workspace)
    is_draft = path.name.startswith(DRAFT)
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
        before=before,
        draft=str(path.absolute()) if is_draft else "",
        cut_off=str(before.get(RUNNING) or "") if is_draft and turn == last else "",
    )


def origin_of_scenario(name: str, workspace: Workspace | None, *, scenarios: str = "") -> Origin:
    """The untouched world of the scenario called ``name``.

    Args:
        name: the scenario's id.
        workspace: where it is looked for.
        scenarios: another file or folder with its bundle.

    Raises:
        BadInput: it is not found.
    """
    scenario = find_scenario(name, [scenarios] if scenarios else [], workspace)
    return Origin(
        scenario=scenario,
        heldout=_is_heldout(scenario, workspace),
        dialect=workspace.dialect if workspace is not None else DEFAULT_DIALECT,
    )


#: Facts of a run that each episode records too.
RECORDED = ("world", "userland", "temperature", "seed")


def _is_heldout(scenario: Scenario, workspace: Workspace | None) -> bool | None:
    if workspace is None:
        return None
    if holds_bundles(workspace.train_scenarios):
        return not _is_in(scenario, workspace.train_scenarios)
    return holds_bundles(workspace.holdout_scenarios) and _is_in(
        scenario, workspace.holdout_scenarios
    )


def _is_in(scenario: Scenario, folder: Path) -> bool:
    return any(each.id == scenario.id for each in survey_scenarios(folder).scenarios)


def _find_adapter(subject: str, digest: str, workspace: Workspace | None) -> tuple[str, str]:
    """The folder of the adapter with this digest, or why there is none."""
    if not digest:
        return "", ""
    if workspace is not None:
        runs = [run for run in list_runs(workspace.runs) if run.adapter]
        runs.sort(key=lambda run: run.id != subject)  # mostly the run of that name has it
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
