"""Save a take-over: its provenance, its certificate, its file, and the draft until then."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.core.errors import BadInput, SekftError, Unavailable, explain_os_error
from sekft_engine.data.recipe import Recipe
from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.data.workspace import Workspace
from sekft_engine.episodes.episode import FinishedEpisode
from sekft_engine.episodes.store import episode_path
from sekft_engine.render import ChatTokenizer, Dropped, Row, build_row
from sekft_engine.render.template.tokenizer import load_tokenizer
from sekft_engine.sources import write_trajectory
from sekft_engine.takeover.difference import differences
from sekft_engine.takeover.draft_files import TAKEOVERS
from sekft_engine.takeover.origin import RECORDED, RUNNING, TYPIST, Origin
from sekft_engine.worlds.shell.engine_id import engine_id

#: The typist of a turn that a person typed.
HAND = "hand"


class SavedSession(msgspec.Struct, frozen=True, kw_only=True):
    """A saved session.

    Attributes:
        path: its file.
        id: its trajectory's id.
        tokens: number of tokens of its row.
        certificate: see :class:`~sekft_engine.render.Row`.
        passed_over: why training will not use it; empty where it will.
    """

    path: str
    id: str
    tokens: int
    certificate: dict[str, bool | int]
    passed_over: str = ""


class Keeper:
    """Certifies and saves sessions.

    Args:
        base: whose tokenizer certifies; it is loaded when it is first needed.
        workspace: where the base is looked for.
        max_length: most tokens of a session.
    """

    def __init__(
        self, base: str, workspace: Workspace | None, *, max_length: int = Recipe().max_length
    ) -> None:
        self._base = base
        self._workspace = workspace
        self._max_length = max_length
        self._tokenizer: ChatTokenizer | None = None

    def keep(self, finished: FinishedEpisode, folder: Path) -> SavedSession:
        """Certify a session and write it to ``folder``.

        Raises:
            BadInput: the session does not count, or cannot be certified for training.
            Unavailable: the folder cannot be made or written to.
        """
        if finished.verdict.invalid:
            raise BadInput(
                f"not kept, because it does not count: {finished.verdict.invalid}",
                mend="undo and continue",
            )
        row, render = self._certified(finished.trajectory)
        now = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%S")
        trial = f"{finished.trajectory.scenario}-{now}"
        path, number = episode_path(folder, "takeover", trial), 1
        while path.exists():
            number += 1
            path = episode_path(folder, "takeover", f"{trial}-{number}")
        certificate = row.certificate.to_json()
        meta = finished.trajectory.meta | {
            "certificate": certificate | {"base": Path(self._base).name, "render": render}
        }
        make_folder(folder)
        write_trajectory(
            path, msgspec.structs.replace(finished.trajectory, id=path.stem, meta=meta)
        )
        return SavedSession(
            path=str(path),
            id=path.stem,
            tokens=len(row),
            certificate=certificate,
            passed_over=finished.verdict.why_not_kept,
        )

    def examine(self, finished: FinishedEpisode) -> dict[str, Any]:
        """The fields of a view about the certificate that a session would get: ``certificate``, or
        ``uncertified`` with the reason."""
        try:
            if finished.verdict.invalid:
                raise BadInput(f"it does not count: {finished.verdict.invalid}")
            row, _ = self._certified(finished.trajectory)
        except SekftError as error:
            return {"certificate": None, "uncertified": error.what}
        facts: dict[str, bool | int] = row.certificate.to_json()
        return {"certificate": facts | {"tokens": len(row)}, "uncertified": ""}

    def _certified(self, trajectory: Trajectory) -> tuple[Row, str]:
        """The row of a trajectory, and its render digest.

        Raises:
            BadInput: it cannot be certified.
        """
        if self._tokenizer is None:
            if not self._base:
                raise BadInput("not kept: no base to certify it for", mend="name one with --base")
            self._tokenizer = load_tokenizer(self._base, self._workspace)
        row = build_row(trajectory, self._tokenizer, max_length=self._max_length)
        if isinstance(row, Dropped):
            reason = row.reason.replace("_", " ")
            raise BadInput(
                f"not kept, because it cannot be certified: {reason}: {row.detail}",
                mend="undo to before that turn, and continue",
            )
        return row, row.render_digest


def with_provenance(
    finished: FinishedEpisode, origin: Origin, again: int, models: Mapping[str, Mapping[str, str]]
) -> FinishedEpisode:
    """``finished`` with its origin, and the typist of each turn, in its ``meta.takeover``.

    Args:
        finished: the session.
        origin: where it began.
        again: number of turns that were typed again.
        models: the models that typed, by name, with the digests of adapter and base.
    """
    turns = finished.trajectory.turns
    by: dict[str, list[int]] = {}
    for number, turn in enumerate(turns):
        who = str(turn.extra.get("by") or "")
        if turn.is_command and (number >= again or who == HAND):
            by.setdefault(who, []).append(number)
    provenance: dict[str, Any] = {
        "run": origin.run,
        "episode": origin.episode,
        "subject": origin.subject,
        "adapter": origin.digest,
        "turn": again,
        "hand": by.pop(HAND, []),
        "models": [
            {"subject": name, **models.get(name, {}), "turns": typed} for name, typed in by.items()
        ],
        "differences": [each.to_json() for each in differences(origin.turns[:again], turns)],
        "heldout": origin.heldout,
    }
    if origin.before:
        provenance["before"] = origin.before
    meta = finished.trajectory.meta | {
        "takeover": provenance,
        "dialect": msgspec.to_builtins(origin.dialect),
    }
    trajectory = msgspec.structs.replace(finished.trajectory, meta=meta)
    return msgspec.structs.replace(finished, trajectory=trajectory)


class Draft:
    """The session on disk until it is saved or discarded, so that a lost terminal loses nothing.

    The file's name begins with a dot, so that readers of trajectories skip it.

    Args:
        path: the file, see :func:`draft_path`; None = nothing is written.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def write(self, origin: Origin, turns: Sequence[Turn], again: int, running: str = "") -> None:
        """Write the turns so far.

        Args:
            origin: where the session began.
            turns: all of them.
            again: number of turns that were typed again.
            running: the command that is typed now, which has no answer yet.

        Raises:
            Unavailable: the file cannot be written.
        """
        if self.path is None:
            return
        trajectory = Trajectory(
            id=self.path.stem,
            turns=tuple(turns),
            scenario=origin.scenario.id,
            archetype=origin.scenario.archetype,
            steps=sum(turn.is_command for turn in turns),
            outcome="cap",  # it did not end: a take-over begins after its last turn
            meta={"subject": origin.subject, "adapter_digest": origin.digest}
            | {
                "takeover": {
                    "run": origin.run,
                    "episode": origin.episode,
                    "turn": again,
                    TYPIST: engine_id(),
                    RUNNING: running,
                }
            }
            | {"dialect": msgspec.to_builtins(origin.dialect)}
            | {name: origin.about[name] for name in RECORDED if name in origin.about},
        )
        make_folder(self.path.parent)
        write_trajectory(self.path, trajectory)

    def remove(self) -> None:
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make ``folder`` and its parents.

    Raises:
        Unavailable: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        known = explain_os_error(error)
        raise known or Unavailable(str(error.strerror), where=str(folder)) from error


def folder_for(origin: Origin, workspace: Workspace | None) -> Path:
    """The default folder for a session: that of training data, or another one for a held-out world,
    since training on that would spoil evals."""
    if workspace is None:
        return Path(TAKEOVERS)
    return workspace.root / TAKEOVERS if origin.heldout else workspace.trajectories
