"""Verdicts come from what happened in a real world, not from what was said."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sekft_engine.core.errors import Interrupted, Unavailable
from sekft_engine.data.scenario import Scenario
from sekft_engine.episodes.command_turn import CommandTurn
from sekft_engine.episodes.episode import Episode, FinishedEpisode
from sekft_engine.operators.runner import run_episodes
from sekft_engine.worlds import CommandResult, World, open_world
from tests.evaluation.conftest import Scripted
from tests.worlds.conftest import started_here

Make = Callable[..., Scenario]


def play(
    scenario: Scenario,
    commands: Sequence[str],
    *,
    step_cap: int = 6,
    world: Callable[[Scenario], World] = open_world,
) -> tuple[FinishedEpisode, Scripted]:
    """One scripted episode in a real world."""
    episode = Episode(scenario, "script", step_cap=step_cap, open_world=world)
    operator = Scripted({episode.key: commands})
    done: list[FinishedEpisode] = []
    run_episodes([episode], operator, rows=4, on_done=lambda _episode, end: done.append(end))
    return done[0], operator


def facts(finished: FinishedEpisode) -> dict[str, Any]:
    names = ("clean", "operates", "terminates", "verified", "clean_termination", "keep")
    return {name: getattr(finished.verdict, name) for name in names}


def all_but(*wrong: str) -> dict[str, Any]:
    names = ("clean", "operates", "terminates", "verified", "clean_termination", "keep")
    return {name: name not in wrong for name in names}


def test_a_session_that_does_the_work_and_exits_is_a_clean_termination(make_scenario: Make) -> None:
    finished, operator = play(make_scenario(), ["quil", "  cp word.txt copy.txt \n", "exit"])
    assert facts(finished) == all_but()
    recorded = finished.trajectory
    assert recorded.commands == ("quil", "cp word.txt copy.txt", "exit")
    assert recorded.outcome == "exit"
    assert recorded.steps == 3
    assert recorded.turns[0].content == "Orders: quil\nuser@box:~$"
    assert "Copy word.txt to copy.txt" in recorded.turns[2].content
    assert operator.shown[recorded.id] == [turn.content for turn in recorded.turns[0::2]]
    assert [turn.exit_status for turn in recorded.turns if turn.is_command][:2] == [0, 0]
    times = [turn.t for turn in recorded.turns if turn.t is not None]
    assert len(times) == len(recorded.turns)
    assert times == sorted(times)
    assert operator.closed == [recorded.id]


def test_panic_is_right_where_the_scenario_asks_for_it(make_scenario: Make) -> None:
    finished, _ = play(make_scenario(terminal="panic"), ["ls", "panic the input file is missing"])
    assert facts(finished) == all_but()
    assert finished.verdict.outcome == "panic"


def test_the_wrong_terminal_is_no_clean_termination(make_scenario: Make) -> None:
    finished, _ = play(make_scenario(), ["cp word.txt copy.txt", "panic I am lost"])
    assert facts(finished) == all_but("clean_termination", "keep")
    finished, _ = play(make_scenario(terminal="panic"), ["exit"])
    assert facts(finished) == all_but("clean_termination", "verified", "keep")


def test_exit_without_the_work_terminates_but_is_not_verified(make_scenario: Make) -> None:
    finished, _ = play(make_scenario(), ["exit"])
    assert facts(finished) == all_but("verified", "keep")


def test_work_without_an_end_runs_into_the_cap(make_scenario: Make) -> None:
    finished, operator = play(make_scenario(), ["cp word.txt copy.txt", "ls", "ls"], step_cap=3)
    assert facts(finished) == all_but("terminates", "clean_termination", "keep")
    assert finished.verdict.outcome == "cap"
    assert finished.trajectory.steps == 3
    assert operator.scripts[finished.trajectory.id] == []


def test_blank_lines_are_turns_but_operate_nothing(make_scenario: Make) -> None:
    finished, _ = play(make_scenario(), ["", "", ""], step_cap=3)
    assert finished.verdict.outcome == "cap"
    assert finished.trajectory.steps == 0
    assert finished.verdict.clean
    assert not finished.verdict.operates


def test_prose_is_typed_at_the_shell_and_makes_the_session_unclean(make_scenario: Make) -> None:
    finished, _ = play(
        make_scenario(), ["I will copy the file now.", "cp word.txt copy.txt", "exit"]
    )
    assert facts(finished) == all_but("clean", "operates", "clean_termination", "keep")
    assert "not found" in finished.trajectory.turns[2].content
    assert finished.trajectory.meta["prose_turns"][0]["turn"] == 1
    assert finished.trajectory.meta["clean"] is False


def test_a_typo_and_a_wrong_guess_leave_the_session_clean(make_scenario: Make) -> None:
    finished, _ = play(
        make_scenario(), ["help me", "gerp word", "cp word.txt copy.txt", "exit"], step_cap=9
    )
    assert facts(finished) == all_but()


def test_nothing_said_for_want_of_room_is_a_cap(make_scenario: Make) -> None:
    episode = Episode(make_scenario(), "script", step_cap=5, open_world=open_world)
    episode.open()
    assert episode.type(CommandTurn(text="", exhausted=True)) is None
    finished = episode.finish()
    assert finished.verdict.outcome == "cap"
    assert finished.verdict.steps == 0
    assert not finished.verdict.operates


def test_a_shell_killed_by_its_operator_is_a_failure_that_counts(make_scenario: Make) -> None:
    finished, _ = play(make_scenario(), ["kill -9 $$"])
    assert finished.verdict.invalid == ""
    assert finished.verdict.outcome == "error"
    assert facts(finished) == all_but("terminates", "verified", "clean_termination", "keep")


def test_a_sandbox_that_dies_makes_the_episode_invalid_and_no_failure(make_scenario: Make) -> None:
    before = started_here()

    class Killer(Scripted):
        def poll(self) -> dict[str, CommandTurn]:
            for process in started_here() - before:
                process.kill()
            return super().poll()

    episode = Episode(make_scenario(), "script", step_cap=6, open_world=open_world)
    operator = Killer({episode.key: ["cp word.txt copy.txt", "exit"]})
    done: list[FinishedEpisode] = []
    run_episodes([episode], operator, rows=4, on_done=lambda _episode, end: done.append(end))
    assert done[0].verdict.invalid
    assert not done[0].verdict.terminates
    assert done[0].trajectory.outcome == "error"
    assert done[0].trajectory.meta["invalid"]


def test_many_episodes_share_few_places_and_all_are_judged(make_scenario: Make) -> None:
    scenarios = [
        make_scenario(f"s{number}", terminal="exit" if number % 3 else "panic")
        for number in range(7)
    ]
    episodes = [Episode(one, "script", step_cap=6, open_world=open_world) for one in scenarios]
    scripts = {
        episode.key: ["ls"] * number
        + (["cp word.txt copy.txt", "exit"] if number % 3 else ["panic no word"])
        for number, episode in enumerate(episodes)
    }
    # The later ones need more steps than the cap allows.
    done: dict[str, FinishedEpisode] = {}
    run_episodes(
        episodes,
        Scripted(scripts),
        rows=3,
        on_done=lambda episode, end: done.__setitem__(episode.scenario.id, end),
    )
    assert {name: end.verdict.outcome for name, end in done.items()} == {
        "s0": "panic",
        "s1": "exit",
        "s2": "exit",
        "s3": "panic",
        "s4": "exit",
        "s5": "cap",
        "s6": "cap",
    }


def test_a_late_world_does_not_hold_the_others_up(make_scenario: Make) -> None:
    others_are_done = threading.Event()
    late: list[bool] = []

    class Late:
        """A real world that answers its first command when all other episodes are over."""

        def __init__(self, world: World) -> None:
            self.world = world

        def run(self, command: str) -> CommandResult:
            late.append(others_are_done.wait(120))
            return self.world.run(command)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.world, name)

    def opened(scenario: Scenario) -> Any:
        world = open_world(scenario)
        return Late(world) if scenario.id == "late" else world

    names = ("late", *(f"s{number}" for number in range(6)))
    episodes = [
        Episode(make_scenario(name), "script", step_cap=6, open_world=opened) for name in names
    ]
    done: list[str] = []

    def ended(episode: Episode, _finished: FinishedEpisode) -> None:
        done.append(episode.scenario.id)
        if len(done) == len(names) - 1:
            others_are_done.set()

    script = ["ls", "cp word.txt copy.txt", "exit"]
    operator = Scripted({episode.key: script for episode in episodes})
    run_episodes(episodes, operator, rows=3, on_done=ended)
    assert done[-1] == "late"
    assert sorted(done) == sorted(names)
    assert all(late)


def test_a_stop_between_steps_leaves_no_world_behind(make_scenario: Make) -> None:
    before = started_here()
    steps = iter(range(100))

    def stop() -> None:
        if next(steps) == 2:
            assert len(started_here() - before) == 3
            raise Interrupted("stopped")

    episodes = [
        Episode(make_scenario(f"s{number}"), "script", step_cap=9, open_world=open_world)
        for number in range(3)
    ]
    operator = Scripted({episode.key: ["ls"] * 9 for episode in episodes})
    with pytest.raises(Interrupted):
        run_episodes(episodes, operator, rows=3, between=stop)
    assert not started_here() - before


def test_a_machine_without_a_sandbox_is_told_and_nothing_runs(make_scenario: Make) -> None:
    def none(scenario: Scenario) -> World:
        raise Unavailable("no sandbox", mend="run sekft doctor")

    with pytest.raises(Unavailable):
        play(make_scenario(), ["exit"], world=none)
