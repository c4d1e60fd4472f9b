"""The terminal's title and the sign for a long job: what is written past the screen."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from sekft_engine.records import events
from sekft_tui.app import Workbench
from sekft_tui.process import attention
from sekft_tui.process.attention import Attention
from sekft_tui.process.preferences import Preferences
from tests.tui.screen import until
from tests.tui.scripted import ScriptedEngine, training

#: A job of so many seconds is worth a sign, unless a person chose otherwise.
LONG = Preferences().bell_after


class Terminal:
    """Keeps what was written; its clock stands still until told."""

    def __init__(self, **environ: str) -> None:
        self.written: list[str] = []
        self.clock = 0.0
        self.attention = Attention(
            self.written.append, {"TERM": "xterm-256color"} | environ, lambda: self.clock
        )


def test_the_title_says_what_the_engine_does_and_is_given_back() -> None:
    terminal = Terminal()
    terminal.attention.title("sekft work: idle")
    terminal.attention.close()
    assert terminal.written == ["\x1b[22;2t\x1b]2;sekft work: idle\x07", "\x1b]2;\x07\x1b[23;2t"]


def test_a_title_is_written_once_and_not_at_every_step() -> None:
    terminal = Terminal()
    for step in range(100):
        terminal.clock += 0.1
        terminal.attention.title(f"train {step}/100")
        terminal.attention.title(f"train {step}/100")
    assert len(terminal.written) <= 5


def test_a_terminal_whose_title_was_never_set_is_not_written_to() -> None:
    terminal = Terminal()
    terminal.attention.close()
    assert terminal.written == []


@pytest.mark.parametrize("environ", [{"TERM": "linux"}, {"TERM": ""}, {"SEKFT_TITLE": "off"}])
def test_terminals_that_would_print_it_are_left_alone(environ: dict[str, str]) -> None:
    terminal = Terminal(**environ)
    terminal.attention.title("idle")
    terminal.attention.ended("train done", time.time() - 2 * LONG, time.time())
    assert terminal.written == ["\x07"], "a bell is known everywhere"


def test_a_long_job_that_ended_just_now_rings() -> None:
    terminal = Terminal()
    terminal.attention.ended("sekft: train done", time.time() - 2 * LONG, time.time())
    assert terminal.written == ["\x07", "\x1b]9;sekft: train done\x07"]


@pytest.mark.parametrize(("took", "ago"), [(LONG / 2, 0), (2 * LONG, 3600)])
def test_short_jobs_and_those_of_the_past_do_not(took: float, ago: float) -> None:
    terminal = Terminal()
    ended = time.time() - ago
    terminal.attention.ended("sekft: train done", ended - took, ended)
    assert terminal.written == []


def test_hostile_names_cannot_leave_the_sequence() -> None:
    terminal = Terminal()
    terminal.attention.title("a\x07\x1b]52;c;cm0gLXJm\x07\x9b31m")
    (written,) = terminal.written
    inside = written.removeprefix("\x1b[22;2t\x1b]2;").removesuffix("\x07")
    assert not any(letter < " " or "\x7f" <= letter <= "\x9f" for letter in inside)


async def test_the_last_title_is_shown_though_it_came_soon_after_another(
    make_app: Callable[..., Workbench], engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "_PAUSE", 0.5)
    written: list[str] = []
    app = make_app()
    app.attention = Attention(written.append, {"TERM": "xterm-256color"})
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "s")
        engine.say(*training(upto=2))
        await until(pilot, lambda: "train 2/60" in "".join(written), "the title of the run")
        engine.say(
            events.StepBegan(job="train-1", step=3, batch=[]),
            events.JobCancelled(job="train-1", kind="train"),
        )
        await until(pilot, lambda: "idle" in written[-1], "the title at the end")


def test_each_sign_can_be_switched_off_and_what_is_long_is_chosen() -> None:
    began, ended = time.time() - 2 * LONG, time.time()
    for chosen, written in (
        (Preferences(title=False), ["\x07", "\x1b]9;done\x07"]),
        (Preferences(bell=False), ["\x1b[22;2t\x1b]2;idle\x07", "\x1b]9;done\x07"]),
        (Preferences(notify=False), ["\x1b[22;2t\x1b]2;idle\x07", "\x07"]),
        (Preferences(bell_after=3 * LONG), ["\x1b[22;2t\x1b]2;idle\x07"]),
    ):
        terminal = Terminal()
        terminal.attention.preferences = chosen
        terminal.attention.title("idle")
        terminal.attention.ended("done", began, ended)
        assert terminal.written == written, chosen
