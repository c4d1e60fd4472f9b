"""Replay as a person uses it: markers, two subjects in step, and what each left in its world."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

import pytest
from textual.pilot import Pilot

from sekft_engine.data.scenario import Scenario
from sekft_engine.data.workspace import Workspace
from sekft_engine.episodes.command_turn import CommandTurn
from sekft_engine.episodes.episode import Episode
from sekft_engine.episodes.store import write_episode
from sekft_engine.records import events
from sekft_engine.records.runs import create_run
from sekft_engine.sources import load_scenarios
from sekft_engine.worlds import open_world
from sekft_tui.app import Workbench
from sekft_tui.model.recording import Cast, Frame, in_step
from sekft_tui.panes.eval import EvalPane
from sekft_tui.panes.replay import ReplayPane
from sekft_tui.widgets.verdict_grid import GridRow
from tests.tui.screen import screen_text, until, until_gone, until_shown
from tests.tui.scripted import ScriptedEngine, evaluation, verdict

Kind = Literal["environment", "command"]
Make = Callable[[], Workbench]
SIZES = pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])

GOOD = ("ls", "touch done", "exit")
POOR = ("ls", "touch '\x1b[31mdone2'", "nosuch", "exit")


_acted: dict[tuple[str, str], Any] = {}


@pytest.fixture
def episodes(workspace: Workspace) -> Workspace:
    """An eval on disk: base and adapter in the same two real worlds, acted once for all tests."""
    about = {"scenarios": str(workspace.holdout_scenarios)}
    run = create_run(workspace.runs, "eval", about=about)
    run.episodes.mkdir()
    for scenario in load_scenarios(workspace.holdout_scenarios):
        for subject, commands in (("base", POOR), ("tuned", GOOD)):
            key = (scenario.id, subject)
            if key not in _acted:
                _acted[key] = act(scenario, subject, commands)
            write_episode(run.episodes, subject, _acted[key])
    run.write(status="done")
    run.close()
    return workspace


def act(scenario: Scenario, subject: str, commands: Sequence[str]) -> Any:
    episode = Episode(scenario, subject, step_cap=12, open_world=open_world)
    try:
        assert episode.open() is not None
        for text in commands:
            episode.type(CommandTurn(text=text))
        return episode.finish()
    finally:
        episode.close()


def pane_of(app: Workbench) -> ReplayPane:
    return next(iter(app.query(ReplayPane)))


async def opened(pilot: Pilot[int]) -> str:
    await pilot.press("4")
    return await until_shown(pilot, "4 episodes", "held-000", "verdict")


async def test_each_marker_has_a_key_that_jumps_to_it(make_app: Make, episodes: Workspace) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("0")
        shown = await until_shown(pilot, "0 first command", "turn 2/")
        assert "checker" not in shown
        await pilot.press("!")
        await until_shown(pilot, "! first failure (exit 127)")
        await pilot.press("$")
        await until_shown(pilot, "$ ends by itself with exit")
        await pilot.press("v")
        await until_shown(
            pilot, "v verdict", "the checker failed", "output of the checker", "exit 1"
        )
        bar = pane_of(app).view.bar(80)
        assert [text for text, _ in bar if text in "0!$v"] == ["0", "!", "$", "v"]
        await pilot.press("L", "L", "!")
        await until_shown(pilot, "no command failed")


async def test_the_episodes_are_filtered_while_the_filter_is_typed(
    make_app: Make, episodes: Workspace
) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await pilot.press("f", *"model:tuned")
        shown = await until_shown(pilot, "2 of 4 episodes", "f: model:tuned")
        assert not [line for line in shown.splitlines() if " base " in line[:50]]
        await pilot.press("ctrl+u", *"outcome:done")
        await until_shown(pilot, "not 'done'")
        await pilot.press("escape")  # the filter is as it was before
        await until_shown(pilot, " 4 episodes", "tuned", "base")
        await pilot.press("f", *"-verified:yes subject:base", "enter")
        await until_shown(pilot, "2 of 4 episodes", "f: -verified:yes subject:base")
        await pilot.press("f", "ctrl+u", *"nosuchword", "enter")
        await until_shown(pilot, "nothing matches 'nosuchword'", "esc clears the filter")
        await pilot.press("escape")
        await until_shown(pilot, " 4 episodes", "tuned", "base")


@SIZES
async def test_two_models_play_in_step_and_a_key_jumps_to_where_they_part(
    make_app: Make, episodes: Workspace, size: tuple[int, int]
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        await pilot.press("w")
        await until_shown(pilot, "base", "tuned", "part at turn 4")
        await pilot.press("o")
        await until_shown(pilot, "two episodes take the whole width")
        await pilot.press("d")
        shown = await until_shown(pilot, "≠", "d here they part", "turn 4/")
        assert "│ part at turn 4" in shown, "apart from what the letters of the bar mean"
        assert "touch '␛[31mdo" in shown, "it is shown and not obeyed"
        pane = pane_of(app)
        assert pane.view.turn == pane.second_view.turn == 4
        await pilot.press(",")
        assert pane.view.turn == pane.second_view.turn == 3
        assert "≠" not in screen_text(app)
        await pilot.press(".", ".", ".", ".", ".")
        assert pane.second_view.turn == len(
            pane.second_view.cast.frames if pane.second_view.cast else ()
        )
        await pilot.press("home", "space")
        assert pane.view.playing
        await until(pilot, lambda: pane.second_view.turn > 1, "both play")
        assert pane.second_view.position == pane.view.position
        await pilot.press("space", "L")
        await until(pilot, lambda: pane.main is not None and pane.main.scenario == "held-001")
        assert pane.beside is not None
        assert (pane.beside.scenario, pane.beside.subject) == ("held-001", "tuned")
        await pilot.press("w")
        await until_gone(pilot, "part at turn")
        await until_shown(pilot, "4 episodes")


@SIZES
async def test_the_final_world_is_shown_against_the_references(
    make_app: Make, episodes: Workspace, size: tuple[int, int]
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        await pilot.press("i")
        shown = await until_shown(pilot, "+ ~/␛[31mdone2", "- ~/done  not there: a file of 0 bytes")
        assert "\x1b" not in shown
        await pilot.press("w")
        await until_shown(pilot, "✓ as the reference solution leaves it")
        pane = pane_of(app)
        assert "~/done" in pane.plain(), "it is copied too"
        await pilot.press("i")
        await until_gone(pilot, "final world")
        await pilot.press("escape")
        await until_shown(pilot, "4 episodes")


async def test_many_draws_in_one_world_are_told_apart(make_app: Make, episodes: Workspace) -> None:
    folder = episodes.runs / "001-eval" / "episodes"
    raw = json.loads((folder / "base--held-000.json").read_text())
    for draw in (1, 11):
        raw["meta"]["draw"] = draw
        (folder / f"base--held-000@{draw + 1}.json").write_text(json.dumps(raw))
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("4")
        await until_shown(
            pilot, "6 episodes", "held-000@2", "held-000@12", "base  held-000  001-eval"
        )
        await pilot.press("L")
        await until_shown(pilot, "base  held-000@12  001-eval")
        narrow = "".join(text for text, _ in pane_of(app).listing.row(1, 26))
        assert "@12" in narrow, "however little room there is"


async def test_why_a_difference_cannot_be_told_is_said(make_app: Make, episodes: Workspace) -> None:
    for path in (episodes.runs / "001-eval" / "episodes").glob("*.json"):
        raw = json.loads(path.read_text())
        del raw["meta"]["final_state"]
        path.write_text(json.dumps(raw))
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("i")
        await until_shown(pilot, "not known: its final state was not stored with it")


async def test_an_episode_that_ends_while_one_watches_gets_its_checker(
    make_app: Make, engine: ScriptedEngine, episodes: Workspace
) -> None:
    app = make_app()
    path = episodes.runs / "001-eval" / "episodes" / "base--held-000.json"
    turns = json.loads(path.read_text())["turns"]
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("3", "s")
        job = "eval-1"
        engine.say(
            events.JobStarted(job=job, kind="eval", t=1.0),
            events.RunCreated(job=job, run="001-eval", path=str(path.parents[1]), kind="eval"),
            events.EvalStarted(
                job=job, subjects=["base"], scenarios=["held-000"], archetypes=["touch"]
            ),
            events.EpisodeStarted(job=job, subject="base", scenario="held-000", t=2.0),
        )
        said = [
            events.TurnDone(
                job=job, subject="base", scenario="held-000", number=number,
                role=turn["role"], content=turn["content"], at=turn["t"],
            )
            for number, turn in enumerate(turns)
        ]  # fmt: skip
        engine.say(*said[:2])
        await until_shown(pilot, "▸ 2")
        await pilot.press("enter")
        await until_shown(pilot, "live: 001-eval", "Ask warden")
        await pilot.press("enter")
        await until_shown(pilot, "▸ base", "Ask warden")
        await pilot.press("i")
        await until_shown(pilot, "it is still running")
        done = verdict("base", "held-000", "unverified", job=job)
        engine.say(*said[2:], events.EpisodeDone(**{
            name: getattr(done, name) for name in done.__struct_fields__ if name != "path"
        }, path=str(path)))  # fmt: skip
        await until_shown(pilot, "output of the checker")


async def test_thousands_of_cells_fill_and_keys_move_in_them(
    make_app: Make, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3", "s")
        await until(pilot, lambda: bool(engine.jobs))
        hows = ["good"] * 1500
        engine.say(*evaluation({"base": hows, "tuned": hows[:-1]}, 1500))
        await until_shown(pilot, "2999 of 3000")
        pane = next(iter(app.query(EvalPane)))
        drawn: list[int] = []
        put = pane.grid.put

        def counted(y: int, row: GridRow) -> None:
            drawn.append(y)
            put(y, row)

        monkeypatch.setattr(pane.grid, "put", counted)
        monkeypatch.setattr(pane.grid, "fill", lambda *_: pytest.fail("all was drawn again"))
        name = pane.view.scenarios[-1]
        engine.say(verdict("tuned", name, "wrong"))
        await until_shown(pilot, "3000 of 3000", "1499/1500", "tuned against base")
        assert set(drawn) == {1499}, "one verdict draws one row"
        await pilot.press("]")
        await until_shown(pilot, name, "◐ panic")
        assert pane.grid.cursor == 1499, "of all worlds, the models differ in the last one"
        await pilot.press("]")
        await until_shown(pilot, "no further world in which they differ")


def test_turns_stand_on_the_screen_at_the_same_time_whoever_is_slower() -> None:
    def session(*times: float) -> Cast:
        kinds: tuple[Kind, Kind] = ("environment", "command")
        frames = [Frame(at, kinds[n % 2], f"turn {n}") for n, at in enumerate(times)]
        return Cast(frames, verdict("base", "s", "good"))

    fast, slow = in_step(session(0, 0.1, 0.2), session(0, 1.0, 1.1, 3.0))
    assert list(fast.times) == [0, 1.0, 1.1]
    assert list(slow.times) == [0, 1.0, 1.1, 3.0]
    assert fast.length == slow.length
    assert fast.part_at == slow.part_at == 3
    assert fast.moment(1.1).shown == slow.moment(1.1).shown == 3
    assert fast.judged_at is not None
    assert fast.moment(fast.judged_at).judged
    again, _ = in_step(fast, slow)
    assert again.times == fast.times, "a clock of before does not count"
