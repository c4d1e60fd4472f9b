"""What libraries print stays whole lines of their own, and out of a quiet command."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator

import pytest

from sekft_engine.cli.show.display import Display
from sekft_engine.records import events


def noise() -> None:
    """What libraries do."""
    logging.getLogger("a library").addHandler(handler := logging.StreamHandler())
    logging.getLogger("a library").warning("it is logged")
    for _ in range(3):
        warnings.warn("this is deprecated\nin many ways", FutureWarning, stacklevel=1)
    sys.stderr.write("a bar   10%\ra bar   90%\r")
    sys.stderr.write("half a ")
    logging.getLogger("a library").removeHandler(handler)


@contextlib.contextmanager
def redirected() -> Iterator[io.StringIO]:
    """A stream that stands for standard error."""
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream), warnings.catch_warnings():
        warnings.simplefilter("always")
        yield stream


def test_libraries_print_whole_lines_between_those_of_the_command() -> None:
    with redirected() as stderr, Display() as display:
        noise()
        display.show(events.Log(job="", level="info", text="the command's own"))
        sys.stderr.write("line\n")
    assert stderr.getvalue().splitlines() == [
        "it is logged",
        "warning: this is deprecated in many ways",
        "a bar   10%",
        "a bar   90%",
        "info: the command's own",
        "half a line",
    ]


def test_a_quiet_command_shows_nothing_of_libraries() -> None:
    with redirected() as stderr:
        with Display(quiet=True):
            noise()
        assert sys.stderr is stderr
    assert stderr.getvalue() == ""


def test_what_a_library_keeps_of_standard_error_works_afterwards() -> None:
    with redirected() as stderr, Display(quiet=True):
        kept = sys.stderr
        kept.write("not shown\n")
    kept.write("shown\n")
    assert stderr.getvalue() == "shown\n"


class Tty(io.StringIO):
    """A terminal, as far as a display asks."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_one_line_moves_and_messages_stand_above_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Tty()
    with contextlib.redirect_stderr(stream), Display() as display:
        display.report("rendering", 1, 4)
        display.show(events.Log(job="", level="info", text="a \x1b]0;title\x07 [bold]message"))
        display.progress("rendering\x1b[2J", 4, 4, "of \x1b[5m me")
    shown = stream.getvalue()
    assert "info: a ␛]0;title␇ [bold]message" in shown
    assert "4/4" in shown
    assert "\x1b[2J" not in shown
    assert "\x1b[5m" not in shown


def test_a_terminal_that_only_prints_has_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Tty()
    with contextlib.redirect_stderr(stream), Display() as display:
        display.report("rendering", 1, 4)
        display.show(
            events.RatesMeasured(
                job="",
                step=20,
                n=8,
                operates=7,
                terminates=6,
                verified=5,
                clean_termination=4,
                seconds=9.0,
            )
        )
    assert stream.getvalue() == (
        "step 20: of 8 episodes 7 operate, 6 end, 5 are verified, 4 end cleanly\n"
    )
