"""Keep a take-over: where it came from, who typed what, its certificate, and one file of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.errors import BadInput, Unavailable
from sekft_engine.evaluate.episode import Finished
from sekft_engine.evaluate.store import episode_path
from sekft_engine.evaluate.takeover_difference import differences
from sekft_engine.evaluate.takeover_origin import DRAFT, RECORDED, Origin
from sekft_engine.evaluate.takeover_typist import TYPIST
from sekft_engine.files import explain_os_error
from sekft_engine.recipe import Recipe
from sekft_engine.render import ChatTokenizer, Dropped, Row, build_row
from sekft_engine.render.load import load_tokenizer
from sekft_engine.sources import write_trajectory
from sekft_engine.trajectory import Trajectory, Turn
from sekft_engine.workspace import Workspace
from sekft_engine.worlds.engine_id import engine_id

#: Who typed a turn, where a person did.
HAND = "hand"
#: The folder of a workspace where sessions of held-out worlds are kept: beside the data, not in it.
TAKEOVERS = "takeovers"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A session on disk. ``passed_over`` says why training will not take it, '' = it will."""

    path: str
    id: str
    tokens: int
    certificate: dict[str, bool | int]
    passed_over: str = ""


class Keeper:
    """Certifies with the tokenizer of ``base``, which is loaded when it is first needed."""

    def __init__(
        self, base: str, workspace: Workspace | None, *, max_length: int = Recipe().max_length
    ) -> None:
        self._base = base
        self._workspace = workspace
        self._max_length = max_length
        self._tokenizer: ChatTokenizer | None = None

    def keep(self, finished: Finished, folder: Path) -> Kept:
        """Certify and write; refused is what training could not take as it stands.

        Raises:
            BadInput: it cannot be certified, and why; or it does not count.
            Unavailable: the folder cannot be made or written to.
        """
        if finished.verdict.invalid:
            raise BadInput(
                f"not kept, for it does not count: {finished.verdict.invalid}",
                mend="undo and go on",
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
        return Kept(
            path=str(path),
            id=path.stem,
            tokens=len(row),
            certificate=certificate,
            passed_over=why_not_trained(finished),
        )

    def _certified(self, trajectory: Trajectory) -> tuple[Row, str]:
        """Its row, and the digest of what made it."""
        if self._tokenizer is None:
            if not self._base:
                raise BadInput("not kept: no base to certify it for", mend="name one with --base")
            self._tokenizer = load_tokenizer(self._base, self._workspace)
        row = build_row(trajectory, self._tokenizer, max_length=self._max_length)
        if isinstance(row, Dropped):
            reason = row.reason.replace("_", " ")
            raise BadInput(
                f"not kept, for it cannot be certified: {reason}: {row.detail}",
                mend="undo to before that turn and go on",
            )
        return row, row.render_digest


def why_not_trained(finished: Finished) -> str:
    """Why a raw folder's reader passes the session over, '' = it does not."""
    verdict = finished.verdict
    reasons = (
        (verdict.clean, "a turn is prose"),
        (verdict.terminates, "it did not end by itself"),
        (
            not verdict.terminates or verdict.outcome == verdict.expected,
            f"it ended by {verdict.outcome}, and {verdict.expected} was right",
        ),
        (verdict.verified, "the checker failed"),
    )
    return ", ".join(reason for ok, reason in reasons if not ok)


def with_provenance(
    finished: Finished, origin: Origin, again: int, models: Mapping[str, Mapping[str, str]]
) -> Finished:
    """``finished`` with where it came from and who typed which turn in its ``meta.takeover``.

    Args:
        again: how many turns were played again.
        models: who typed besides, with the digests of adapter and base.
    """
    turns = finished.trajectory.turns
    by: dict[str, list[int]] = {}
    for number, turn in enumerate(turns):
        who = str(turn.extra.get("by") or "")
        if turn.is_command and (number >= again or who == HAND):
            by.setdefault(who, []).append(number)
    told: dict[str, Any] = {
        "run": origin.run,
        "episode": origin.episode,
        "subject": origin.subject,
        "adapter": origin.digest,
        "turn": again,
        "hand": by.pop(HAND, []),
        "models": [
            {"subject": name, **models.get(name, {}), "turns": typed} for name, typed in by.items()
        ],
        "differences": [one.to_json() for one in differences(origin.turns[:again], turns)],
        "heldout": origin.heldout,
    }
    if origin.before:
        told["before"] = origin.before
    meta = finished.trajectory.meta | {
        "takeover": told,
        "dialect": msgspec.to_builtins(origin.dialect),
    }
    trajectory = msgspec.structs.replace(finished.trajectory, meta=meta)
    return msgspec.structs.replace(finished, trajectory=trajectory)


class Draft:
    """What is typed, on disk until it is kept or thrown away: whoever loses the terminal takes
    over from that file. Its name begins with a dot, so that no reader takes it for data.

    Args:
        path: the file, :func:`draft_path`; None = nowhere.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def write(self, origin: Origin, turns: Sequence[Turn], again: int) -> None:
        """Raises Unavailable where it cannot be written."""
        if self.path is None:
            return
        trajectory = Trajectory(
            id=self.path.stem,
            turns=tuple(turns),
            scenario=origin.scenario.id,
            archetype=origin.scenario.archetype,
            steps=sum(turn.is_command for turn in turns),
            outcome="cap",  # nobody ended it: who takes over goes on after its last turn
            meta={"subject": origin.subject, "adapter_digest": origin.digest}
            | {
                "takeover": {
                    "run": origin.run,
                    "episode": origin.episode,
                    "turn": again,
                    TYPIST: engine_id(),
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


def draft_path(folder: Path, name: str) -> Path:
    return folder / f"{DRAFT}{name}.json"


def drafts(folder: Path | None) -> list[Path]:
    """What was neither kept nor thrown away, newest first; some of it may be under way now."""
    found = folder.glob(f"{DRAFT}*.json") if folder is not None else ()
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def make_folder(folder: Path) -> None:
    """Raises Unavailable, with the way out, where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        known = explain_os_error(error)
        raise known or Unavailable(str(error.strerror), where=str(folder)) from error


def folder_for(origin: Origin, workspace: Workspace | None) -> Path:
    """Where a session is kept unless someone says otherwise: with the data that is trained on,
    or, since training on a held-out world would spoil its evals, apart from it."""
    if workspace is None:
        return Path(TAKEOVERS)
    return workspace.root / TAKEOVERS if origin.heldout else workspace.trajectories


def drafts_folder(workspace: Workspace | None) -> Path | None:
    """Where drafts lie."""
    return workspace.root / TAKEOVERS if workspace is not None else None
