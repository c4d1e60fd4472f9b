"""Preference pairs: what a verified session typed, against what a failed one typed there.

The format is TRL's: a conversational ``prompt``, ``chosen`` and ``rejected``, one pair a line.
https://huggingface.co/docs/trl/dataset_formats
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.episodes.episode import FinishedEpisode
from sekft_engine.sources.read.write import staged


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A pair at the first command in which two sessions of one world differ.

    Attributes:
        prompt: the turns before, which both sessions share.
        chosen, rejected: the commands of the verified and of the failed session.
        scenario, archetype: of the world.
        sessions: ids of the verified and the failed session.
        why: why the failed one is not worth training on.
    """

    prompt: tuple[Turn, ...]
    chosen: str
    rejected: str
    scenario: str
    archetype: str
    sessions: tuple[str, str]
    why: str

    def to_json(self) -> dict[str, object]:
        """The line of TRL's format; what it does not know stands in columns of its own."""
        return {
            "prompt": [{"role": turn.role, "content": turn.content} for turn in self.prompt],
            "chosen": [{"role": "assistant", "content": self.chosen}],
            "rejected": [{"role": "assistant", "content": self.rejected}],
            "scenario": self.scenario,
            "archetype": self.archetype,
            "sessions": list(self.sessions),
            "why": self.why,
        }


def pairs_of(
    episodes: Iterable[FinishedEpisode], verified: Iterable[Trajectory] = ()
) -> list[Pair]:
    """The pairs of sessions in the same world, each place and pair of commands once.

    Two sessions give a pair where the world answered the same up to a command in which they differ.

    Args:
        episodes: what was done in worlds, several times in each.
        verified: more sessions that are right, such as the recorded ones of these worlds.
    """
    good: dict[str, list[Trajectory]] = {}
    bad: dict[str, list[FinishedEpisode]] = {}
    for each in episodes:
        if each.verdict.invalid:
            continue
        if each.verdict.keep:
            good.setdefault(each.trajectory.scenario, []).append(each.trajectory)
        else:
            bad.setdefault(each.trajectory.scenario, []).append(each)
    for session in verified:
        good.setdefault(session.scenario, []).append(session)
    found: dict[tuple[str, tuple[str, ...], str, str], Pair] = {}
    for scenario in sorted(good.keys() & bad.keys()):
        for right in good[scenario]:
            for wrong in bad[scenario]:
                pair = _pair(right, wrong)
                if pair is not None:
                    place = tuple(turn.content for turn in pair.prompt)
                    key = (scenario, place, pair.chosen, pair.rejected)
                    found.setdefault(key, pair)
    return [*found.values()]


def _pair(right: Trajectory, wrong: FinishedEpisode) -> Pair | None:
    """The pair at the first difference; None where the world differs first, or nothing does."""
    failed = wrong.trajectory
    for number, (a, b) in enumerate(zip(right.turns, failed.turns, strict=False)):
        if a.role != b.role:
            return None
        chosen, rejected = a.content.strip(), b.content.strip()
        if (chosen if a.is_command else a.content) == (rejected if a.is_command else b.content):
            continue
        if not a.is_command or not a.train or not chosen or not rejected:
            return None
        return Pair(
            prompt=right.turns[:number],
            chosen=chosen,
            rejected=rejected,
            scenario=failed.scenario,
            archetype=failed.archetype,
            sessions=(right.id, failed.id),
            why=wrong.verdict.why_not_kept,
        )
    return None


def write_pairs(path: Path, pairs: Sequence[Pair]) -> None:
    """Write the pairs to ``path``, one a line.

    Raises:
        Unavailable: the file cannot be written.
    """
    with staged(path) as file:
        for line in _lines(pairs):
            file.write(line)


def _lines(pairs: Iterable[Pair]) -> Iterator[bytes]:
    for pair in pairs:
        text = json.dumps(pair.to_json(), ensure_ascii=False)
        yield text.encode("utf-8", "replace") + b"\n"


def counts(pairs: Iterable[Pair]) -> Mapping[str, int]:
    """How many pairs there are by archetype."""
    out: dict[str, int] = {}
    for pair in pairs:
        out[pair.archetype] = out.get(pair.archetype, 0) + 1
    return dict(sorted(out.items()))
