"""Which of its own sessions an adapter is trained on next."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from sekft_engine.data.trajectory import Trajectory
from sekft_engine.episodes.episode import FinishedEpisode
from sekft_engine.episodes.store import as_finished, episodes_of
from sekft_engine.improvement.choose import Chosen, choose
from sekft_engine.render import ChatTokenizer, build_row


@pytest.fixture(scope="module")
def tokenizer(smollm2: Path) -> ChatTokenizer:
    return ChatTokenizer.load(smollm2)


@pytest.fixture
def episodes(controls: Path) -> list[FinishedEpisode]:
    found = episodes_of(controls / "episodes")
    return [each for listed in found.values() for each in listed]


def chosen(
    episodes: list[FinishedEpisode],
    tokenizer: ChatTokenizer,
    known: tuple[Trajectory, ...] = (),
    *,
    per_world: int = 2,
    most: int = 99,
) -> Chosen:
    return choose(
        episodes,
        known,
        lambda session: build_row(session, tokenizer),
        per_world=per_world,
        most=most,
        source="run",
    )


def test_only_verified_clean_sessions_that_ended_rightly_are_taken_with_their_certificate(
    episodes: list[FinishedEpisode], tokenizer: ChatTokenizer
) -> None:
    found = chosen(episodes, tokenizer)
    # The reference in all eight worlds, and `panic x` in the two blocked ones.
    assert found.solved == len(found.sessions) == 10
    assert (found.worlds, found.worlds_solved) == (8, 8)
    assert all(session.keep and session.verified for session in found.sessions)
    for session in found.sessions:
        certificate = session.meta["certificate"]
        assert certificate["ok"] is True
        assert certificate["render"] == tokenizer.render_digest
        assert session.meta["improvement"]["run"] == "run"
        assert all(turn.t is None and turn.ids is None for turn in session.turns)
    assert len({session.id for session in found.sessions}) == 10


def test_what_is_known_already_is_not_added_again(
    episodes: list[FinishedEpisode], tokenizer: ChatTokenizer
) -> None:
    first = chosen(episodes, tokenizer)
    again = chosen(episodes, tokenizer, first.sessions)
    assert again.sessions == ()
    assert again.dropped == {"same commands as another session": 10}


def test_of_a_world_only_so_many_are_taken_and_the_shortest_first(
    episodes: list[FinishedEpisode], tokenizer: ChatTokenizer
) -> None:
    found = chosen(episodes, tokenizer, per_world=1)
    blocked = [session for session in found.sessions if session.scenario in ("w6", "w7")]
    assert [session.commands for session in blocked] == [("panic x",)] * 2
    assert found.dropped == {"enough of this world": 2}


def test_kinds_of_work_get_an_equal_share_and_seldom_solved_worlds_come_first(
    episodes: list[FinishedEpisode], tokenizer: ChatTokenizer
) -> None:
    found = chosen(episodes, tokenizer, most=4)
    kinds = [session.archetype for session in found.sessions]
    assert sorted(kinds) == ["copy", "copy", "count", "count"]
    # Doable worlds were solved by one of three operators, blocked ones by two of three.
    assert not {session.scenario for session in found.sessions} & {"w6", "w7"}
    assert found.dropped["enough of this kind of work"] == 6


def test_a_command_that_is_unknown_or_said_again_in_vain_is_context_only(
    episodes: list[FinishedEpisode], tokenizer: ChatTokenizer
) -> None:
    right = next(
        each.trajectory
        for each in episodes
        if each.trajectory.scenario == "w0" and each.verdict.keep
    )
    shown, command, *rest = right.turns
    lost = msgspec.structs.replace(command, content="qiul", exit_status=127)
    error = msgspec.structs.replace(shown, content="sh: qiul: not found\nuser@box:~$")
    twice = (shown, lost, error, command, rest[0], command, *rest)
    detour = msgspec.structs.replace(right, turns=twice)
    (session,) = chosen([as_finished(detour)], tokenizer).sessions
    untrained = [turn.content for turn in session.turns if not turn.train]
    assert untrained == ["qiul", "quil"]
    assert session.meta["certificate"]["untrained_commands"] == 2
