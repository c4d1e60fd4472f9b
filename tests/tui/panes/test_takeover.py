"""Taking over by keyboard: real worlds behind the screen, in a small and in a large terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.events import Key
from textual.keys import _character_to_key
from textual.pilot import Pilot

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.records import events, jobs
from sekft_engine.records.results import ShellResult
from sekft_engine.records.runs import create_run, list_runs
from sekft_engine.sources import load_trajectories
from sekft_engine.takeover.draft_files import DRAFT
from sekft_engine.takeover.view import TakeOverView
from sekft_tui.app import Workbench
from sekft_tui.messages import TakeOver
from sekft_tui.screens.takeover import TakeOverScreen
from sekft_tui.screens.takeover.legends import status
from tests.serve.conftest import serving
from tests.tui.screen import screen_text, until, until_gone, until_shown
from tests.tui.scripted import ScriptedEngine

SIZES = pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])
Make = Callable[[], Workbench]


async def typed(pilot: Pilot[int], text: str) -> None:
    """Type a command at the world's prompt, as fast as a terminal passes it on."""
    for letter in text:
        pilot.app.post_message(Key(_character_to_key(letter), letter))
    await pilot.press("enter")


async def begun(pilot: Pilot[int]) -> None:
    """At the prompt of the first world, where nobody has typed yet."""
    await pilot.press("W")
    await until_shown(pilot, "type by hand in which world?", "held-001")
    await pilot.press("enter")
    await until_shown(pilot, "held-000", "Ask warden.", "your turn", "history")


def recorded(workspace: Workspace, *turns: tuple[str, str], outcome: str = "exit") -> Path:
    """An episode of an eval, as it lies on disk: (command, answer) each, after the login."""
    run = create_run(workspace.runs, "eval", about={})
    said: list[dict[str, Any]] = [{"role": "user", "content": "Ask warden.\nuser@box:~$"}]
    for command, answer in turns:
        said.append({"role": "assistant", "content": command})
        said += [{"role": "user", "content": answer}] if answer else []
    raw = {
        "id": "base--held-000", "scenario": "held-000", "turns": said, "outcome": outcome,
        "meta": {"subject": "base", "clean": True, "expected": "exit"},
    }  # fmt: skip
    run.episodes.mkdir()
    path = run.episodes / "base--held-000.json"
    path.write_text(json.dumps(raw))
    run.write(status="done")
    run.close()
    return path


async def test_the_list_of_worlds_has_help(make_app: Make) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("W")
        await until_shown(pilot, "type by hand in which world?", "held-001")
        await pilot.press("question_mark")
        await until_shown(pilot, "╭─ keys", "Let a model log in to this world")
        await pilot.press("question_mark")
        await until_gone(pilot, "╭─ keys")


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])
async def test_what_is_broken_in_the_list_of_worlds_says_why_and_the_rest_works(
    make_app: Make, workspace: Workspace, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle that is no JSON, one of another schema, the second one of an id, and drafts."""
    monkeypatch.chdir(workspace.root)  # paths are short here
    held, train = workspace.holdout_scenarios, workspace.train_scenarios
    (held / "aaa.json").write_text("{\n broken")
    good = json.loads((held / "held-000.json").read_text())
    lines = (good | {"id": "train-000"}, good | {"schema": 9}, good | {"id": "train-000"})
    (train / "some.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    folder = workspace.root / "takeovers"
    folder.mkdir()
    (folder / f"{DRAFT}one.json").write_text("nothing")
    (folder / f"{DRAFT}two.json").symlink_to(folder / "gone")
    async with make_app().run_test(size=size) as pilot:
        await pilot.press("W")
        shown = await until_shown(pilot, "train-000", "held-000", "held-001", "5 of these cannot")
        assert shown.count("train-000  touch") == 1
        await pilot.press("G")
        await until_shown(pilot, "✗ aaa.json", "aaa.json:2: broken JSON")
        await pilot.press("enter")
        shown = await until_shown(pilot, "cannot be used   esc cancel")
        assert "by hand   m" not in shown
        await pilot.press("k")
        await until_shown(pilot, "some.jsonl:3: the id 'train-000'", "one of the two)")
        await pilot.press("k")
        await until_shown(pilot, "some.jsonl:2: unknown schema 9")
        await pilot.press("k")
        await until_shown(pilot, f"{DRAFT}two.json: No such file")
        await pilot.press("k")
        await until_shown(pilot, f"{DRAFT}one.json: broken JSON")
        await pilot.press("g", "j", "enter")
        await until_shown(pilot, "held-000", "Ask warden.", "your turn", "history")


def test_in_a_new_world_nothing_is_said_to_be_typed_again() -> None:
    for retyped, said in ((0, "making a new world"), (2, "and retyping the commands before that")):
        view = TakeOverView(state="opening", retyped=retyped)
        line = "".join(text for text, _ in status(view, False, 0.0, "", "", 100))
        assert said in line
        assert ("retyping" in line) == bool(retyped)


async def test_a_model_is_let_log_in_from_the_list_of_worlds(
    make_app: Make, engine: ScriptedEngine
) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("W")
        await until_shown(pilot, "let a model log in", "held-001")
        await pilot.press("m")
        await until_shown(pilot, "who logs in?", "without an adapter", "a served model")
        await pilot.press("enter")
        await until_shown(pilot, "held-000", "keyboard: base", "Ask warden.")

        def asked() -> list[jobs.HandBack]:
            return [job for job in engine.jobs if isinstance(job, jobs.HandBack)]

        await until(pilot, asked, "the model types")
        assert asked()[0].adapter == ""
        engine.say(events.JobCancelled(job=asked()[0].id, kind="hand_back"))
        await until_shown(pilot, "keyboard: you")


async def test_the_model_of_a_server_is_let_log_in_by_its_address(
    workspace: Workspace, tiny_base: Path
) -> None:
    """By a real server, whose prompts are checked against those of training."""
    engine = Engine(workspace, nice=0)
    with serving(tiny_base) as served:
        async with Workbench(engine, workspace).run_test(size=(80, 24)) as pilot:
            await ask_for_a_served_model(pilot)
            await pilot.press(*"http://127.0.0.1:1", "enter")
            await until_shown(pilot, "held-000", "keyboard: you", "! ", "127.0.0.1:1")
            await pilot.press("escape", "q")
            await until_gone(pilot, "keyboard: you")
            await ask_for_a_served_model(pilot)
            await pilot.press(*served.url, "enter")
            await until_shown(pilot, "held-000", f"keyboard: {tiny_base.name}")
            await until_shown(pilot, "verdict", "keyboard: nobody")
            await pilot.press("q")
            await until_gone(pilot, "keyboard: nobody")
    assert engine.close()
    (info,) = list_runs(workspace.runs)
    assert isinstance(info.result, ShellResult)
    assert (info.kind, info.result.subject, info.result.touched) == ("shell", tiny_base.name, False)


async def ask_for_a_served_model(pilot: Pilot[int]) -> None:
    """From a pane to the prompt for the address."""
    await pilot.press("W")
    await until_shown(pilot, "let a model log in", "held-001")
    await pilot.press("m")
    await until_shown(pilot, "who logs in?", "a served model")
    await pilot.press("G", "enter")
    await until_shown(pilot, "address: ", "of a server")


@SIZES
async def test_one_writes_a_demonstration_by_hand_and_it_can_be_trained_on(
    make_app: Make, workspace: Workspace, size: tuple[int, int]
) -> None:
    async with make_app().run_test(size=size) as pilot:
        await begun(pilot)
        await typed(pilot, "bin/warden")
        shown = await until_shown(pilot, "make the file done, then exit", "1 command so far")
        assert "you" in shown
        await pilot.press("up")
        await until_shown(pilot, "~$ bin/warden ")
        await pilot.press("ctrl+c")
        await typed(pilot, "touch done")
        await until_shown(pilot, "2 commands so far")
        await typed(pilot, "exit")
        await until_shown(pilot, "✓ the checker passed", "worth training on", "keep in")
        await pilot.press("escape")
        await until_shown(pilot, "What was typed here is not kept.")
        await pilot.press("k")
        await until_gone(pilot, "What was typed")
        await pilot.press("c")
        await until_shown(pilot, "kept, certified")
        await pilot.press("c")  # once is enough
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, TakeOverScreen), "left")
    (kept,) = load_trajectories(workspace.root / "takeovers").trajectories  # it was held out
    assert kept.commands == ("bin/warden", "touch done", "exit")
    assert kept.meta["certificate"]["ok"]
    assert kept.meta["takeover"]["hand"] == [1, 3, 5]


@SIZES
async def test_answers_that_differ_are_shown_and_are_not_obeyed(
    make_app: Make, workspace: Workspace, size: tuple[int, int]
) -> None:
    path = recorded(workspace, ("ls", "evil\x1b[2J\u202e\nuser@box:~$"), ("exit", ""))
    app = make_app()
    async with app.run_test(size=size) as pilot:
        app.post_message(TakeOver(path, 3))
        shown = await until_shown(pilot, "not as recorded", "turn 3", "- evil␛[2J<202e>")
        await pilot.press("question_mark")
        await until_shown(pilot, "╭─ keys", "Undo to before it differs")
        await pilot.press("question_mark")
        await until_gone(pilot, "╭─ keys")
        assert "\x1b" not in shown
        await pilot.press("enter")
        shown = await until_shown(
            pilot, "≠ not as recorded", "base, again", "base typed here: exit"
        )
        await pilot.press("up", "enter")  # what stood here is the first of the history
        await until_shown(pilot, "✗ the checker failed", "not worth training on")
        await pilot.press("u")
        await until_shown(pilot, "your turn")
        await typed(pilot, "printf 'x\\033[31m'")
        await until_shown(pilot, "x␛[31m")


async def test_from_a_command_in_replay_one_types_another_instead_of_it(
    make_app: Make, workspace: Workspace
) -> None:
    recorded(workspace, ("touch a", "user@box:~$"), ("nosuch", "user@box:~$"), ("exit", ""))
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("4")
        await until_shown(pilot, "1 episode", "verdict")
        await pilot.press("0", "t")
        await until_shown(pilot, "at turn 2", "0 commands so far", "base typed here: touch a")
        await pilot.press("escape", "q")
        await until_shown(pilot, "turn 2/6")
        await pilot.press(".", ".")
        await until_shown(pilot, "turn 4/6")
        await pilot.press("t")
        await until_shown(pilot, "at turn 4", "1 command so far", "base typed here: nosuch")


async def test_undo_goes_back_before_the_marked_command(make_app: Make) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        for number, command in enumerate(("touch one", "touch two", "ls"), 1):
            await typed(pilot, command)
            await until_shown(pilot, f"{number} command")
        await until_shown(pilot, "one  two")
        await pilot.press("escape", "h", "u")
        await until_shown(pilot, "1 command so far")
        await typed(pilot, "ls")
        await until_shown(pilot, "2 commands so far", "  one")
        assert "two" not in screen_text(pilot.app)
        await pilot.press("escape", "question_mark")
        await until_shown(pilot, "Fork the world again before the marked command")
        await pilot.press("escape", "q")
        await until_shown(pilot, "What was typed here is not kept.")
        await pilot.press("x")
        await until_gone(pilot, "commands so far")


async def test_a_hanging_command_is_interrupted_by_the_usual_key(make_app: Make) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        await typed(pilot, "sleep 9; sleep 9")
        await until_shown(pilot, "^c interrupts")
        await pilot.press("escape", "x")
        await until_shown(pilot, "x ends the session between commands · ^c interrupts this one")
        await pilot.press("ctrl+c")
        await until_shown(pilot, "exit 130", "1 command so far")
        await pilot.press("x")
        await until_shown(pilot, "was ended by hand")


async def test_an_interrupt_also_throws_away_what_was_entered_behind_the_command(
    make_app: Make,
) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        await typed(pilot, "read x")
        await typed(pilot, "hello")
        await typed(pilot, "touch never")
        await pilot.press(*"cat <<X", "ctrl+o", *"text", "ctrl+o", "X", "enter")
        await pilot.press("ctrl+c")
        await until_shown(pilot, "exit 130", "1 command so far")
        await typed(pilot, "ls")
        shown = await until_shown(pilot, "2 commands so far")
        assert "never" not in shown
        assert "hello" not in shown


async def test_tab_in_a_line_that_is_half_typed_does_not_give_the_keyboard_away(
    make_app: Make, engine: ScriptedEngine
) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        await pilot.press(*"touch do", "tab")
        await until_shown(pilot, "no names are completed here", "tab in an empty line")
        await pilot.press(*"ne", "enter")
        await until_shown(pilot, "touch done", "1 command so far")
        assert not [job for job in engine.jobs if isinstance(job, jobs.HandBack)]
        await pilot.press("x", "ctrl+c", "tab")
        await until(
            pilot,
            lambda: [job for job in engine.jobs if isinstance(job, jobs.HandBack)],
            "the model has the keyboard",
        )


async def test_a_loop_begun_on_one_line_says_how_several_lines_are_typed(make_app: Make) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        await typed(pilot, "for i in a b; do")
        await until_shown(pilot, "unfinished, so interrupted", "↑ brings it back, ^o breaks")
        await pilot.press("up", "ctrl+o")
        await typed(pilot, "touch $i; done")
        await until_shown(pilot, "2 commands so far")
        await typed(pilot, "ls")
        await until_shown(pilot, "a  b", "3 commands so far")


async def test_the_model_types_when_it_is_handed_back(workspace: Workspace) -> None:
    path = recorded(
        workspace, ("bin/warden", "make the file done, then exit\nuser@box:~$"), ("exit", "")
    )
    engine = Engine(workspace, nice=0)
    app = Workbench(engine, workspace)
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            app.post_message(TakeOver(path, 3))
            await until_shown(pilot, "your turn", "base, again")
            await pilot.press("tab")
            await until_shown(pilot, "2 commands so far")
            session = next(one for one in app.screen_stack if isinstance(one, TakeOverScreen))
            (mine,) = (turn for turn in session.session.view.turns[3:] if turn.is_command)
            assert mine.extra["by"] == "base"
            assert mine.ids
            await pilot.press("escape", "m")
            await until_shown(pilot, "who types when you hand back", "without an adapter")
            await pilot.press("enter", "b")
            await until(
                pilot,
                lambda: session.session.view.state in ("model", "over", "ready"),
                "the model types",
            )
            await pilot.press("t")
            await until(pilot, lambda: session.session.view.state in ("ready", "over"), "back")
            await pilot.press("escape", "q")
            await until_shown(pilot, "What was typed here is not kept.")
            await pilot.press("x")
            await until(pilot, lambda: not isinstance(app.screen, TakeOverScreen), "left")
            assert session.session.join(60.0)
    finally:
        engine.close()


async def test_what_was_lost_with_the_terminal_is_offered_again(
    make_app: Make, workspace: Workspace
) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        await typed(pilot, "touch done")
        await until_shown(pilot, "1 command so far")
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("6")
        await until_shown(pilot, "before this session: a session in held-000 was left after 1")
        await pilot.press("W")
        await until_shown(pilot, "held-000, unfinished")
        await pilot.press("enter")
        await until_shown(pilot, "your turn", "touch done")
        await typed(pilot, "exit")
        await until_shown(pilot, "✓ the checker passed")
        await pilot.press("escape")
        await until_shown(pilot, "What was typed here is not kept.")
        await pilot.press("s")
        await until(pilot, lambda: not isinstance(pilot.app.screen, TakeOverScreen), "left")
    (kept,) = load_trajectories(workspace.root / "takeovers").trajectories
    assert kept.meta["takeover"]["hand"] == [1, 3]
    assert not [*(workspace.root / "takeovers").glob(".takeover-*")]


async def test_escape_while_a_command_runs_only_changes_what_the_keys_are(make_app: Make) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        await until_shown(pilot, " TYPING ")
        await typed(pilot, "cat")  # it waits for input that nobody gives
        await until_shown(pilot, "^c interrupts")
        await pilot.press("escape")
        await until_shown(pilot, " KEYS ", "i type")
        await pilot.press("escape")  # the second one asks, and a third one stays
        await until_shown(pilot, "What was typed here is not kept.", "Still running: cat")
        await pilot.press("escape", "ctrl+c")
        await until_shown(pilot, "exit 130", "1 command so far", " KEYS ")
        await pilot.press("escape")
        await until_shown(pilot, "What was typed here is not kept.")
        await pilot.press("x")
        await until(pilot, lambda: not isinstance(pilot.app.screen, TakeOverScreen), "left")


async def test_what_is_typed_while_a_command_runs_is_kept_for_the_prompt(make_app: Make) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        await typed(
            pilot, "until [ -e go ]; do sleep 0.1; done & wait $!; cat name 2>&1 | tr a-z A-Z"
        )
        await until_shown(pilot, "^c interrupts")
        await typed(pilot, "panic plum.list is missing")
        await until_shown(pilot, "then panic plum.list is missing", " TYPING ")
        await pilot.press("n", "a", "m", "e")  # m would be a command, were it not typed
        await until_shown(pilot, "then name")
        await pilot.press("escape")
        await until_shown(pilot, " KEYS ", "then name")
        await pilot.press("i")
        await until_shown(pilot, " TYPING ", "then name")
        assert isinstance(pilot.app.screen, TakeOverScreen)
        await pilot.press("ctrl+c")  # as a terminal does, it forgets what was typed ahead, too
        await until_shown(pilot, "exit 130", "your turn · 1 command so far")
        assert "panic" not in screen_text(pilot.app)


async def test_commands_entered_ahead_run_one_after_another(make_app: Make) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        await typed(pilot, "sleep 1; echo one")
        await typed(pilot, "echo two")
        await typed(pilot, "echo three")
        await pilot.press(*"echo")
        shown = await until_shown(pilot, "3 commands so far", "~$ echo ")
        assert shown.index("  one") < shown.index("  two") < shown.index("  three")
