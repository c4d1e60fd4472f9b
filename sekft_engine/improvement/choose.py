"""Choose which of an adapter's own sessions it is trained on next."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.episodes.episode import FinishedEpisode
from sekft_engine.render import Dropped, Row

#: A shell's exit status for a command that it does not know, or may not run.
_NOT_A_COMMAND = (126, 127)


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What :func:`choose` chose.

    Attributes:
        sessions: to train on, each with its certificate in ``meta``.
        solved: number of episodes that were worth training on.
        worlds, worlds_solved: number of worlds, and of those with such an episode.
        dropped: why such episodes were not taken, and how many.
    """

    sessions: tuple[Trajectory, ...]
    solved: int
    worlds: int
    worlds_solved: int
    dropped: dict[str, int]


def choose(
    episodes: Sequence[FinishedEpisode],
    known: Iterable[Trajectory],
    certify: Callable[[Trajectory], Row | Dropped],
    *,
    per_world: int,
    most: int,
    source: str,
) -> Chosen:
    """The sessions to add: verified, clean, ended rightly, certified, none twice.

    Archetypes get an equal share of ``most`` as far as they have sessions. Of an archetype, worlds
    that were seldom solved come first, and of a world the shortest session.

    Args:
        episodes: what the adapter did; several in each world.
        known: the sessions that are trained on already.
        certify: renders a session.
        per_world: most sessions of one world.
        most: most sessions in all.
        source: the run that the episodes come from, for their provenance.
    """
    counted = [each for each in episodes if not each.verdict.invalid]
    draws = Counter(each.trajectory.scenario for each in counted)
    good = [each for each in counted if each.verdict.keep]
    solved = Counter(each.trajectory.scenario for each in good)
    seen = {_key(each) for each in known}
    dropped: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    candidates: list[Trajectory] = []
    # The shortest first: of two ways to do the same, it is the better one to learn.
    for episode in sorted(good, key=lambda each: (each.trajectory.steps, each.trajectory.id)):
        session = _to_train(episode.trajectory)
        world = session.scenario
        if _key(session) in seen:
            dropped["same commands as another session"] += 1
        elif taken[world] >= per_world:
            dropped["enough of this world"] += 1
        else:
            row = certify(session)
            if isinstance(row, Dropped):
                dropped[row.reason.replace("_", " ")] += 1
                continue
            seen.add(_key(session))
            taken[world] += 1
            candidates.append(_certified(session, row, source, solved[world], draws[world]))
    chosen = _balanced(candidates, lambda each: solved[each.scenario] / draws[each.scenario], most)
    if left := len(candidates) - len(chosen):
        dropped["enough of this kind of work"] += left
    return Chosen(
        sessions=tuple(chosen),
        solved=len(good),
        worlds=len(draws),
        worlds_solved=len(solved),
        dropped=dict(dropped.most_common()),
    )


def _key(trajectory: Trajectory) -> tuple[str, tuple[str, ...]]:
    return trajectory.scenario, tuple(command.strip() for command in trajectory.commands)


def _to_train(trajectory: Trajectory) -> Trajectory:
    """The session as data: no times, no sampled ids; what was no use is context only.

    A command that the shell does not know, and one that only repeats what stood there before with
    the same answer, are not trained.
    """
    turns: list[Turn] = []
    said: dict[str, str] = {}
    for number, turn in enumerate(trajectory.turns):
        train = True
        if turn.is_command:
            following = trajectory.turns[number + 1 : number + 2]
            answer = following[0].content if following else ""
            useless = turn.exit_status in _NOT_A_COMMAND or (
                bool(answer) and said.get(turn.content) == answer
            )
            train = not useless or not following
            said[turn.content] = answer
        turns.append(
            Turn(role=turn.role, content=turn.content, exit_status=turn.exit_status, train=train)
        )
    return msgspec.structs.replace(trajectory, turns=tuple(turns))


def _certified(session: Trajectory, row: Row, source: str, solved: int, draws: int) -> Trajectory:
    """The session with its certificate and where it comes from."""
    meta: dict[str, Any] = {
        name: session.meta[name]
        for name in ("clean", "difficulty", "doc_depth", "split", "obstacle")
        if name in session.meta
    }
    meta["terminal"] = session.meta.get("expected", "")
    meta["improvement"] = {
        "run": source,
        "episode": session.id,
        "adapter": session.meta.get("adapter_digest", ""),
        "solved": [solved, draws],
    }
    meta["certificate"] = row.certificate.to_json() | {"render": row.render_digest}
    return msgspec.structs.replace(session, id=f"{source}--{session.id}", meta=meta)


def _balanced(
    sessions: Sequence[Trajectory], ease: Callable[[Trajectory], float], most: int
) -> list[Trajectory]:
    """At most ``most`` sessions, archetypes taking turns, the hardest worlds of each first."""
    groups: dict[str, list[Trajectory]] = {}
    for session in sorted(sessions, key=lambda each: (ease(each), each.steps, each.id)):
        groups.setdefault(session.archetype, []).append(session)
    out: list[Trajectory] = []
    rounds = max(map(len, groups.values()), default=0)
    for number in range(rounds):
        for name in sorted(groups):
            if number < len(groups[name]) and len(out) < most:
                out.append(groups[name][number])
    return out


def most_new(sessions: int, share: float) -> int:
    """How many sessions may join so many."""
    return max(1, math.ceil(sessions * share))


def by_archetype(sessions: Iterable[Trajectory]) -> Mapping[str, int]:
    return dict(sorted(Counter(each.archetype for each in sessions).items()))
