"""What goes wrong in one episode costs that episode, by name; never the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.core.errors import BadInput, Interrupted, Unavailable
from sekft_engine.data.scenario import Scenario
from sekft_engine.engine.engine import Engine
from sekft_engine.episodes import episode as episode_module
from sekft_engine.episodes.clean import why_prose
from sekft_engine.episodes.command_turn import KEPT, CommandTurn
from sekft_engine.episodes.episode import Episode, FinishedEpisode
from sekft_engine.episodes.store import read_episode, write_episode
from sekft_engine.evaluation import grid
from sekft_engine.operators.runner import run_episodes
from sekft_engine.records import jobs
from sekft_engine.worlds import World, open_world
from tests.documents import run_document
from tests.evaluation.conftest import Scripted
from tests.worlds.conftest import started_here

Make = Callable[..., Scenario]
SCRIPT = ("cp word.txt copy.txt", "exit")


class Spoilt:
    """A real world of which one method raises."""

    def __init__(self, world: World, method: str, error: BaseException) -> None:
        self.world, self._method, self._error = world, method, error
        self.closed = False

    def __getattr__(self, name: str) -> Any:
        if name == self._method:
            raise self._error
        return getattr(self.world, name)

    def close(self) -> None:
        self.world.close()
        self.closed = True
        if self._method == "close":
            raise self._error


class Failing(Scripted):
    """An operator one method of which raises for the episode ``key``."""

    def __init__(
        self, scripts: Mapping[str, Sequence[str]], method: str, key: str, error: Exception
    ) -> None:
        super().__init__(scripts)
        self._method, self._key, self._error = method, key, error

    def open(self, key: str, seed: int) -> None:
        super().open(key, seed)
        self._fail("open", key)

    def observe(self, shown: Mapping[str, str]) -> None:
        for key in shown:
            self._fail("hear", key)
        super().observe(shown)

    def _fail(self, method: str, key: str) -> None:
        if (method, key) == (self._method, self._key):
            raise self._error


def run_all(
    make: Make,
    world: Callable[[Scenario], Any],
    *,
    operator: Callable[[dict[str, Sequence[str]]], Scripted] = Scripted,
    on_done: Callable[[Episode, FinishedEpisode], None] = lambda _episode, _finished: None,
) -> dict[str, FinishedEpisode]:
    """Three worlds in one place, one after the other."""
    episodes = [
        Episode(make(name), "script", step_cap=6, open_world=world)
        for name in ("first", "second", "third")
    ]
    done: dict[str, FinishedEpisode] = {}

    def keep(episode: Episode, finished: FinishedEpisode) -> None:
        on_done(episode, finished)
        done[episode.scenario.id] = finished

    run_episodes(episodes, operator({one.key: SCRIPT for one in episodes}), rows=1, on_done=keep)
    return done


ERRORS = (
    RecursionError("maximum recursion depth exceeded"),
    MemoryError(),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    OSError(24, "Too many open files"),
    BadInput("a path that no world can hold", where="second"),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "method", ["login", "run", "environment_turn", "check", "listing", "close"]
)
def test_an_error_in_a_world_makes_its_episode_invalid_by_name_and_the_others_go_on(
    method: str, error: Exception, make_scenario: Make
) -> None:
    spoilt: list[Spoilt] = []

    def opened(scenario: Scenario) -> Any:
        world = open_world(scenario)
        if scenario.id != "second":
            return world
        spoilt.append(Spoilt(world, method, error))
        return spoilt[0]

    done = run_all(make_scenario, opened)
    assert [name for name, one in done.items() if one.verdict.keep] == ["first", "third"]
    verdict = done["second"].verdict
    assert (type(error).__name__ in verdict.invalid) or str(error) == verdict.invalid
    assert (verdict.clean, verdict.terminates, verdict.verified) == (False, False, False)
    assert spoilt[0].closed
    told = done["second"].trajectory.meta
    assert told["invalid"] == verdict.invalid
    assert ("Traceback" in told.get("invalid_trace", "")) == (not isinstance(error, BadInput))


def test_a_world_that_cannot_be_opened_costs_its_episode(make_scenario: Make) -> None:
    def opened(scenario: Scenario) -> World:
        if scenario.id == "second":
            raise MemoryError("no room\x1b[2J\n\ud800" + "!" * 10_000)
        return open_world(scenario)

    done = run_all(make_scenario, opened)
    invalid = done["second"].verdict.invalid
    # Bounded, and nothing in it acts on a terminal.
    assert invalid.startswith("MemoryError: no room␛[2J <d800>!!")
    assert len(invalid) < 1000
    assert done["second"].trajectory.turns == ()
    assert done["third"].verdict.keep


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("method", ["open", "hear"])
def test_an_operator_that_fails_for_one_episode_goes_on_with_the_others(
    method: str, error: Exception, make_scenario: Make
) -> None:
    def failing(scripts: dict[str, Sequence[str]]) -> Scripted:
        return Failing(scripts, method, "script--second", error)

    done = run_all(make_scenario, open_world, operator=failing)
    assert done["second"].verdict.invalid
    assert len(done["second"].trajectory.turns) == 1
    assert [name for name, one in done.items() if one.verdict.keep] == ["first", "third"]


def test_a_judge_that_fails_costs_the_episode_and_the_turn_stays_in_its_record(
    make_scenario: Make, monkeypatch: pytest.MonkeyPatch
) -> None:

    def judge(turn: str, **more: Any) -> str:
        if more["known"] and turn == "exit" and not judged:
            judged.append(turn)
            raise RecursionError("maximum recursion depth exceeded")
        return why_prose(turn, **more)

    judged: list[str] = []
    monkeypatch.setattr(episode_module, "why_prose", judge)
    done = run_all(make_scenario, open_world)
    first = done["first"]
    assert first.verdict.invalid == "RecursionError: maximum recursion depth exceeded"
    assert first.trajectory.commands == SCRIPT
    assert [name for name, one in done.items() if one.verdict.keep] == ["second", "third"]


def test_what_every_episode_would_meet_ends_the_run_and_leaves_no_world(
    make_scenario: Make,
) -> None:
    before = started_here()
    opened: list[int] = []

    def counted(scenario: Scenario) -> World:
        world = open_world(scenario)
        opened.append(len(started_here() - before))
        return world

    class Dead(Scripted):
        def poll(self) -> dict[str, CommandTurn]:
            raise RuntimeError("the model is gone")

    with pytest.raises(RuntimeError, match="the model is gone"):
        run_all(make_scenario, counted, operator=Dead)

    def full(_episode: Episode, _finished: FinishedEpisode) -> None:
        raise Unavailable("cannot write: no space left on the disk", where="episodes")

    with pytest.raises(Unavailable, match="no space"):
        run_all(make_scenario, counted, on_done=full)

    def stopping(scripts: dict[str, Sequence[str]]) -> Scripted:
        return Failing(scripts, "hear", "script--second", Interrupted("stopped"))

    with pytest.raises(Interrupted):
        run_all(make_scenario, counted, operator=stopping)
    assert len(opened) == 4
    assert all(opened)
    assert not started_here() - before


def test_one_world_that_cannot_be_closed_keeps_no_other_open(make_scenario: Make) -> None:
    worlds: list[Spoilt] = []

    def opened(scenario: Scenario) -> Any:
        worlds.append(Spoilt(open_world(scenario), "close", OSError("will not close")))
        return worlds[-1]

    class Dead(Scripted):
        def poll(self) -> dict[str, CommandTurn]:
            if len(worlds) < 3:
                return {}
            raise RuntimeError("the model is gone")

    episodes = [
        Episode(make_scenario(f"s{number}"), "script", step_cap=6, open_world=opened)
        for number in range(3)
    ]
    with pytest.raises((RuntimeError, OSError)):
        run_episodes(episodes, Dead({one.key: SCRIPT for one in episodes}), rows=3)
    assert [world.closed for world in worlds] == [True] * 3


def test_an_eval_goes_on_over_a_broken_episode_and_a_resumed_one_runs_it_again(
    tiny_base: Path, tmp_path: Path, make_scenario: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "holdout"
    folder.mkdir()
    for number in range(3):
        scenario = make_scenario(f"s{number}")
        (folder / f"{scenario.id}.json").write_text(json.dumps(scenario.to_json()))
    broken = True

    def opened(scenario: Scenario, **more: Any) -> Any:
        world = open_world(scenario, **more)
        if broken and scenario.id == "s1":
            return Spoilt(world, "run", RecursionError("too deep"))
        return world

    monkeypatch.setattr(grid, "open_world", opened)
    job = jobs.Evaluate(
        base=str(tiny_base), scenarios=str(folder), n=3, step_cap=2, turn_tokens=4,
        out=str(tmp_path / "run"),
    )  # fmt: skip
    engine = Engine().start()
    try:
        report = run_document(job, engine=engine)
        (subject,) = report["subjects"]
        assert (subject["n"], subject["invalid"]) == (2, 1)
        assert {one["scenario"]: one["invalid"] for one in report["episodes"]} == {
            "s0": "", "s1": "RecursionError: too deep", "s2": "",
        }  # fmt: skip
        stored = read_episode(tmp_path / "run/episodes/base--s1.json")
        assert stored.verdict.invalid == "RecursionError: too deep"
        broken = False
        again = run_document(
            jobs.Evaluate(**{name: getattr(job, name) for name in job.__struct_fields__}
                          | {"resume": True}),
            engine=engine,
        )  # fmt: skip
        assert (again["subjects"][0]["n"], again["subjects"][0]["invalid"]) == (3, 0)
    finally:
        engine.close()


# --- too much, and what no file holds -------------------------------------------------------------


def test_the_thousand_here_documents_that_ended_an_eval_are_one_odd_command(
    make_scenario: Make,
) -> None:
    episode = Episode(make_scenario(), "script", step_cap=6, open_world=open_world)
    operator = Scripted({episode.key: ["cat " + "<<A " * 1000, *SCRIPT]})
    done: list[FinishedEpisode] = []
    run_episodes([episode], operator, rows=1, on_done=lambda _episode, end: done.append(end))
    assert done[0].verdict.keep


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("ls " * 20_000_000, "60000000 bytes, at most 65536"),
        ("ls\n" * 2000, "2001 lines, at most 1024"),
    ],
    ids=["bytes", "lines"],
)
def test_a_turn_that_is_too_long_is_not_typed_and_told_so_and_the_session_goes_on(
    said: str, told: str, make_scenario: Make, tmp_path: Path
) -> None:
    episode = Episode(make_scenario(), "script", step_cap=6, open_world=open_world)
    operator = Scripted({episode.key: ["cd /tmp", said, "cd", *SCRIPT]})
    done: list[FinishedEpisode] = []
    run_episodes([episode], operator, rows=1, on_done=lambda _episode, end: done.append(end))
    (finished,) = done
    # It is what the model did: it counts, as no command.
    assert finished.verdict.invalid == ""
    assert finished.verdict.terminates
    assert finished.verdict.verified
    assert not finished.verdict.clean
    assert not finished.trajectory.keep
    assert finished.trajectory.meta["prose_turns"] == [{"turn": 3, "why": "too long"}]
    turn, answer = finished.trajectory.turns[3:5]
    assert turn.extra["too_long"] == told
    assert len(turn.content) < KEPT + 2000
    assert turn.exit_status == 2
    assert answer.content == f"sh: input too long: {told}\nuser@box:/tmp$"
    # Played again from its record it is refused again.
    stored = read_episode(write_episode(tmp_path, "script", finished))
    again = Episode(make_scenario(), "script", step_cap=6, open_world=open_world)
    again.open()
    for turn in stored.trajectory.turns:
        if turn.is_command:
            again.type(CommandTurn.again(turn))
    assert [one.content for one in again.turns] == [one.content for one in stored.trajectory.turns]
    again.finish()


def test_what_no_file_can_hold_is_typed_and_recorded_alike(
    make_scenario: Make, tmp_path: Path
) -> None:
    episode = Episode(make_scenario(), "script", step_cap=6, open_world=open_world)
    said = ["echo \ud800\udc80x > f", "l\x00s f; cat f", "echo '\x1b[2J'", *SCRIPT]
    operator = Scripted({episode.key: said})
    done: list[FinishedEpisode] = []
    run_episodes([episode], operator, rows=1, on_done=lambda _episode, end: done.append(end))
    stored = read_episode(write_episode(tmp_path, "script", done[0]))
    assert stored.trajectory.turns == done[0].trajectory.turns
    assert stored.trajectory.commands[0] == "echo \ufffd\ufffdx > f"
    # What is recorded is what was typed.
    assert stored.trajectory.turns[4].content.startswith("f\n\ufffd\ufffdx\n")
    assert stored.verdict.keep
