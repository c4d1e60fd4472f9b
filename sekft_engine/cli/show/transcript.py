"""Print one episode, or two of the same world, as transcripts with verdict and checker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.cli.runs.shared import print_text
from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Turn
from sekft_engine.episodes.divergence import first_divergence
from sekft_engine.episodes.endings import ENDINGS, ending_of
from sekft_engine.episodes.episode import FinishedEpisode, draw_of, trial_name
from sekft_engine.episodes.store import episode_path, read_episode
from sekft_engine.evaluation.report.document import episode_facts
from sekft_engine.records.evals import EvalResult
from sekft_engine.records.runs import RunInfo


def beside(info: RunInfo, first: FinishedEpisode, subject: str) -> FinishedEpisode:
    """The episode of ``subject`` in the same world and draw as ``first``, raising BadInput."""
    trial = trial_name(first.trajectory.scenario, draw_of(first))
    path = episode_path(Path(info.path) / "episodes", subject, trial)
    if not path.is_file():
        subjects = info.result.subjects if isinstance(info.result, EvalResult) else ()
        known = ", ".join(each.name for each in subjects)
        raise BadInput(
            f"{subject} has no episode in {trial}",
            where=info.path,
            mend=f"the eval's models are {known}" if known else "sekft runs show lists them",
        )
    return read_episode(path)


def parting_of(a: FinishedEpisode, b: FinishedEpisode) -> int | None:
    """The first turn in which two episodes differ; None if there is none."""
    first, second = (
        [(turn.is_command, turn.content) for turn in episode.trajectory.turns] for episode in (a, b)
    )
    return first_divergence(first, second)


def facts(finished: FinishedEpisode) -> dict[str, Any]:
    """An episode for ``--json``: as ``sekft eval`` reports it, with its turns and its checker."""
    trajectory = finished.trajectory
    document: dict[str, Any] = msgspec.to_builtins(
        episode_facts(str(trajectory.meta.get("subject", "")), finished)
    )
    turns = [
        {"role": turn.role, "content": turn.content, "t": turn.t, "exit_status": turn.exit_status}
        for turn in trajectory.turns
    ]
    # The document has their number under that name.
    return document | {"turns": turns, "checker": trajectory.meta.get("checker")}


def print_episodes(shown: Sequence[FinishedEpisode], part_at: int | None) -> None:
    """Print one episode, or two: first their common turns, then the rest of each."""
    both = 0
    if len(shown) > 1:
        turns = shown[0].trajectory.turns
        both = len(turns) if part_at is None else part_at
        _title(" and ".join(episode.trajectory.id for episode in shown))
        _print_turns(turns, 0, both)
        same = "they type the same to the end"
        _title(same if part_at is None else f"here they part, at turn {part_at + 1}")
    for episode in shown:
        _title(episode.trajectory.id)
        _print_turns(episode.trajectory.turns, both)
        ending = ending_of(episode)
        print_text(f"── {ending}: {ENDINGS[ending]}")
        checker = episode.trajectory.meta.get("checker")
        if isinstance(checker, dict):
            print_text(f"── the checker ended with {checker.get('status')}")
            output = str(checker.get("output", "")).strip("\n")
            if output:
                print_text(output)


def _title(text: str) -> None:
    print_text(f"── {text} ──")


def _print_turns(turns: Sequence[Turn], first: int, end: int | None = None) -> None:
    """As it stood on the screen: a command behind its prompt, and the number of its turn."""
    shown = turns[:end]
    for number, turn in enumerate(shown[first:], first):
        typed_next = number + 1 < len(shown) and shown[number + 1].is_command
        if not turn.is_command:
            print_text(turn.content, end=" " if typed_next else "\n")
            continue
        status = f", exit {turn.exit_status}" if turn.exit_status else ""
        print_text(f"{turn.content}  [turn {number + 1}{status}]")
