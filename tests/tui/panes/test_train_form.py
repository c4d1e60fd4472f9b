"""What Train can start besides a plain run: in 4 bits, by a name, with a rate that is found for it,
or a whole table of recipes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events, jobs
from sekft_engine.training.planning.cards import CARDS, GIB
from sekft_engine.training.planning.computed import Computing
from sekft_engine.training.planning.place import Place
from sekft_engine.training.planning.speed import Speed
from sekft_tui.app import Workbench
from sekft_tui.panes import pane
from sekft_tui.panes.eval import EvalPane
from sekft_tui.panes.train import TrainPane
from sekft_tui.panes.train.find_rate import FindRateScreen
from tests.tui.screen import screen_text, until, until_gone, until_shown
from tests.tui.scripted import ScriptedEngine, training
from tests.tui.stored import stored_run

Make = Callable[[], Workbench]


def tried(step: int, share: float) -> events.RateTried:
    rate = 1e-6 * 10 ** (step / 4)
    return events.RateTried(
        job="find_rate-1", step=step, steps=20, lr=rate, share=share, smooth=share
    )


async def test_a_run_is_started_in_4_bits_by_a_name_and_with_worlds_of_ones_own(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("2", "G")
        await until_shown(pilot, "[ ] base in 4 bits", "adapter name   the run's id")
        await pilot.press("G", *"kkkk", "enter", *"tiny-1", "enter")
        await pilot.press("k", "enter", *"nowhere", "enter")
        await until_shown(pilot, "✗ no such folder")
        await pilot.press("ctrl+u", *str(workspace.holdout_scenarios), "enter")
        await pilot.press("k", "enter")
        await until_shown(pilot, "[x] base in 4 bits", "tiny-1")
        await pilot.press("k", "enter", "ctrl+u", *"gpu", "enter")
        await until_shown(pilot, "✗ 'gpu' is no device")
        await pilot.press("ctrl+u", *"cuda:1", "enter", "s")
        job = engine.jobs[0]
        assert isinstance(job, jobs.Train)
        assert (job.name, job.load_4bit, job.device) == ("tiny-1", True, "cuda:1")
        assert job.scenarios == str(workspace.holdout_scenarios)
        await until_shown(pilot, "adapter name   the run's id")  # the next is another adapter
        await pilot.press("tab", "G", *"kkkk", "enter", *"tiny-1", "enter")
        await until_shown(pilot, "✗ a run of this name is in the queue")


async def test_a_name_that_no_adapter_can_have_is_refused_while_it_is_typed(
    make_app: Make, engine: ScriptedEngine
) -> None:
    engine.adapters["cat"] = "0" * 64
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "G", *"kkkk", "enter", *"../../evil name")
        await until_shown(
            pilot, "✗ a name has only letters a-z, digits, '.', '_' and '-', and not '/'"
        )
        await pilot.press("enter", "ctrl+u", *"evil name")
        await until_shown(pilot, "and not a space")
        await pilot.press("ctrl+u", *".hidden")
        await until_shown(pilot, "✗ a name begins with a letter or a digit, and not with '.'")
        await pilot.press("ctrl+u", *"cat")
        await until_shown(pilot, "✗ an adapter of this name is on the base; choose another name")
        await pilot.press("s", "enter")
        await until_shown(pilot, "cats")
        await until_gone(pilot, "✗")


async def test_a_key_pressed_twice_starts_one_run_and_a_second_run_says_what_it_waits_for(
    make_app: Make, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pane, "_TWICE", 600.0)  # however busy this machine is
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "Recipe")
        await pilot.press("s", "s")
        await until_shown(pilot, "just started; press again")
        assert len(engine.jobs) == 1
        monkeypatch.setattr(pane, "_TWICE", 0.0)
        await pilot.press("s")
        await until_shown(pilot, "queued behind train")
        assert len(engine.jobs) == 2


async def test_the_form_says_whether_the_run_fits_while_its_fields_change(
    make_app: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    computing = Computing(device="cpu", width=4)
    place = Place(name="a test", free=GIB // 2, computing=computing, card=CARDS["l4"])
    monkeypatch.setattr("sekft_engine.training.planning.place.place_here", lambda **_: place)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "Recipe", "≤ 0.3 GiB, fits", "tokens/s (estimate)")
        left = app.query_one(TrainPane).left
        before = left.memory.speed
        left.put("max_length", "8192")
        await until_shown(pilot, "GiB, recomputed", "tokens/s (estimate)")
        assert left.memory.speed != before
        left.put("max_length", "65536")
        await until_shown(pilot, "GiB: too much")
        await until_gone(pilot, "tokens/s (estimate)")
        left.put("recompute", "never")
        await until_shown(pilot, "GiB: too much")


async def test_the_form_estimates_the_speed_of_this_machines_processor(make_app: Make) -> None:
    """It is measured first, in the background."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("2")
        left = app.query_one(TrainPane).left
        left.run["device"] = "cpu"
        await until_shown(pilot, "fits", "about ", "tokens/s (estimate)")


async def test_why_an_estimate_is_uncertain_is_said_whole_or_not_at_all(
    make_app: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (99.0, 99.0, 99.0))
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("2")
        app.query_one(TrainPane).left.run["device"] = "cpu"
        text = await until_shown(pilot, "fits", "about ", "tokens/s (estimate)")
        line = next(line for line in text.splitlines() if "(estimate)" in line)
        assert line.partition("(estimate)")[2].split("│")[0].strip() in (
            "",
            ", the machine is busy",
        )


async def test_what_a_run_of_the_same_shapes_measured_is_told_instead_of_an_estimate(
    make_app: Make, workspace: Workspace
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "tokens/s (estimate)")
        recipe = msgspec.to_builtins(app.recipe)
        folder = stored_run(workspace, "001-train", training(8), recipe=recipe | {"lr": 0.5})
        raw = json.loads((folder / "run.json").read_text())
        raw["facts"]["base"]["path"] = str(Path(app.base).absolute())
        (folder / "run.json").write_text(json.dumps(raw))
        await pilot.press("R")
        await until_shown(pilot, "about 410 tokens/s, as 001-train had")
        left = app.query_one(TrainPane).left
        assert left.run_size().lines[1].endswith(", as fast as 001-train")
        left.put("rank", "5")
        await until_shown(pilot, "tokens/s (estimate)")


def test_an_estimate_is_no_range_of_two_equal_numbers() -> None:
    assert Speed(low=0.62, high=1.24, source="").rounded("-") == "0.62-1.2"
    assert Speed(low=36.6, high=37.4, source="").rounded("-") == "37"


async def test_what_is_typed_first_replaces_a_value_and_other_keys_edit_it(make_app: Make) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "max steps")
        await pilot.press("j", "j", "enter", "8", "enter")
        await until(pilot, lambda: app.recipe.rank == 8, "8, not 168")
        await pilot.press("enter", "end", "0", "enter")
        await until(pilot, lambda: app.recipe.rank == 80, "80: a zero is added")
        await pilot.press("enter", "backspace", "enter")
        await until(pilot, lambda: app.recipe.rank == 8, "the zero is taken away")
        await pilot.press("enter", *"016", "enter")
        await until(pilot, lambda: app.recipe.rank == 16, "016 is 16")
        await until_gone(pilot, "016")
        await pilot.press("enter", "3", "escape")
        assert app.recipe.rank == 16, "esc leaves what was there"
        await pilot.press("2", "r", "2", "5")
        await until_shown(pilot, "steps: 25 ")


async def test_a_learning_rate_is_found_seen_and_put_into_the_form(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "r", "ctrl+u", "5", "enter")
        await until_shown(pilot, "a whole number of at least 10")
        await pilot.press("ctrl+u", "2", "0", "enter")
        job = engine.jobs[0]
        assert isinstance(job, jobs.FindRate)
        assert job.recipe.max_steps == 20
        assert job.data == str(app.workspace.trajectories)
        await until_shown(pilot, "waiting for the job before it")
        engine.say(events.JobStarted(job="find_rate-1", kind="find_rate"))
        engine.say(events.Progress(job="find_rate-1", label="rendering", done=3, total=12))
        await until_shown(pilot, "rendering 3/12")
        engine.say(*(tried(step, 1 - step / 20) for step in range(1, 9)))
        await until_shown(pilot, "step 8 of at most 20, rate 1.0e-04", "1e-5", "x stop")
        await pilot.press("escape")
        await until_gone(pilot, "at most 20")
        engine.say(*(tried(step, 1 - step / 20) for step in range(9, 17)), tried(17, 30.0))
        engine.say(events.JobDone(job="find_rate-1", kind="find_rate", result={"suggested": 1e-3}))
        await until_shown(pilot, "a learning rate is found: 0.001; r shows it")
        await pilot.press("r")
        await until_shown(pilot, " 0.001 is suggested", "◆ lowest", "▲ suggested", "⏎ take 0.001")
        await pilot.press("left", "left")  # a person may see it otherwise
        await until_shown(pilot, "at step 16 · 1e-2 rate", "⏎ take 0.01")
        await pilot.press("enter")
        await until_shown(pilot, "lr 0.01 is in the form")
        assert app.recipe.lr == 0.01
        await pilot.press("r")  # what was seen is not shown again: another search
        await until_shown(pilot, "steps: 60")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, FindRateScreen), "the next search")
        engine.say(events.JobStarted(job="find_rate-2", kind="find_rate"))
        await pilot.press("x")
        assert engine.cancelled == [("find_rate-2", False)]
        engine.say(events.JobFailed(job="find_rate-2", kind="find_rate", error="no rate does"))
        await until_shown(pilot, "✗ no rate does")


async def test_a_sweep_is_started_from_its_table_and_a_wrong_line_is_named(
    make_app: Make, engine: ScriptedEngine, tmp_path: Path
) -> None:
    table = tmp_path / "t.toml"
    table.write_text("[recipe]\nepochs = 1\n\n[grid]\nlr = [1e-3, 3e-3]\nrnk = [8]\n")
    app = make_app()
    async with app.run_test(size=(240, 30)) as pilot:
        await pilot.press("2", "t", *str(table), "enter")
        await until_shown(pilot, f"{table}:6: grid.rnk: not known; is rank meant?")
        assert not engine.jobs
        table.write_text(table.read_text().replace("rnk = [8]", "rank = [8, 16]"))
        await pilot.press("enter")
        await until_shown(pilot, "a sweep of 4 runs: lr, rank")
        job = engine.jobs[0]
        assert isinstance(job, jobs.Sweep)
        assert (job.file, job.base) == (str(table), app.base)
        assert job.data == str(app.workspace.trajectories)
        engine.say(events.JobStarted(job="sweep-1", kind="sweep"))
        engine.say(*list(training(10, upto=4, job="sweep-1", run="002-t-01"))[1:])
        await until_shown(pilot, "002-t-01", "step 4/10", "▸ running", "sweep 4/10")
        assert app.focused is app.query_one(TrainPane).chart


async def test_a_question_mark_shows_help_where_only_a_number_can_be_meant(make_app: Make) -> None:
    """Never in place of what was typed so far; where a text is typed, it is a letter."""
    async with make_app().run_test(size=(120, 40)) as pilot:
        await pilot.press("2", "j", "j", "enter", "ctrl+u", "4", "question_mark")
        await until_shown(pilot, "╭─ keys", "Start a run with this recipe")
        await pilot.press("question_mark")
        await until_gone(pilot, "╭─ keys")
        await pilot.press("8", "enter")
        await until_shown(pilot, "rank           48")
        await pilot.press("G", *"kkkk", "enter", *"why", "question_mark")
        await until_shown(pilot, "adapter name   why?")
        await pilot.press("escape", "r")
        await until_shown(pilot, " steps: 60")
        await pilot.press("question_mark")
        await until_shown(pilot, "╭─ keys", "Start a run with this recipe")
        await pilot.press("escape")
        await until_gone(pilot, "╭─ keys")
        await pilot.press("enter")
        await until_shown(pilot, "╭─ find a learning rate")
        await pilot.press("question_mark")
        await until_shown(pilot, "╭─ keys", "Take the rate at the cursor, or the suggested one")
        await pilot.press("question_mark")
        await until_gone(pilot, "╭─ keys")
        await until_shown(pilot, "╭─ find a learning rate")


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_a_line_that_cannot_be_edited_says_why_and_its_help_stands_whole(
    make_app: Make, size: tuple[int, int]
) -> None:
    async with make_app().run_test(size=size) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "base", "plan says more")
        await pilot.press("enter")
        await until_shown(pilot, "sekft tui --base PATH opens the workbench on another base")
        await pilot.press("j")
        await until_shown(pilot, "the sessions that are trained on")
        await pilot.press("enter")
        await until_shown(pilot, "Open data: import sessions")


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_the_help_of_the_number_of_worlds_stands_whole(
    make_app: Make, size: tuple[int, int]
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await pilot.press("3")
        await until_shown(pilot, "held out")
        form = app.query_one(EvalPane).form
        form.move_to(next(y for y, field in enumerate(form.fields) if field.name == "n"))
        whole = next(field.help for field in form.fields if field.name == "n")

        def read() -> str:
            """What stands in the left part of the pane, as one line."""
            left = (line[: 41 if size[0] == 160 else 80] for line in screen_text(app).splitlines())
            return " ".join(" ".join(left).split())

        await until(pilot, lambda: whole in read(), whole)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_why_a_job_failed_is_read_whole_in_its_pane_and_once_in_the_log(
    make_app: Make, engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    why = "/ws/runs/003-eval: this run was another eval: its subjects differ (ask for the same)"
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "12 traj")
        engine.say(
            events.JobStarted(job="eval-1", kind="eval"),
            events.JobFailed(job="eval-1", kind="eval", error=why),
        )
        await pilot.press("3", "o" if size[0] == 80 else "tab")
        room = size[0] - 4 if size[0] == 80 else size[0] - 50
        begins = f"✗ {why}"[: room - 20]
        await until_shown(pilot, begins, "the same)", "shows details")
        with app.bridge.shared() as shared:
            assert [text for _, level, text in shared.log if level == "error"] == [
                f"eval failed: {why}"
            ]


async def test_layers_that_the_base_has_not_are_refused_where_they_are_typed_and_at_the_start(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "targets        all-linear")
        form = app.query_one(TrainPane).form
        while form.field is None or form.field.name != "targets":
            await pilot.press("j")
        await pilot.press("enter", "ctrl+u", *"q_proj,nope", "enter")
        await until_shown(pilot, "this base has no linear layer called nope")
        await pilot.press("escape")
        app.query_one(TrainPane).left.values["targets"] = "nope"  # remembered from another base
        await pilot.press("s")
        await until_shown(pilot, "targets: this base has no linear layer")
        assert not engine.jobs
