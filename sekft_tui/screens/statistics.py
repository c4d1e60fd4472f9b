"""``i``: statistics of what would be trained on, as in ``sekft train --inspect``."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from textual.message import Message

from sekft_engine.core.imports import import_module
from sekft_engine.data.read_report import note_lines, passed_over_text
from sekft_tui.input.actions import same_key
from sekft_tui.screens.box import CLOSE, SCROLL, BoxScreen
from sekft_tui.text import Parts, bar, clip, fit, percent, visible

if TYPE_CHECKING:
    from sekft_tui.library import Library
    from sekft_tui.library.statistics import Kind, Statistics

#: Seconds between two counts while the data set is being certified.
AGAIN_S = 1.0
#: Cells for a bar at most, and the width from which on two facts stand in a line.
_BAR, _TWO_FACTS = 24, 68


class StatisticsScreen(BoxScreen[None]):
    """Counts again while the data set is being certified."""

    BINDINGS = [same_key("trajectories.statistics", "close")]
    HINTS = (CLOSE, SCROLL)

    class Counted(Message):
        def __init__(self, found: Statistics) -> None:
            super().__init__()
            self.found = found

    def __init__(self, library: Library) -> None:
        super().__init__()
        self._library = library
        self._counting = False

    def on_mount(self) -> None:
        self.query_one("#box").border_title = "what would be trained on"
        self.put((((" counting …", "quiet"),),))
        self.sheet.focus()
        self._count()
        self.set_interval(AGAIN_S, self._count)

    def _count(self) -> None:
        """Count on a thread, one at a time; nothing is left to count once all is certified."""
        if self._counting:
            return
        self._counting = True
        threading.Thread(target=self._work, name="sekft-count", daemon=True).start()

    def _work(self) -> None:
        import_module("sekft_engine.maskview.report")
        from sekft_tui.library.statistics import statistics

        found = statistics(self._library.index, self._library.certifier.verdicts)
        self.post_message(self.Counted(found))

    def on_statistics_screen_counted(self, message: Counted) -> None:
        busy = self._library.certifier.busy
        self._counting = not busy and message.found.certified >= message.found.total
        trouble = self._library.certifier.trouble
        lines = tuple(report(message.found, busy, trouble, self._width))
        if lines != self.sheet.lines:
            top = self.sheet.scroll_y
            self.put(lines)
            self.sheet.scroll_to(y=top, animate=False, immediate=True)

    @property
    def _width(self) -> int:
        return min(80, int(self.app.size.width * 0.96) - 5)


def report(found: Statistics, busy: bool, trouble: str, width: int) -> list[Parts]:
    """The screen's lines, each of at most ``width`` cells."""
    lines: list[Parts] = []
    if trouble:
        lines += [((clip(f" nothing more can be certified: {trouble}", width), "bad"),), ()]
    elif found.certified < found.total:
        filled, empty = bar(found.certified / max(1, found.total), _BAR)
        lines += [
            (
                (f" {found.certified:,} of {found.total:,} certified ", "warn"),
                (filled, "accent"),
                (empty, "rule"),
                (" …" if busy else "", "warn"),
            ),
            (),
        ]
    dropped = sum(found.dropped.values())
    share = percent(found.trained, found.tokens)
    length = found.length
    facts = [
        ("trajectories", f"{found.total:,}", "strong"),
        ("trained on", f"{found.kept:,}", "good"),
        ("tokens", f"{found.tokens:,}", "strong"),
        ("dropped", f"{dropped:,}", "bad" if dropped else "strong"),
        ("trained tokens", f"{found.trained:,}", "strong"),
        ("trained share", share, "strong"),
        ("length median", f"{length.median:,}", "strong"),
        ("p95", f"{length.p95:,}", "strong"),
        ("length shortest", f"{length.min:,}", "strong"),
        ("longest", f"{length.max:,}", "strong"),
    ]
    if width >= _TWO_FACTS:
        pairs = zip(facts[::2], facts[1::2], strict=True)
        lines += [(*_fact(*first), *_fact(*second, "   ")) for first, second in pairs]
    else:
        lines += [_fact(*fact) for fact in facts]
    if found.dropped:
        lines += [(), ((" dropped by reason", "head"),)]
        most = max(found.dropped.values())
        lines += [
            _bar(name.replace("_", " "), count, most, "bad", width)
            for name, count in found.dropped.items()
        ]
    if found.notes or found.passed_over:
        lines += [(), ((" noted while reading", "head"),)]
        lines += [((clip(f" {visible(line)}", width), "text"),) for line in note_lines(found.notes)]
    if passed_over := passed_over_text(found.passed_over):
        text = f" passed over in the folder: {visible(passed_over)}"
        lines.append(((clip(text, width), "text"),))
    if found.lengths:
        lines += [(), ((" length of what is trained on, in tokens", "head"),)]
        most = max(bar_.count for bar_ in found.lengths)
        lines += [
            _bar(f"{bar_.low:,} to {bar_.high - 1:,}", bar_.count, most, "accent", width)
            for bar_ in found.lengths
        ]
    for title, kinds in (("archetypes", found.archetypes), ("providers", found.providers)):
        if kinds and any(kind.name for kind in kinds):
            lines += [(), ((f" {title}", "head"), ("  trained on, of all", "quiet"))]
            lines += [_kind(kind, width) for kind in kinds]
    return lines


def _fact(name: str, value: str, style: str, lead: str = " ") -> Parts:
    return ((fit(lead + name, 18), "quiet"), (fit(value, 14, right=True), style))


def _bar(name: str, count: int, most: int, style: str, width: int) -> Parts:
    room = max(1, min(_BAR, width - 40))
    size = max(1, round(room * count / max(1, most))) if count else 0
    return (
        (fit(f" {name}", 26), "text"),
        (fit(f"{count:,}", 12, right=True) + "  ", "strong"),
        ("━" * size, style),
    )


def _kind(kind: Kind, width: int) -> Parts:
    room = max(12, min(34, width - 40))
    name = fit(f" {visible(kind.name) or '(none)'}", room)
    filled, empty = bar(kind.kept / max(1, kind.total), max(1, min(_BAR, width - room - 22)))
    return (
        (name, "text"),
        (fit(f"{kind.kept:,} of {kind.total:,}", 20, right=True) + "  ", "strong"),
        (filled, "good"),
        (empty, "rule"),
    )
