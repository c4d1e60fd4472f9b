"""Episodes told as transcripts, with verdict and checker, one or two of the same world."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sekft_engine.cli.runs_shared import tell
from sekft_engine.errors import BadInput
from sekft_engine.evaluate.endings import ENDINGS, ending_of
from sekft_engine.evaluate.episode import Finished, draw_of, trial_name
from sekft_engine.evaluate.parting import parting
from sekft_engine.evaluate.report import episode_facts
from sekft_engine.evaluate.store import episode_path, read_episode
from sekft_engine.runs import RunInfo
from sekft_engine.trajectory import Turn


def beside(info: RunInfo, first: Finished, subject: str) -> Finished:
    """The episode of ``subject`` in the same world and draw as ``first``, raising BadInput."""
    trial = trial_name(first.trajectory.scenario, draw_of(first))
    path = episode_path(Path(info.path) / "episodes", subject, trial)
    if not path.is_file():
        known = ", ".join(str(one.get("name")) for one in info.result.get("subjects", ()))
        raise BadInput(
            f"{subject} has no episode in {trial}",
            where=info.path,
            mend=f"the eval's subjects are {known}" if known else "sekft runs show tells of them",
        )
    return read_episode(path)


def parting_of(a: Finished, b: Finished) -> int | None:
    """The turn at which two episodes part."""
    first, second = (
        [(turn.is_command, turn.content) for turn in one.trajectory.turns] for one in (a, b)
    )
    return parting(first, second)


def facts(finished: Finished) -> dict[str, Any]:
    """An episode for ``--json``: as ``sekft eval`` tells it, with its turns and its checker."""
    trajectory = finished.trajectory
    told = episode_facts(str(trajectory.meta.get("subject", "")), finished)
    turns = [
        {"role": one.role, "content": one.content, "t": one.t, "exit_status": one.exit_status}
        for one in trajectory.turns
    ]
    # Their number stood under that name.
    return told | {"turns": turns, "checker": trajectory.meta.get("checker")}


def tell_episodes(shown: Sequence[Finished], part_at: int | None) -> None:
    """One episode, or two: first what both did, then how each went on."""
    both = 0
    if len(shown) > 1:
        turns = shown[0].trajectory.turns
        both = len(turns) if part_at is None else part_at
        _title(" and ".join(one.trajectory.id for one in shown))
        _tell_turns(turns, 0, both)
        same = "they type the same to the end"
        _title(same if part_at is None else f"here they part, at turn {part_at + 1}")
    for one in shown:
        _title(one.trajectory.id)
        _tell_turns(one.trajectory.turns, both)
        ending = ending_of(one)
        tell(f"── {ending}: {ENDINGS[ending]}")
        checker = one.trajectory.meta.get("checker")
        if isinstance(checker, dict):
            tell(f"── the checker ended with {checker.get('status')}")
            said = str(checker.get("output", "")).strip("\n")
            if said:
                tell(said)


def _title(text: str) -> None:
    tell(f"── {text} ──")


def _tell_turns(turns: Sequence[Turn], first: int, end: int | None = None) -> None:
    """As it stood on the screen: a command behind its prompt, and the number of its turn."""
    shown = turns[:end]
    for number, turn in enumerate(shown[first:], first):
        typed_next = number + 1 < len(shown) and shown[number + 1].is_command
        if not turn.is_command:
            tell(turn.content, end=" " if typed_next else "\n")
            continue
        status = f", exit {turn.exit_status}" if turn.exit_status else ""
        tell(f"{turn.content}  [turn {number + 1}{status}]")
