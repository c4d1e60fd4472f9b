"""The panes, by keyboard alone, in a small and in a large terminal."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from textual.events import Key, Paste
from textual.pilot import Pilot

from sekft_engine.records import events, jobs
from sekft_tui.app import Workbench
from sekft_tui.input.clipboard import requests
from sekft_tui.panes.pane import Part
from sekft_tui.panes.replay import ReplayPane
from sekft_tui.panes.train import TrainPane
from sekft_tui.panes.trajectories import TrajectoriesPane
from sekft_tui.screens import quit as quitting
from sekft_tui.screens.help import HelpScreen
from tests.tui.screen import screen_text, until, until_gone, until_shown
from tests.tui.scripted import ScriptedEngine, evaluation, training

SIZES = pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])
Make = Callable[[], Workbench]


def trajectories(pilot: Pilot[int]) -> TrajectoriesPane:
    return next(iter(pilot.app.query(TrajectoriesPane)))


@SIZES
async def test_one_sees_what_is_trained_and_moves_through_it(
    make_app: Make, size: tuple[int, int]
) -> None:
    async with make_app().run_test(size=size) as pilot:
        shown = await until_shown(pilot, "12 trajectories · 11 kept", "certified", "trained ")
        share = re.search(r"trained (\d+) / (\d+) = ", shown)
        assert share is not None
        assert 0 < int(share[1]) < int(share[2])
        assert "▌ warden --help<|im_end|>" in shown
        assert "turn 1/6" in shown
        await pilot.press("l", "l", "l")
        await until_shown(pilot, "turn 4/6")
        await pilot.press("h")
        await until_shown(pilot, "turn 3/6")
        await pilot.press("m")
        shown = await until_shown(pilot, "trained only")
        assert "usage: warden" not in shown
        await pilot.press("m")
        shown = await until_shown(pilot, "masked only")
        assert "▌ warden --help" not in shown
        await pilot.press("m", "v")
        await until_shown(pilot, "token edges 2/6 · all tokens")


async def test_hostile_output_is_shown_and_not_obeyed(make_app: Make) -> None:
    async with make_app().run_test(size=(160, 48)) as pilot:
        shown = await until_shown(pilot, "line of [bold]count[/] ␛[31mred <|im_end|> <202e>x")
        assert "\x1b" not in shown


async def test_boundaries_marks_and_copies(make_app: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    written: list[str] = []
    monkeypatch.setattr(app, "to_terminal", written.append)
    async with app.run_test(size=(160, 48)) as pilot:
        await until_shown(pilot, "certified")
        view = trajectories(pilot).view
        await pilot.press("}")
        assert view.turn == 1
        await pilot.press("}")
        assert view.turn == 3
        await pilot.press("{", "l")
        assert view.turn == 2
        await pilot.press("space", "h", "h", "]")
        assert view.turn == 2
        await pilot.press("]")
        await until_shown(pilot, "no further mark")
        await pilot.press("y")
        await until_shown(pilot, "sent to the terminal's clipboard")
        assert written[0].startswith("\x1b]52;c;") or "tmux" in written[0]


@SIZES
async def test_the_list_is_filtered_and_searched(make_app: Make, size: tuple[int, int]) -> None:
    async with make_app().run_test(size=size) as pilot:
        await until_shown(pilot, "certified")
        await pilot.press("f", *"outcome:panic")
        await until_shown(pilot, "1 of 12 trajectories", "tidy-005", " filter: outcome:panic")
        await pilot.press("enter", "escape")
        await until_shown(pilot, "12 trajectories")
        await pilot.press("f", *"keep:no")
        await until_shown(pilot, "1 of 12", "merge-004")
        await pilot.press("escape")
        await until_shown(pilot, "12 trajectories")
        await pilot.press("slash", *"notes-7", "enter")
        await until(pilot, lambda: trajectories(pilot).current.id == "merge-007", "found")  # type: ignore[union-attr]
        await until_shown(pilot, "▌ cat notes-7")
        await pilot.press("f", *"nothing like it", "enter")
        await until_shown(pilot, "nothing matches", "esc clears the filter")


async def test_keys_in_a_burst_arrive_in_their_order(make_app: Make) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "certified")
        from textual import events as textual_events

        for key in ("2", "j", "j", "enter", "ctrl+u", "6", "enter", "j"):
            letter = key if len(key) == 1 else None
            app.post_message(textual_events.Key(key, letter))
        await until(pilot, lambda: app.recipe.rank == 6, "rank is 6")
        assert app.pane == "train"
        assert app.recipe.alpha == 32


async def test_keys_after_one_that_opens_another_pane_go_to_that_pane(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3", "s")
        engine.say(*evaluation({"base": ["good"]}, 1))
        await until_shown(pilot, "✓ exit")
        from textual import events as textual_events

        for key in ("enter", "f", "x", "y"):  # in Eval, f would show figures
            app.post_message(textual_events.Key(key, key if len(key) == 1 else None))
        await until_shown(pilot, " filter: xy")
        assert app.pane == "replay"


@SIZES
async def test_a_recipe_is_edited_checked_and_run(
    make_app: Make, engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "max steps")
        await pilot.press("j", "j", "enter", "x")
        await until_shown(pilot, "enter a whole number")
        await pilot.press("enter")
        assert app.recipe.rank == 16
        await pilot.press("backspace", "backspace", "8", "enter")
        await until(pilot, lambda: app.recipe.rank == 18, "rank 18")
        await pilot.press("s")
        await until(pilot, lambda: bool(engine.jobs), "a job")
        job = engine.jobs[0]
        assert isinstance(job, jobs.Train)
        assert job.recipe.rank == 18
        assert job.data == str(app.workspace.trajectories)
        engine.say(*training(steps=60, upto=20))
        shown = await until_shown(pilot, "train 20/60", "step 20/60", "0001-train", "running")
        assert "◆" in shown
        assert re.search("[\u2801-\u28ff]{3}", shown), "a curve in Braille"
        await pilot.press("left", "left")
        await until_shown(pilot, "loss at step 1")
        await pilot.press("A")
        await until_shown(pilot, "  log")
        await pilot.press("p")
        assert engine.paused
        await pilot.press("x")
        assert engine.cancelled == [("train-1", True)]
        await until_shown(pilot, "■ stopping")
        engine.say(events.JobCancelled(job="train-1", kind="train", detail="saved at step 21"))
        await until_shown(pilot, "saved at step 21", "idle")


async def test_a_failed_job_is_a_toast_and_a_screen_never_an_exit(
    make_app: Make, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMUX", "/tmp/tmux")
    app, sent = make_app(), list[str]()
    monkeypatch.setattr(app, "to_terminal", sent.append)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("2", "s")
        engine.say(
            events.JobStarted(job="train-1", kind="train"),
            events.JobFailed(
                job="train-1", kind="train", error="no space [left] on disk", trace="Traceback: x"
            ),
        )
        await until_shown(pilot, "no space [left] on disk")
        await pilot.press("e")
        await until_shown(pilot, "Traceback: x")
        await pilot.press("y")
        await until(pilot, lambda: bool(sent), "the error is copied, also from within tmux")
        assert sent == [requests("no space [left] on disk\nTraceback: x")]
        await pilot.press("escape", "6")
        await until_shown(pilot, "train failed: no space [left] on disk")


@SIZES
async def test_verdicts_fill_the_grid_and_open_in_replay(
    make_app: Make, engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await pilot.press("3")
        await until_shown(pilot, "2 held out", "[x] base")
        await pilot.press("s")
        job = engine.jobs[0]
        assert isinstance(job, jobs.Evaluate)
        assert job.with_base
        assert job.n == 2
        hows = ["prose", "cap", "wrong", "invalid", "unverified", "good", "run"]
        engine.say(*evaluation({"base": hows}, 8))
        shown = await until_shown(
            pilot, "✎ prose", "□ cap", "◐ panic", "! invalid", "● exit", "✓ exit", "▸ 8", "6 of 8"
        )
        assert "n=5 +1!" in shown
        assert "2/5" in shown
        await pilot.press("j", "enter")
        await until_shown(pilot, "count-001", "warden --help", "was cut off")
        pane = next(iter(app.query(ReplayPane)))
        assert pane.view.cast is not None
        await pilot.press(",", ",", ",")  # the verdict is a step of its own
        await until_shown(pilot, "turn 6/8")
        await pilot.press("]")
        await pilot.press("]")
        await until_shown(pilot, "no further marker")
        await pilot.press("home")
        assert pane.view.position == 0
        await pilot.press("S", ">", "space")
        await until_shown(pilot, "waits as recorded", "2×")
        assert pane.view.playing
        await pilot.press("end")
        await until(pilot, lambda: not pane.view.playing, "played to its end")


async def test_a_running_episode_is_followed_live(make_app: Make, engine: ScriptedEngine) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3", "s")
        script = list(evaluation({"base": ["good"]}, 1))
        cut = next(n for n, e in enumerate(script) if isinstance(e, events.TurnDone)) + 3
        engine.say(*script[:cut])
        await until_shown(pilot, "▸ 3")
        await pilot.press("enter")
        await until_shown(pilot, "usage: warden", "live: eval-1", "1 running")
        engine.say(*script[cut:])
        await until_shown(pilot, "verified", "0 running")
        await pilot.press("enter")
        await until_shown(pilot, "── verdict", "commands only")


async def test_leaving_while_a_job_runs_is_asked_for(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "s")
        engine.say(*training(upto=2))
        await until_shown(pilot, "train 2/60")
        await pilot.press("q")
        await until_shown(pilot, "training is still running")
        await pilot.press("k")
        await until_gone(pilot, "still running")
        await pilot.press("q")
        await until_shown(pilot, "still running")
        await pilot.press("s")
        assert engine.cancelled == [("train-1", True)]
        await until_shown(pilot, "is finishing its step and saving")
        engine.say(events.JobCancelled(job="train-1", kind="train"))
        await until(pilot, lambda: not app.is_running, "left")


async def test_ctrl_c_asks_what_to_do_and_cancels_the_job(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "s")
        engine.say(*training(upto=2))
        await until_shown(pilot, "train 2/60")
        await pilot.press("ctrl+c")
        await until_shown(pilot, "training is still running", "2 steps are not saved yet")
        assert not engine.cancelled
        await pilot.press("c")
        await until_gone(pilot, "still running")
        assert engine.cancelled == [("train-1", False)]
        assert app.is_running


async def test_ctrl_c_twice_leaves_and_later_ones_do_not(
    make_app: Make, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "s")
        engine.say(*training(upto=2))
        await until_shown(pilot, "train 2/60")
        monkeypatch.setattr(quitting, "TWICE", -1.0)
        await pilot.press("ctrl+c", "ctrl+c", "ctrl+c")
        await until_shown(pilot, "training is still running")
        monkeypatch.setattr(quitting, "TWICE", 60.0)
        await pilot.press("ctrl+c")
        await until(pilot, lambda: not app.is_running, "left")
    assert "step 2 of 60" in app.farewell
    assert "1 unfinished" in app.farewell


async def test_leaving_with_a_loaded_base_is_asked_and_with_nothing_to_lose_is_not(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "certified")
        engine.say(
            events.BaseLoaded(
                job="", base="/bases/tiny", digest="0", parameters=1, dtype="float32",
                device="cpu", seconds=13.0,
            )
        )  # fmt: skip
        await pilot.press("q")
        await until_shown(pilot, "tiny is loaded; loading it took", "engine in the background")
        await pilot.press("k")
        await until_gone(pilot, "tiny is loaded")
        await pilot.press("q", "q")
        await until(pilot, lambda: not app.is_running, "left")
    assert app.farewell == ""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "certified")
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running, "left")


async def test_keys_after_the_one_that_leaves_do_nothing(make_app: Make) -> None:
    """They are on the way when the panes go."""
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await until_shown(pilot, "12 trajectories")
        app.exit()
        for key in ("4", "5", "slash", "x", "ctrl+p"):
            app.post_message(Key(key, key if len(key) == 1 else None))
    assert app.pane == "trajectories"
    await app.on_event(Key("2", "2"))
    await app.on_event(Paste("2"))
    assert app.pane == "trajectories"


async def test_a_tick_after_the_last_screen_is_gone_does_no_harm(make_app: Make) -> None:
    app = make_app()
    async with app.run_test():
        pass
    app.pull()
    app.key_done()


async def test_the_engine_of_this_process_is_described(
    make_app: Make, engine: ScriptedEngine
) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "certified")
        await pilot.press("I")
        await until_shown(pilot, "in this workbench", "none is loaded", "job        none", "GiB")
        await pilot.press("escape", "2", "s")
        engine.say(*training(upto=2))
        await pilot.press("I")
        await until_shown(pilot, "job        ▸ train 2/60")


@SIZES
async def test_help_lists_the_keys_of_the_pane_and_the_palette_runs_them(
    make_app: Make, size: tuple[int, int]
) -> None:
    async with make_app().run_test(size=size) as pilot:
        await until_shown(pilot, "certified")
        await pilot.press("?")
        await until_shown(pilot, "Show all tokens, only trained, only masked")
        help_screen = pilot.app.screen
        assert isinstance(help_screen, HelpScreen)
        assert "▌ trained text" in help_screen.sheet.plain(), "what the colours mean"
        await pilot.press("G")
        await until_shown(pilot, "Leave; asks first if something would be lost")
        await pilot.press("escape")
        await until_gone(pilot, "Leave; asks first")
        await pilot.press("ctrl+p")
        await until(pilot, lambda: len(pilot.app.screen_stack) == 2, "palette")
        await pilot.press(*"only trained")
        await until_shown(pilot, "Show all tokens, only trained")
        await pilot.press("enter")
        await until_shown(pilot, "trained only")
        for short, described in (
            ("queue", "The job queue"),
            ("screenshot", "Save a picture"),
            ("theme", "Choose among all themes"),
        ):
            await pilot.press("ctrl+p", *short)
            await until_shown(pilot, described)
            await pilot.press("escape")
            await until_gone(pilot, described)


async def test_no_colour_still_tells_trained_from_masked(
    make_app: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "certified")
        view = trajectories(pilot).view
        trained, masked = view.style("trained"), view.style("masked")
        assert trained.bold
        assert masked.dim
        assert not masked.bold
        assert "▌ warden --help" in screen_text(app)


async def test_an_empty_workspace_says_what_to_do(
    make_app: Make, workspace: object, engine: ScriptedEngine, tmp_path: object
) -> None:
    from pathlib import Path

    from sekft_engine.data.workspace import Workspace

    app = Workbench(engine, Workspace(Path(str(tmp_path)) / "empty").create())
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "an empty workspace")
        await pilot.press("escape")
        await until_shown(pilot, "no trajectories in", "sekft tui --demo")
        await pilot.press("2", "s")
        await until_shown(pilot, "no base in this workspace")
        assert not engine.jobs
        await pilot.press("4")
        await until_shown(pilot, "no episodes yet")
        await pilot.press("5")
        await until_shown(pilot, "no runs yet")


async def test_the_demo_is_set_up_with_progress_and_then_filled(
    workspace: object, engine: ScriptedEngine, tmp_path: object
) -> None:
    from pathlib import Path

    from sekft_engine.data.workspace import Workspace

    app = Workbench(engine, Workspace(Path(str(tmp_path)) / "demo").create(), demo=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "making the demo workspace")
        assert isinstance(engine.jobs[0], jobs.Setup)
        engine.say(
            events.JobStarted(job="setup-1", kind="setup"),
            events.Progress(job="setup-1", label="convert", done=3, total=10, detail="layers"),
        )
        await until_shown(pilot, "convert", "3/10", "layers")
        await pilot.press("ctrl+c")  # as the box says
        await until_shown(pilot, "leave?", "is still running")
        await pilot.press("k")
        await until_gone(pilot, "leave?")
        engine.say(events.JobDone(job="setup-1", kind="setup", result={}))
        await until_gone(pilot, "making the demo workspace")
        await until_shown(pilot, "set-up done")


async def test_theme_and_pane_are_remembered(make_app: Make) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("T", "2", "q")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: bool(pilot.app.query(TrainPane)), "the Train pane")
        assert app.theme == "sekft-light"
        assert app.pane == "train"


async def test_the_title_of_the_part_that_has_the_focus_stands_out(make_app: Make) -> None:
    async with make_app().run_test(size=(160, 48)) as pilot:
        await until_shown(pilot, "12 trajectories", "certified")
        pane = trajectories(pilot)

        def colours() -> list[str]:
            return [part.query_one(".head").styles.background.hex for part in pane.query(Part)]

        first = colours()
        assert len(set(first)) == 2
        await pilot.press("enter")
        await until(pilot, lambda: colours() == first[::-1], "the other title")
        await pilot.press("escape")
        await until(pilot, lambda: colours() == first, "the first title")
