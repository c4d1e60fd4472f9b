"""``i``: statistics of what would be trained on, as in ``sekft train --inspect``."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len
from textual.message import Message

from sekft_engine.core.imports import import_module
from sekft_engine.data.read_report import note_lines, passed_over_text
from sekft_tui.input.actions import same_key
from sekft_tui.screens.box import CLOSE, SCROLL, BoxScreen
from sekft_tui.text import Parts, bar, clip, fit, percent, visible

if TYPE_CHECKING:
    from sekft_tui.library import Library
    from sekft_tui.library.statistics import Bar, Kind, Statistics

#: Seconds between two counts while the data set is being certified.
AGAIN_S = 1.0
#: Cells for a bar at most and at least, for a name at most, and the width from which on two facts
#: stand in a line.
_BAR, _LEAST_BAR, _LONGEST, _TWO_FACTS = 24, 10, 34, 60


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
        pairs = zip(_facts(facts[::2], " "), _facts(facts[1::2], "    "), strict=True)
        lines += [(*first, *second) for first, second in pairs]
    else:
        lines += _facts(facts, " ")
    table = _Bars.of(found, width)
    if found.dropped:
        lines += [(), ((" dropped by reason", "head"),)]
        most = max(found.dropped.values())
        lines += [
            table.amount(_reason(name), count, most, "bad") for name, count in found.dropped.items()
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
        lines += [table.amount(_span(bar_), bar_.count, most, "accent") for bar_ in found.lengths]
    for title, kinds in (("archetypes", found.archetypes), ("providers", found.providers)):
        if kinds and any(kind.name for kind in kinds):
            lines += [(), ((f" {title}", "head"), ("  trained on, of all", "quiet"))]
            lines += [table.kind(kind) for kind in kinds]
    return lines


def _facts(facts: Sequence[tuple[str, str, str]], lead: str) -> list[Parts]:
    """Names and values, each in a column as wide as they need."""
    room = max(len(name) for name, _, _ in facts)
    most = max(len(value) for _, value, _ in facts)
    return [
        ((lead + fit(name, room) + "  ", "quiet"), (fit(value, most, right=True), style))
        for name, value, style in facts
    ]


def _reason(name: str) -> str:
    return name.replace("_", " ")


def _span(lengths: Bar) -> str:
    last = lengths.high - 1
    return f"{lengths.low:,} to {last:,}" if last > lengths.low else f"{lengths.low:,}"


def _name(kind: Kind) -> str:
    return visible(kind.name) or "(none)"


def _share(kind: Kind) -> str:
    return f"{kind.kept:,} of {kind.total:,}"


class _Bars(NamedTuple):
    """Cells for the name, the count and the bar of a line: the same in all parts of the sheet."""

    name: int
    number: int
    room: int

    @classmethod
    def of(cls, found: Statistics, width: int) -> _Bars:
        kinds = [*found.archetypes, *found.providers]
        names = [*map(_reason, found.dropped), *map(_span, found.lengths), *map(_name, kinds)]
        counts = [*found.dropped.values(), *(lengths.count for lengths in found.lengths)]
        number = max([1, *(len(f"{n:,}") for n in counts), *(len(_share(kind)) for kind in kinds)])
        name = max([1, *map(cell_len, names)])
        name = max(8, min(name, _LONGEST, width - number - _LEAST_BAR - 5))
        return cls(name, number, max(1, min(_BAR, width - name - number - 5)))

    def amount(self, name: str, count: int, most: int, style: str) -> Parts:
        size = max(1, round(self.room * count / max(1, most))) if count else 0
        return (*self._begin(name, f"{count:,}"), ("━" * size, style))

    def kind(self, kind: Kind) -> Parts:
        filled, empty = bar(kind.kept / max(1, kind.total), self.room)
        return (*self._begin(_name(kind), _share(kind)), (filled, "good"), (empty, "rule"))

    def _begin(self, name: str, number: str) -> Parts:
        return (
            (f" {fit(name, self.name)}  ", "text"),
            (fit(number, self.number, right=True) + "  ", "strong"),
        )
