"""Boxes over a take-over: what is not as recorded, and whether to leave."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from textual.binding import Binding

from sekft_engine.evaluate.takeover_difference import Difference
from sekft_tui.screens.box import BoxScreen
from sekft_tui.text import Parts, chop, visible_lines, wrapped


class DifferencesScreen(BoxScreen[str]):
    """Turn by turn, what the world answers now and what it answered then."""

    BINDINGS = [
        Binding("escape,d", "answer('go on')", show=False),
        Binding("enter", "answer('go on')", show=False, priority=True),
        Binding("u", "answer('undo')", show=False),
        Binding("q", "answer('leave')", show=False),
    ]
    KEYS_TEXT = (
        ("⏎", "key"), (" go on in this world   ", "quiet"), ("u", "key"),
        (" undo to before   ", "quiet"), ("q", "key"), (" leave   ", "quiet"),
        ("j k", "key"), (" scroll", "quiet"),
    )  # fmt: skip

    def __init__(self, differences: Sequence[Difference], remark: str) -> None:
        super().__init__()
        self._differences = differences
        self._remark = remark

    def on_mount(self) -> None:
        self.query_one("#box").border_title = "not as recorded"
        width = min(80, int(self.app.size.width * 0.96) - 5)
        lines: list[Parts] = [
            (("The commands were typed again, and the world answered otherwise: ", "text"),),
            (("- ", "bad"), ("recorded   ", "text"), ("+ ", "good"), ("now", "text")),
            *(((line, "warn"),) for line in (wrapped(self._remark, width) if self._remark else [])),
            (),
        ]
        for one in self._differences:
            lines += [((f"turn {one.turn + 1}: ", "strong"), (one.in_words, "text"))]
            lines += _compared(one, width)
            lines.append(())
        self.put(tuple(lines))
        self.sheet.focus()

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)


def _compared(one: Difference, width: int) -> list[Parts]:
    """The lines of both, those that differ marked."""
    then, now = visible_lines(one.recorded), visible_lines(one.now or "")
    if one.now is None:
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


class LeaveScreen(BoxScreen[str]):
    """Asked before what was typed is thrown away."""

    BINDINGS = [
        Binding("s", "answer('keep')", show=False),
        Binding("x", "answer('leave')", show=False),
        Binding("k,escape", "answer('')", show=False),
    ]
    SCROLLS = False

    def __init__(self, judged: bool) -> None:
        super().__init__()
        self._judged = judged

    def on_mount(self) -> None:
        box = self.query_one("#box")
        box.styles.width = 62
        box.border_title = "leave?"
        first = (
            "keep it, and leave" if self._judged else "end it here, judge and keep it, and leave"
        )
        self.put(
            (
                (("What was typed here is not kept.", "strong"),),
                (),
                (("  s  ", "key"), (first, "text")),
                (("  x  ", "key"), ("throw it away", "text")),
                (("  k  ", "key"), ("stay", "text")),
            )
        )

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)
