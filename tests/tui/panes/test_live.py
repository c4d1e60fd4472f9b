"""Running episodes of an eval are watched token by token, one or several at a time."""

from __future__ import annotations

from collections.abc import Callable

from sekft_engine.records import events
from sekft_engine.work.board import Writing
from sekft_tui.app import Workbench
from sekft_tui.input.keymap import user_file
from sekft_tui.screens.live import LiveScreen, Tile
from tests.tui.screen import until, until_gone, until_shown
from tests.tui.scripted import ScriptedEngine

Make = Callable[..., Workbench]
JOB = "eval-1"


def begun(*subjects: str, worlds: int = 2) -> list[events.Event]:
    """An eval in which every episode has begun, and shows its first prompt."""
    scenarios = [f"copy-{number}" for number in range(worlds)]
    script: list[events.Event] = [
        events.JobStarted(job=JOB, kind="eval", t=1.0),
        events.RunCreated(job=JOB, run="0002-eval", path="/runs/0002-eval", kind="eval"),
        events.EvalStarted(
            job=JOB, subjects=[*subjects], scenarios=scenarios, archetypes=["copy"] * worlds
        ),
    ]
    for subject in subjects:
        for scenario in scenarios:
            script += [
                events.EpisodeStarted(job=JOB, subject=subject, scenario=scenario, t=2.0),
                turn(subject, scenario, 0, f"Welcome to {scenario}.\nuser@box:~$"),
            ]
    return script


def turn(subject: str, scenario: str, number: int, content: str) -> events.TurnDone:
    role = "assistant" if number % 2 else "user"
    return events.TurnDone(
        job=JOB, subject=subject, scenario=scenario, number=number, role=role, content=content, at=1
    )


def write(engine: ScriptedEngine, scenario: str, text: str, *, at: int = 1) -> None:
    engine.board.put(
        Writing(job=JOB, subject="base", scenario=scenario, turn=at, phase="types", text=text),
        whole=True,
    )


async def test_what_a_model_writes_is_seen_before_its_command_is_complete(
    make_app: Make, engine: ScriptedEngine
) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("3", "s")
        engine.say(*begun("base"))
        await until_shown(pilot, "▸ 1")
        assert not engine.board.watched, "nobody watches yet"
        await pilot.press("enter")
        await until_shown(pilot, "live: 0002-eval", "Welcome to copy-0", "2 running")
        write(engine, "copy-0", "cat no")
        await until_shown(pilot, "user@box:~$ cat no▏", "types 0:0")
        write(engine, "copy-0", "cat notes.txt\x1b[2J")
        await until_shown(pilot, "cat notes.txt")
        engine.say(turn("base", "copy-0", 1, "cat notes.txt"))
        await until_gone(pilot, "▏")
        assert len(pilot.app.screen.query(Tile)) == 1
        await pilot.press("tab")
        await until_shown(pilot, "Welcome to copy-1")
        await pilot.press("question_mark")
        await until_shown(pilot, "Running episodes", "Pause the eval")
        await pilot.press("question_mark", "space")
        await until(pilot, lambda: ("pause", JOB) in engine.orders, "paused")
        await pilot.press("q")
        await until_gone(pilot, "live: 0002-eval")
        assert not engine.board.watched


async def test_an_eval_that_was_paused_is_resumed_by_a_key_that_the_footer_names(
    make_app: Make, engine: ScriptedEngine
) -> None:
    async with make_app().run_test(size=(100, 24)) as pilot:
        await pilot.press("3", "s")
        engine.say(*begun("base"))
        await until_shown(pilot, "▸ 1", "p pause")
        await pilot.press("enter")
        await until_shown(pilot, "live: 0002-eval", "␣ pause")
        await pilot.press("space")
        await until_shown(pilot, "␣ resume")
        engine.say(events.JobPaused(job=JOB, kind="eval"))
        await pilot.press("escape")
        await until_shown(pilot, "‖ paused", "p resume")
        await pilot.press("p")
        await until(pilot, lambda: engine.orders[-1] == ("resume", JOB), "resumed")
        engine.say(events.JobResumed(job=JOB, kind="eval"))
        await until_shown(pilot, "p pause")
        await pilot.press("p")
        await until(pilot, lambda: engine.orders[-1] == ("pause", JOB), "paused again")
        await pilot.press("question_mark")
        await until_shown(pilot, "Pause between two turns, or resume")


async def test_on_a_wide_terminal_several_episodes_are_seen_at_once(
    make_app: Make, engine: ScriptedEngine
) -> None:
    async with make_app().run_test(size=(168, 48)) as pilot:
        await pilot.press("3", "s")
        engine.say(*begun("base", "mine", worlds=3))
        await until_shown(pilot, "▸ 1")
        await pilot.press("enter")
        await until_shown(pilot, "Welcome to copy-0", "Welcome to copy-1", "Welcome to copy-2")
        write(engine, "copy-0", "ls -")
        write(engine, "copy-2", "help ru")
        await until_shown(pilot, "$ ls -▏", "$ help ru▏", "6 running")
        assert len(pilot.app.screen.query(Tile)) == 6
        await pilot.press("z")
        await until(pilot, lambda: len(pilot.app.screen.query(Tile)) == 1, "one tile")
        await pilot.press("z")
        await until(pilot, lambda: len(pilot.app.screen.query(Tile)) == 6, "six tiles")
        engine.say(
            events.EpisodeDone(
                job=JOB, subject="base", scenario="copy-1", archetype="copy", outcome="exit",
                expected="exit", steps=3, turns=7, clean=True, operates=True, terminates=True,
                verified=True, clean_termination=True, invalid="", seconds=2.0,
            )
        )  # fmt: skip
        await until(pilot, lambda: len(pilot.app.screen.query(Tile)) == 5, "it has ended")
        assert isinstance(pilot.app.screen, LiveScreen)


async def test_its_keys_can_be_others_and_those_of_lists_scroll_here_too(
    make_app: Make, engine: ScriptedEngine
) -> None:
    user_file().parent.mkdir(parents=True, exist_ok=True)
    user_file().write_text(
        '"live.zoom" = "o"\n"live.pause" = "w"\n"motion.top" = "f6"\n"motion.choose" = "f7"\n'
    )
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3", "s")
        engine.say(*begun("base"))
        await until_shown(pilot, "▸ 1")
        await pilot.press("f7")
        await until_shown(pilot, "h l episode", "o one or several", "w pause", "f7 replay")
        engine.say(
            turn("base", "copy-0", 1, "seq 50"),
            turn("base", "copy-0", 2, "\n".join(f"line {n}" for n in range(50)) + "\n$"),
        )
        await until_shown(pilot, "line 49")
        await pilot.press("space", "z", "g")  # these do nothing now
        assert not engine.orders
        await pilot.press("f6")
        await until_shown(pilot, "Welcome to copy-0")
        await pilot.press("j")
        await until_gone(pilot, "Welcome to copy-0")
        await pilot.press("w")
        await until(pilot, lambda: ("pause", JOB) in engine.orders, "paused")
        await pilot.press("f7")
        await until_gone(pilot, "live: 0002-eval")
        await until(pilot, lambda: app.pane == "replay", "the episode in Replay")
