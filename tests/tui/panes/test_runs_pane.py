"""Runs: sorted, filtered, named, compared, deleted and taken back."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.data.workspace import Workspace
from sekft_engine.records.runs import list_runs, survey_runs
from sekft_engine.records.upkeep.run_notes import RunNotes, read_notes, write_notes
from sekft_tui.app import Workbench
from sekft_tui.input.keymap import FILE
from tests.tui.screen import screen_text, until, until_gone, until_shown
from tests.tui.scripted import evaluation, training, watched
from tests.tui.stored import stored_episode, stored_run

Make = Callable[[], Workbench]
SIZES = pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])


def trained(last: float, heldout: float) -> dict[str, object]:
    return {
        "run": "r", "steps": 60, "loss": {"first": 2.5, "last": last, "heldout": heldout},
        "trained_tokens": 5000, "seconds": 90.0,
    }  # fmt: skip


@pytest.fixture
def filled(workspace: Workspace) -> Workspace:
    """Two trainings with other recipes, two evals in the same worlds, a sweep of two points."""
    stored_run(
        workspace, "001-train", training(60), recipe={"rank": 8, "lr": 0.001, "epochs": 3},
        result=trained(0.9, 1.2),
    )  # fmt: skip
    stored_run(
        workspace, "002-train", watched(60), recipe={"rank": 32, "lr": 0.001, "epochs": 3},
        result=trained(0.4, 0.7),
    )  # fmt: skip
    conditions: dict[str, Any] = {
        "userland": "host",
        "dialect": "d",
        "step_cap": 24,
        "temperature": 0,
    }
    for name, subject, ends in (("003-eval", "base", "panic"), ("004-eval", "tuned", "exit")):
        subjects = [
            {"name": subject, "n": 6, "clean_termination": 6 if ends == "exit" else 0,
             "operates": 6, "verified": 3, "terminates": 6}
        ]  # fmt: skip
        run = stored_run(
            workspace, name, evaluation({subject: ["good"] * 6}, 6), kind="eval",
            result={"subjects": subjects}, **conditions,
        )  # fmt: skip
        for number in range(6):
            scenario = f"held-{number:03}"
            meta: dict[str, Any] = {"scenario_digest": scenario, "outcome": ends}
            path = stored_episode(run, subject, scenario, ("ls", "a"), (ends, ""), **meta)
            raw = json.loads(path.read_text()) | {"outcome": ends}
            path.write_text(json.dumps(raw))
    points = [{"run": f"005-sweep-{n:02}", "changes": {"rank": n}} for n in (1, 2)]
    stored_run(workspace, "005-sweep", training(1), kind="sweep", points=points)
    for point in points:
        stored_run(workspace, str(point["run"]), training(20), result=trained(0.8, 1.0))
    return workspace


@SIZES
async def test_runs_are_listed_newest_first_and_those_of_a_sweep_below_it(
    filled: Workspace, make_app: Make, size: tuple[int, int]
) -> None:
    async with make_app().run_test(size=size) as pilot:
        await pilot.press("5")
        shown = await until_shown(pilot, "7 runs", "005-sweep", "└ 01 ")
        places = [
            shown.index(name) for name in ("005-sweep ", "└ 01 ", "└ 02 ", "004-eval", "001-train")
        ]
        assert places == sorted(places)


@SIZES
async def test_runs_are_filtered_searched_and_sorted(
    filled: Workspace, make_app: Make, size: tuple[int, int]
) -> None:
    async with make_app().run_test(size=size) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "7 runs")
        await pilot.press("f", *"kind:eval")
        shown = await until_shown(pilot, "2 of 7 runs", "f: kind:eval")
        assert "001-train" not in shown
        await pilot.press("enter", "escape")
        await until_shown(pilot, "7 runs", "001-train")
        await pilot.press("f", *"loss<0.75", "enter")
        await until_shown(pilot, "1 of 7 runs", "002-train")
        await pilot.press("escape", "f", *"kind:walk")
        await pilot.press("escape")
        await pilot.press("slash", *"001-train", "enter")
        await until_shown(pilot, " 001-train  ")
        await pilot.press(*"SSSS")
        shown = await until_shown(pilot, "by loss")
        lines = [line for line in shown.splitlines() if "✓" in line]
        assert "002-train" in lines[0], "the lowest held-out loss first"


async def test_a_filter_that_is_cancelled_leaves_the_cursor_where_it_was(
    filled: Workspace, make_app: Make
) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "7 runs")
        await pilot.press("slash", *"002-train", "enter")
        await until_shown(pilot, "rank             32")
        await pilot.press("f", *"kind:eval")
        await until_shown(pilot, "2 of 7 runs")
        await until_gone(pilot, "rank             32")
        await pilot.press("escape")
        await until_shown(pilot, "7 runs", "rank             32")


async def test_a_run_is_given_a_title_a_note_and_tags_that_stay_with_it(
    filled: Workspace, make_app: Make
) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "7 runs")
        await pilot.press("slash", *"001-train", "enter")
        await pilot.press("r", *"small rank", "enter")
        await until_shown(pilot, "small rank", "id               001-train")
        await pilot.press("c", *"a first try", "enter")
        await until_shown(pilot, "note             a first try")
        await pilot.press("t", *"baseline, #keep", "enter")
        await until_shown(pilot, "#baseline #keep")
        for written in ("tag:keep", "tag:#keep", "#keep"):
            await pilot.press("f", "ctrl+u", *written)
            await until_shown(pilot, "1 of 7 runs", f"f: {written}")
            await pilot.press("enter")
        await pilot.press("r", *"x" * 90, "enter")
        await until_shown(pilot, "at most 80")
    notes = read_notes(filled.runs / "001-train")
    assert (notes.title, notes.note, notes.tags) == (
        "small rank", "a first try", ("baseline", "keep"),
    )  # fmt: skip
    assert list_runs(filled.runs)[0].id == "001-train", "the manifest is as it was"


@pytest.mark.parametrize("size", [(80, 24), (60, 20)], ids=["80x24", "60x20"])
async def test_in_a_narrow_terminal_a_row_has_whole_facts_and_whole_tags(
    workspace: Workspace, make_app: Make, size: tuple[int, int]
) -> None:
    subjects = [
        {"name": name, "n": 16, "clean_termination": ends, "operates": 16, "verified": 3,
         "terminates": 16}
        for name, ends in (("base", 2), ("tuned", 12))
    ]  # fmt: skip
    stored_run(
        workspace, "001-eval", evaluation({"base": ["good"]}, 1), kind="eval",
        result={"subjects": subjects},
    )  # fmt: skip
    tagged = stored_run(workspace, "002-train", training(60), result=trained(0.4, 0.7))
    write_notes(tagged, RunNotes(tags=("fine", "another", "elsewhere")))
    facts = {"base 2/16", "tuned 12/16", "clean termination", "60 steps", "loss 2.50 → 0.40",
             "held-out 0.70", "#fine", "#another", "#elsewhere"}  # fmt: skip
    async with make_app().run_test(size=size) as pilot:
        await pilot.press("5")
        shown = await until_shown(pilot, "001-eval", "002-train", "60 steps")
        rows = [line for line in shown.splitlines() if re.match(r" ?✓", line)]
        assert len(rows) == 2
        for row in rows:
            result = row.partition("done")[2].replace("…", "").strip()
            assert set(re.split(r"  +| (?=#)", result)) <= facts, "each is whole"


async def test_tags_leave_the_loss_its_room_on_80_columns(
    filled: Workspace, make_app: Make
) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "7 runs")
        await pilot.press("slash", *"001-train", "enter")
        await pilot.press("t", *"baseline, keep, first", "enter")
        await until_shown(pilot, "#baseline")
        rows = screen_text(pilot.app).splitlines()
        (line,) = (row for row in rows if "✓" in row and "001-train" in row)
        assert "60 steps  loss 2.50 → 0.90" in line


async def test_a_deleted_run_is_in_the_trash_and_can_be_taken_back(
    filled: Workspace, make_app: Make
) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "7 runs")
        await pilot.press("slash", *"003-eval", "enter", "d")
        await until_shown(pilot, "6 runs", "trash/003-eval; U takes it back")
        assert (filled.root / "trash" / "003-eval" / "run.json").is_file()
        await pilot.press("U")
        await until_shown(pilot, "7 runs", "003-eval is back")
    assert (filled.runs / "003-eval" / "episodes").is_dir()


async def test_what_was_deleted_before_a_restart_can_be_taken_back_too(
    filled: Workspace, make_app: Make
) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "7 runs")
        for name in ("003-eval", "001-train"):
            await pilot.press("slash", *name, "enter", "d")
            await until_shown(pilot, f"trash/{name}; U takes it back")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "5 runs")
        await pilot.press("U")
        await until_shown(pilot, "6 runs", "001-train is back")
        await pilot.press("U")
        await until_shown(pilot, "7 runs", "003-eval is back")
        await pilot.press("U")
        await until_shown(pilot, "7 runs", "nothing to take back")
    assert (filled.runs / "003-eval" / "episodes").is_dir()


async def test_a_deleted_run_does_not_come_back_over_another_one_of_its_name(
    filled: Workspace, make_app: Make
) -> None:
    async with make_app().run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "7 runs")
        await pilot.press("slash", *"003-eval", "enter", "d")
        await until_shown(pilot, "6 runs")
    stored_run(filled, "003-eval", training(1))
    async with make_app().run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "7 runs")
        await pilot.press("U")
        await until_shown(pilot, "003-eval cannot come back: another run has this name")
    assert (filled.root / "trash" / "003-eval" / "episodes").is_dir()
    assert not (filled.runs / "003-eval" / "episodes").exists()


async def test_the_name_of_a_run_that_comes_back_cannot_act_on_the_terminal(
    filled: Workspace, make_app: Make
) -> None:
    run = stored_run(filled, "009-[b]\x1b[2J\u202enruter", training(1))
    (filled.root / "trash").mkdir()
    run.rename(filled.root / "trash" / run.name)
    (filled.root / "trash" / "010-link").symlink_to(filled.runs / "001-train")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "7 runs")
        await pilot.press("U")
        shown = await until_shown(pilot, "8 runs", "is back")
        assert "009-[b]" in shown
        assert not {"\x1b", "\u202e"} & set(shown)


@SIZES
async def test_two_trainings_side_by_side_show_what_differs(
    filled: Workspace, make_app: Make, size: tuple[int, int]
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "7 runs")
        await pilot.press("slash", *"001-train", "enter", "m")
        await until_shown(pilot, "1 marked: mark another, C compares")
        await pilot.press("slash", *"002-train", "enter", "m", "C")
        shown = await until_shown(pilot, "recipe, where they differ", "held-out loss", "0.7000")
        assert "rank" in shown
        assert "epochs" not in shown, "only what differs"
        assert "▁" in shown
        await pilot.press("enter")
        await until(pilot, lambda: app.pane == "train", "both curves")
        await until_shown(pilot, "from its journal")
        assert set(app.pinned._numbers) == {"001-train", "002-train"}


@SIZES
async def test_a_training_beside_an_eval_says_that_there_is_nothing_to_compare_and_what_each_is(
    filled: Workspace, make_app: Make, size: tuple[int, int]
) -> None:
    async with make_app().run_test(size=size) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "7 runs")
        await pilot.press("slash", *"001-train", "enter", "m")
        await pilot.press("slash", *"003-eval", "enter", "m", "C")
        shown = await until_shown(
            pilot, "runs of different kinds have nothing to compare", "A train: 60 steps",
            "B eval: base 0/6",
        )  # fmt: skip
        assert "recipe, where they differ" not in shown
        assert not re.search(r" -  +│", shown), "no column of dashes"
        await pilot.press("escape", "slash", *"002-train", "enter", "m", "C")
        shown = await until_shown(pilot, "B eval: base 0/6", "rank  ", "held-out loss")
        assert "step cap" not in shown, "an eval's settings are none of a training's"


async def test_the_keys_of_the_comparison_can_be_others(filled: Workspace, make_app: Make) -> None:
    (filled.root / FILE).write_text(
        '"compare.curves" = "b"\n"runs.compare" = "K"\n"motion.choose" = "f7"\n'
    )
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "7 runs")
        await pilot.press("slash", *"001-train", "enter", "m")
        await until_shown(pilot, "1 marked: mark another, K compares")
        await pilot.press("slash", *"002-train", "enter", "m", "K")
        await until_shown(pilot, "runs side by side", "f7 b curves in one chart")
        await pilot.press("K")  # what opened it closes it
        await until_gone(pilot, "runs side by side")
        await pilot.press("K", "c", "enter")
        await until_shown(pilot, "runs side by side")
        await pilot.press("b")
        await until(pilot, lambda: app.pane == "train", "both curves")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
async def test_evals_side_by_side_have_rates_and_paired_tests_of_models_told_apart(
    filled: Workspace, make_app: Make, size: tuple[int, int]
) -> None:
    alike = [f"001-train-of-a-small-rank-with-seed-{seed}" for seed in (1, 2)]
    again = filled.runs / "006-eval"
    shutil.copytree(filled.runs / "004-eval", again)
    manifest = json.loads((again / "run.json").read_text()) | {"id": "006-eval"}
    (counts,) = manifest["result"]["subjects"]
    manifest["result"]["subjects"] = [counts | {"name": name} for name in alike]
    (again / "run.json").write_text(json.dumps(manifest))
    for path in list((again / "episodes").iterdir()):
        raw = json.loads(path.read_text())
        path.unlink()
        for name in alike:
            raw["meta"]["subject"] = name
            path.with_name(path.name.replace("tuned", name)).write_text(json.dumps(raw))
    async with make_app().run_test(size=size) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "8 runs")
        for run in ("003-eval", "004-eval", "006-eval"):
            await pilot.press("slash", *run, "enter", "m")
        await pilot.press("C")
        await until_shown(pilot, "A 003-eval", "B 004-eval", "C 006-eval")
        shown = await until_shown(pilot, "clean termination, paired by world", "ends by itself")
        assert re.search(r" B tuned +6/6 +3/6 +6/6 +6/6 ", shown)
        await pilot.press("G")
        shown = await until_shown(pilot, "more  fewer  worlds  p")
        assert re.search(r" B tuned +A base +6 +0 +6  0\.031", shown)
        table = shown.partition("fewer")[2]
        pairs = re.findall(r"│  (\w \S+) +(\w \S+) +\d+ +\d+ +6  ", table)
        assert len(pairs) == len(set(pairs)) == 5, "of no two lines does one read the same"
        assert {model.partition("seed-")[2] for model, _ in pairs} == {"", "1", "2"}


async def test_folders_that_are_no_runs_are_listed_with_the_reason_and_never_hang(
    filled: Workspace, make_app: Make
) -> None:
    for name, content in (("020-a", b"\xff\xfe"), ("021-b", b'{"run": 5}'), ("022-c", b"x" * 9)):
        (filled.runs / name).mkdir()
        (filled.runs / name / "run.json").write_bytes(content)
    (filled.runs / "023-pipe").mkdir()
    os.mkfifo(filled.runs / "023-pipe" / "run.json")
    (filled.runs / "024-foreign").mkdir()
    (filled.runs / "024-foreign" / "photo.jpg").write_bytes(b"")
    (filled.runs / "025-about-to-begin").mkdir()
    os.mkfifo(filled.runs / "001-train" / "x")
    (filled.runs / "002-train" / "events.jsonl").unlink()
    os.mkfifo(filled.runs / "002-train" / "events.jsonl")
    os.mkfifo(filled.runs / "003-eval" / "episodes" / "pipe.json")
    app = make_app()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("5")
        shown = await until_shown(pilot, "5 folders cannot be read", "023-pipe", "unreadable")
        assert "not a regular file" in shown
        assert "025" not in shown
        await pilot.press("G")
        await until_shown(pilot, "way out")
        await pilot.press("enter")
        await until_shown(pilot, "cannot be read as a run")
        await pilot.press("slash", *"002-train", "enter", "enter")
        await until_shown(pilot, "error", "events.jsonl")
        await pilot.press("4")
        await until_shown(pilot, "12 episodes")
        assert "reading" not in screen_text(app)
    assert len(survey_runs(filled.runs).unreadable) == 5


async def test_a_run_that_runs_cannot_be_deleted(filled: Workspace, make_app: Make) -> None:
    from sekft_engine.records.runs import create_run

    run = create_run(filled.runs, "train", about={})
    try:
        async with make_app().run_test(size=(120, 40), notifications=True) as pilot:
            await pilot.press("5")
            await until_shown(pilot, "8 runs", "running")
            await pilot.press("g", "d")
            await until_shown(pilot, "the run is running")
            await pilot.press("escape")
            await until_gone(pilot, "7 runs")
    finally:
        run.close()
    assert Path(run.folder).is_dir()
