"""Boxes over a take-over: differences from the recording, and the question before leaving."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from textual.binding import Binding

from sekft_engine.takeover.difference import TurnDifference
from sekft_tui.input.actions import bindings, same_key
from sekft_tui.screens.box import SCROLL, BoxScreen
from sekft_tui.screens.question import QuestionScreen
from sekft_tui.text import Parts, chop, clip, visible, visible_lines, wrapped


class DifferencesScreen(BoxScreen[str], inherit_bindings=False):
    """For each turn, what the world answers now and what it answered in the recording."""

    PLACE = "differences"
    BINDINGS = [
        *bindings("differences"),
        same_key("global.help", "help"),
        same_key("takeover.differences", "answer('go on')"),
        # The lines have a use for it, too.
        same_key("motion.choose", "answer('go on')", priority=True),
    ]
    HINTS = (
        ("motion.choose", "continue in this world"),
        ("differences.undo", "undo to before"),
        ("differences.leave", "leave"),
        SCROLL,
    )

    def __init__(self, differences: Sequence[TurnDifference], remark: str) -> None:
        super().__init__()
        self._differences = differences
        self._remark = remark

    def on_mount(self) -> None:
        self.query_one("#box").border_title = "not as recorded"
        self._wrap()
        self.sheet.focus()

    def on_resize(self) -> None:
        self._wrap()

    def _wrap(self) -> None:
        """Show the answers, wrapped to the present width."""
        width = min(80, int(self.app.size.width * 0.96) - 5)
        lines: list[Parts] = [
            (("The commands were typed again, and the answers differ: ", "text"),),
            (("- ", "bad"), ("recorded   ", "text"), ("+ ", "good"), ("now", "text")),
            *(((line, "warn"),) for line in (wrapped(self._remark, width) if self._remark else [])),
            (),
        ]
        for difference in self._differences:
            lines += [((f"turn {difference.turn + 1}: ", "strong"), (difference.in_words, "text"))]
            lines += _compared(difference, width)
            lines.append(())
        self.put(tuple(lines))

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)


def _compared(difference: TurnDifference, width: int) -> list[Parts]:
    """The lines of both; those that differ are marked."""
    then, now = visible_lines(difference.recorded), visible_lines(difference.now or "")
    if difference.now is None:
        now = []
    out: list[Parts] = []
    for tag, a, b, c, d in SequenceMatcher(None, then, now, autojunk=False).get_opcodes():
        if tag == "equal":
            out += [(("  ", ""), (p, "quiet")) for p in _chopped(then[a:b], width)]
            continue
        out += [(("- ", "bad"), (p, "bad")) for p in _chopped(then[a:b], width)]
        out += [(("+ ", "good"), (p, "good")) for p in _chopped(now[c:d], width)]
    return out


def _chopped(lines: Sequence[str], width: int) -> list[str]:
    return [piece for line in lines for piece in chop(line, width - 3)]


class LeaveScreen(QuestionScreen):
    """Asked before a session that is not kept is thrown away.

    Args:
        judged: the session is over.
        running: the person's command that runs; empty = none does.
        unsent: what is typed and not entered yet.
    """

    BINDINGS = [
        Binding("s", "answer('keep')", show=False),
        Binding("x", "answer('leave')", show=False),
        Binding("k,escape", "answer('')", show=False),
    ]
    WIDTH = 62

    def __init__(self, judged: bool, running: str = "", unsent: str = "") -> None:
        super().__init__()
        self._judged = judged
        self._command = running
        self._unsent = unsent

    def on_mount(self) -> None:
        lines = ["What was typed here is not kept."]
        if self._command:
            lines.append(f"Still running: {_in_a_line(self._command)}")
        if self._unsent:
            lines.append(f"Not entered yet: {_in_a_line(self._unsent)}")
        end = "" if self._judged else "end it here, judge and "
        keep = () if self._command else (("s", f"{end}keep it, and leave"),)
        self.ask("leave?", "\n".join(lines), (*keep, ("x", "throw it away"), ("k", "stay")))

    def action_answer(self, answer: str) -> None:
        if answer != "keep" or not self._command:
            self.dismiss(answer)


def _in_a_line(command: str) -> str:
    return clip(visible(command), 36)
