"""What somebody meets who opens the workbench for the first time: nothing misleads or is cut."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.events import Key
from textual.pilot import Pilot

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.remote import NOT_HERE
from sekft_engine.records import events
from sekft_engine.records.events import Queued
from sekft_engine.records.journal import Journal
from sekft_engine.records.runs import create_run
from sekft_tui.app import Workbench
from sekft_tui.model.endings import stopped_text
from sekft_tui.model.reducer import replayed
from sekft_tui.panes.eval import EvalPane
from sekft_tui.panes.trajectories import TrajectoriesPane
from tests.tui.screen import screen_text, until, until_gone, until_shown
from tests.tui.scripted import ScriptedEngine, evaluation, training
from tests.tui.stored import stored_run

Make = Callable[[], Workbench]
NARROW, SMALL, LARGE = (60, 20), (80, 24), (160, 48)


def last_line(pilot: Pilot[int]) -> str:
    return screen_text(pilot.app).split("\n")[-1]


# --- the keys at the bottom -----------------------------------------------------------------------


@pytest.mark.parametrize("size", [NARROW, SMALL, LARGE], ids=["60", "80", "160"])
async def test_help_and_quit_stand_at_the_right_end_in_every_pane(
    make_app: Make, size: tuple[int, int]
) -> None:
    async with make_app().run_test(size=size) as pilot:
        for number in "123456":
            await pilot.press(number)
            assert last_line(pilot).endswith("? help  q quit")
            assert len(last_line(pilot)) <= size[0]


async def test_the_keys_at_the_bottom_follow_what_happens(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("2")
        assert "s start" in last_line(pilot)
        assert "stop" not in last_line(pilot), "there is nothing to stop"
        await pilot.press("s")
        engine.say(*training(steps=60, upto=20))
        await until(pilot, lambda: "x stop  p pause  c save" in last_line(pilot), "it runs")
        await pilot.press("p")
        await until(pilot, lambda: "p resume" in last_line(pilot), "it is asked to pause")
        await pilot.press("o", "j", "j", "j")
        await until(pilot, lambda: "⏎ edit" in last_line(pilot), "the form")
        await pilot.press("enter")
        assert last_line(pilot).strip() == "⏎ accept  esc cancel"
        await pilot.press("escape", "1", "f")
        assert last_line(pilot).strip() == "⏎ accept  esc cancel"
        await pilot.press("escape")
        assert "f filter" in last_line(pilot)


async def test_a_note_has_a_line_of_its_own_and_a_held_job_is_said_until_it_is_gone(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "12 trajectories")
        app.note("this was done")
        shown = await until_shown(pilot, "› this was done", "? help  q quit", "v view")
        assert "› this was done" not in shown.split("\n")[-1]
        held = Queued(id="train-1", kind="train", held=True)
        engine.say(events.QueueChanged(job="", waiting=[held]))
        app.note("")
        await until_shown(pilot, "1 job is held: Q, then p, releases it")
        await pilot.press("Q", "p")
        await until(pilot, lambda: not engine.status().queued[0].held, "it may begin")


async def test_help_is_wrapped_and_wrapped_again_when_there_is_more_room(make_app: Make) -> None:
    async with make_app().run_test(size=NARROW) as pilot:
        await pilot.press("2", "?")
        await until_shown(pilot, "Train a table of recipes, from a")
        shown = screen_text(pilot.app)
        assert "TOML file" in shown
        assert "…" not in "".join(re.findall(r"│(.*)│", shown)).replace("behaviour, …", "")
        await pilot.resize_terminal(120, 40)
        await until_shown(pilot, "Train a table of recipes, from a TOML file")


async def test_ctrl_z_says_why_it_does_not_leave_while_a_job_runs_here(
    make_app: Make, engine: ScriptedEngine
) -> None:
    async with make_app().run_test(size=SMALL) as pilot:
        await until_shown(pilot, "12 trajectories")
        engine.say(events.JobStarted(job="train-1", kind="train"))
        await pilot.press("ctrl+z")
        await until_shown(
            pilot, "training runs in this process and would stop, too; & moves it out"
        )


# --- lists and forms ------------------------------------------------------------------------------


async def test_columns_line_up_with_and_without_a_scroll_bar(make_app: Make) -> None:
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("f", *"arch:tidy", "enter")
        await until_shown(pilot, "4 of 12")
        await pilot.press("escape")
        await until_shown(pilot, "12 trajectories")
        pane = app.query_one(TrajectoriesPane)
        rows = [pane.list.render_line(y).text for y in range(pane.list.size.height)]
        places = {found.end() for row in rows for found in re.finditer(r"(exit|cap|panic) +3", row)}
        assert len(places) == 1


@pytest.mark.parametrize("key", ["g", "home"])
async def test_the_first_line_of_the_set_up_is_one_key_away(make_app: Make, key: str) -> None:
    app = make_app()
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("3")
        await until_shown(pilot, "start the eval")
        form = app.query_one(EvalPane).form
        await pilot.press("G")
        assert form.field is not None
        assert form.field.name == "start"
        await pilot.press(key)
        assert form.field.name == "base"
        await pilot.press("G", *["ctrl+u"] * 9)
        assert form.field.name == "base"


async def test_keys_that_come_as_fast_as_a_paste_neither_freeze_nor_fill_a_prompt(
    make_app: Make,
) -> None:
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("f")
        for _ in range(2_000):
            app.post_message(Key("a", "a"))
        await pilot.press("escape", "3")
        await until_shown(pilot, "Set-up")


async def test_a_number_that_is_none_is_said_while_it_is_typed(make_app: Make) -> None:
    async with make_app().run_test(size=SMALL) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("2", "r", "x", "t")
        await until_shown(pilot, "steps: xt", "enter a whole number of at least 10")


# --- runs -----------------------------------------------------------------------------------------


async def test_a_run_that_died_says_how_far_it_came_and_is_queued_once(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace
) -> None:
    died = stored_run(workspace, "006-train", training(9, upto=5), "running", recipe={"rank": 8})
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "006-train", "died", "step 5 of 9  loss", "u resume")
        spec = {"resume": True, "out": str(died)}
        held = Queued(id="train-1", kind="train", label="/data", held=True, spec=spec, resumes=True)
        engine.say(events.QueueChanged(job="", waiting=[held]))
        await pilot.press("Q")
        await until_shown(pilot, "held", "resumes  006-train")
        await pilot.press("escape", "u")
        await until_shown(pilot, "006-train resumes: it was held in the queue")
        assert [job.held for job in engine.status().queued] == [False]
        await pilot.press("u")
        await until_shown(pilot, "006-train is in the queue already (Q shows it)")
        assert not engine.jobs


async def test_a_run_that_another_process_still_writes_is_not_resumed_and_that_is_said(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace
) -> None:
    folder = stored_run(workspace, "006-train", training(9, upto=5), "running")
    other = Journal(folder / "events.jsonl")
    async with make_app().run_test(size=SMALL) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "006-train", "running")
        await pilot.press("u")
        await until_shown(pilot, "another process is still at 006-train")
        assert not engine.jobs
        other.close()
        await until_shown(pilot, "died")


async def test_a_run_that_died_says_of_which_step_its_adapter_is_where_that_differs(
    make_app: Make, workspace: Workspace
) -> None:
    for name, saved in (("006-train", 4), ("007-train", 6)):
        adapter = stored_run(workspace, name, training(9, upto=6), "running") / "adapter"
        adapter.mkdir()
        (adapter / "adapter_config.json").write_text("{}")
        (adapter / "sekft.json").write_text(f'{{"step": {saved}}}')
    loss = {"first": 2.0, "last": 1.0, "heldout": None}
    stored_run(
        workspace, "008-train", (),
        result={"steps": 12, "adapter_step": 8, "loss": loss, "trained_tokens": 9, "seconds": 1.0},
    )  # fmt: skip
    async with make_app().run_test(size=LARGE) as pilot:
        await pilot.press("5")
        shown = await until_shown(pilot, "006-train", "007-train", "008-train")
        lines = {name: next(line for line in shown.splitlines() if name in line)
                 for name in ("006-train", "007-train", "008-train")}  # fmt: skip
        assert "step 6 of 9" in lines["006-train"]
        assert "adapter of step 4" in lines["006-train"]
        assert "adapter of" not in lines["007-train"]
        assert "adapter of step 8" in lines["008-train"]


async def test_runs_without_a_result_say_so_in_words(make_app: Make, workspace: Workspace) -> None:
    loss = {"first": None, "last": None, "heldout": None}
    nothing = {"run": "001-train", "steps": 0, "loss": loss, "trained_tokens": 0, "seconds": 1.0}
    stored_run(workspace, "001-train", (), "stopped", result=nothing)
    subjects = [{"name": "base", "n": 0, "clean_termination": 0}]
    stored_run(workspace, "002-eval", (), "stopped", kind="eval", result={"subjects": subjects})
    async with make_app().run_test(size=SMALL) as pilot:
        await pilot.press("5")
        shown = await until_shown(pilot, "001-train", "002-eval", "no episode judged")
        assert "0/0" not in shown


def test_figures_of_steps_that_were_thrown_away_are_gone_with_them() -> None:
    script = [event for event in training(8, upto=5) if not isinstance(event, events.HeldoutDone)]
    at = next(n for n, each in enumerate(script) if getattr(each, "step", 0) == 3) + 1
    saved = events.AdapterSaved(job="train-1", name="a", path="/a", digest="0", step=3)
    script.insert(at, saved)
    view = replayed([*script, events.RunResumed(job="train-1", step=3)]).train
    assert view.last is not None
    assert (view.last.step, view.step, view.saved_step) == (3, 3, 3)


@pytest.mark.parametrize(
    ("kind", "detail", "says"),
    [
        ("train", "stopped after step 3; adapter saved in /w/runs/004-train/adapter",
         "training stopped after step 3; saved; u in Runs resumes"),
        ("eval", "eval stopped (run it again with --resume to go on)",
         "eval stopped; u in Runs resumes"),
        ("train", "it had not begun", "training was removed from the queue"),
        ("train", "saved at step 21", "training stopped: saved at step 21; u in Runs resumes"),
        ("find_rate", "", "the learning-rate search stopped"),
        ("eval", NOT_HERE,
         "eval of an earlier process is over; if it had a run, Runs says how it ended"),
    ],
)  # fmt: skip
def test_what_was_stopped_is_said_once_and_with_the_key_that_resumes_it(
    kind: str, detail: str, says: str
) -> None:
    assert stopped_text(events.JobCancelled(job="1", kind=kind, detail=detail)) == says


@pytest.mark.parametrize(
    ("kind", "later", "says"),
    [
        ("train", f"; {events.OFFERED}", "the next engine holds it (Q, then p, releases it)"),
        ("export", "", "start it again"),
    ],
)
def test_a_job_that_waited_when_its_engine_ended_never_began_and_that_is_said(
    kind: str, later: str, says: str
) -> None:
    why = "the engine has ended (it was killed)"
    event = events.JobCancelled(job="1", kind=kind, detail=f"{events.NOT_BEGUN}: {why}{later}")
    assert stopped_text(event).endswith(f" never began: {why}; {says}")


async def test_a_run_without_losses_of_this_trajectory_says_which_key_measures_them(
    make_app: Make, workspace: Workspace
) -> None:
    run = create_run(workspace.runs, "train", about={})
    run.adapter.mkdir()
    (run.adapter / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4}')
    run.write(status="done")
    run.close()
    async with make_app().run_test(size=SMALL) as pilot:
        await until_shown(pilot, "✓ certified")
        await pilot.press("O")
        await until_shown(pilot, "001-train", "nothing measured yet")
        await pilot.press("enter")
        await until_shown(pilot, "not measured for this trajectory: M measures it")


async def test_an_adapter_of_half_a_run_is_not_chosen_unasked(
    make_app: Make, workspace: Workspace
) -> None:
    adapters = []
    for status in ("done", "stopped"):
        run = create_run(workspace.runs, "train", about={})
        run.adapter.mkdir()
        (run.adapter / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4}')
        run.write(status=status)
        run.close()
        adapters.append(str(run.adapter))
    app = make_app()
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("3")
        await until_shown(pilot, "[x] 001-train", "[ ] 002-train")
        assert app.query_one(EvalPane).setup.chosen == {"", adapters[0]}


# --- searching ------------------------------------------------------------------------------------


async def test_runs_log_eval_and_replay_are_searched_by_the_same_keys(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace
) -> None:
    for number in range(1, 4):
        stored_run(workspace, f"{number:03}-train", training(number + 1, run=f"{number:03}-train"))
    app = make_app()
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "003-train", "001-train")
        await pilot.press("/", *"002-TRAIN", "enter")
        await until_shown(pilot, "match 1 of 1 for '002-TRAIN'", " 002-train  ")
        engine.say(*evaluation({"base": ["good", "cap", "good"]}, 3))
        await pilot.press("3", "/", *"count", "enter")
        await until_shown(pilot, "match 1 of 1 for 'count'")
        grid = app.query_one(EvalPane).grid
        assert grid.chosen == ("base", "count-001")
        for number in range(30):
            app.log_line("info", f"line {number % 10} of it")
        await pilot.press("6")
        await until_shown(pilot, "line 9 of it")
        await pilot.press("/", *"line 7", "enter")
        await until_shown(pilot, "match 1 of 3 for 'line 7'")
        await pilot.press("n", "n")
        await until_shown(pilot, "match 3 of 3")
        await pilot.press("n")
        await until_shown(pilot, "match 1 of 3")
        await pilot.press("/", *"not there", "enter")
        await until_shown(pilot, "nothing here contains 'not there'")


async def test_the_side_panel_of_every_pane_is_hidden_and_shown_by_one_key(
    make_app: Make, workspace: Workspace
) -> None:
    stored_run(workspace, "001-train", training(3, run="001-train"))
    async with make_app().run_test(size=LARGE) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("o")
        await until_gone(pilot, "12 trajectories")
        await pilot.press("o")
        await until_shown(pilot, "12 trajectories")
        await pilot.press("2", "o")
        await until_gone(pilot, " Recipe")
        await pilot.press("3", "o")
        await until_gone(pilot, " Set-up")
        await pilot.press("5")
        await until_shown(pilot, "001-train", " result ")
        await pilot.press("o")
        await until_gone(pilot, "/runs/001-train")


def test_no_text_of_the_screen_names_a_flag_where_a_key_does_it() -> None:
    folder = Path(__file__).parents[3] / "sekft_tui"
    for path in folder.rglob("*.py"):
        assert "--resume" not in path.read_text(encoding="utf-8"), path
