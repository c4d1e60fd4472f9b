"""The tab bar at the top; the notes and the keys at the bottom."""

from __future__ import annotations

import re
from collections.abc import Callable

from rich.cells import cell_len
from textual.timer import Timer

from sekft_tui.input.footer import FooterState, bar, items, last_items
from sekft_tui.input.places import PANES, Place
from sekft_tui.text import Parts, clip, visible
from sekft_tui.widgets.lines import Lines

#: From these widths of the terminal on the tabs have titles, and whole ones.
_SOME_TITLES, _WHOLE_TITLES = 56, 76
_SHORT_TITLES: dict[Place, str] = {"trajectories": "Traj"}
#: Cells that are left to what the engine is doing, before anything else is said of it.
_DOING = 20
#: What stands before the words of what the engine is doing: whose it is, its process, its state.
_SIGNS = re.compile(r"(?:⇄ )?(?:\d+ )?[^\w\s] (?=\w)")
#: Words, and a number of them.
_COUNTED = re.compile(r"((?:[^\W\d][^\s\d]* )*)(\d[\d,.]*(?:/[\d,.]+| %))")
#: Of a noun that does not fit, so many letters are worth showing.
_LETTERS = 5


class TabBar(Lines):
    """Numbered tabs to the left; the base, its device, the run, and what the engine is doing to the
    right, as far as there is room: what it is doing first."""

    DEFAULT_CSS = "TabBar { dock: top; height: 1; }"

    def __init__(self) -> None:
        super().__init__(self._bar, id="tabs")
        self.pane: Place = "trajectories"
        self.badges: dict[Place, str] = {}
        self.base = ""
        #: Where the base is loaded; "" = it is not.
        self.device = ""
        #: The run that is being written.
        self.run = ""
        #: The process of the engine, where it is another one; named where there is room for it.
        self.process = 0
        self.state: tuple[str, str] = ("", "quiet")

    def _bar(self, width: int) -> tuple[Parts, ...]:
        parts: list[tuple[str, str]] = []
        clicks: list[tuple[int, int, int, str]] = []
        at = 0
        for number, (name, title) in enumerate(PANES, 1):
            label = f" {self._title(name, title, width)}".rstrip() + self.badges.get(name, "")
            if name == self.pane:
                pieces = [(f" {number}{label} ", "chip")]
            else:
                pieces = [(f" {number}", "key"), (f"{label} ", "text")]
            size = sum(cell_len(text) for text, _ in pieces)
            clicks.append((0, at, at + size, f"app.pane('{name}')"))
            parts += pieces
            at += size
        self.clicks = tuple(clicks)
        about, doing = self._engine(width - at - 1)
        gap = width - at - cell_len(about) - cell_len(doing) - 1
        parts += [(" " * max(0, gap), ""), (about, "quiet"), (doing, self.state[1])]
        return (tuple(parts),)

    def _title(self, name: Place, title: str, width: int) -> str:
        """The title of a pane at a width of the terminal; "" = its number is enough."""
        if width >= _WHOLE_TITLES:
            return title
        some = width >= _SOME_TITLES or name == self.pane
        return _SHORT_TITLES.get(name, title) if some else ""

    def _engine(self, room: int) -> tuple[str, str]:
        """What is said of the engine in ``room`` cells: what it has, and what it is doing."""
        doing = self.state[0]
        named = f"{self.process} "
        base = visible(self.base)
        on = f" on {visible(self.device)}" if base and self.device else ""
        # What it is doing changes often: a little more or less of it moves nothing.
        spare = room - max(cell_len(doing), _DOING) - 2
        taken = []
        for piece in (base, visible(self.run), on, f"process {named}" if self.process else ""):
            size = cell_len(piece) + 3
            taken.append(piece if piece and size <= spare else "")
            spare -= size if taken[-1] else 0
        base, run, on, process = taken
        about = " · ".join(piece for piece in (base + on, process.strip(), run) if piece)
        if self.process and not process and room > cell_len(about + named + doing) + 2:
            sign, _, rest = doing.partition(" ")
            doing = f"{sign} {named}{rest}"
        doing = shortened(doing, room)
        return f" {about} " if about else "", clip(doing, max(0, room - cell_len(about)))


def shortened(doing: str, room: int) -> str:
    """What the engine is doing in ``room`` cells: rather what it does now, and how far that is,
    than in which job; the number alone only where no word fits."""
    without_time = re.sub(r",[^,+]* left\b", "", doing)
    signs = _SIGNS.match(doing)
    said = without_time[signs.end() :] if signs is not None else ""
    counted = _COUNTED.findall(said)
    choices = [doing, without_time]
    if signs is not None and counted:
        words, number = counted[-1]
        nouns = words.split()
        if len(counted) == 1 and len(nouns) > 1:
            del nouns[0]  # the job's
        more = found[0] if (found := re.search(r" \+\d+$", said)) else ""
        label = " ".join((*nouns, number))
        sign = f"{signs[0].split()[-1]} "
        for each in (label + more, label, " ".join((*nouns[:1], number))):
            choices += [signs[0] + each, sign + each]
        spare = room - cell_len(sign + number) - 1
        if nouns and spare >= _LETTERS:
            choices.append(f"{sign}{clip(nouns[0], spare)} {number}")
        choices.append(sign + counted[0][1])
    elif signs is not None and len(words := said.split()) > 2:
        choices += [f"{signs[0]}{' '.join(words[1:])}", f"{signs[0]}{words[1]}"]
    return next((each for each in choices if cell_len(each) <= room), choices[-1])


class NoteLine(Lines):
    """A line above the keys for what was done, and for what waits while nothing was."""

    DEFAULT_CSS = "NoteLine { background: $background; }"

    def __init__(self) -> None:
        super().__init__(self._line, id="note")
        self._note = ""
        self._standing = ""
        self._timer: Timer | None = None

    def note(self, text: str, seconds: float) -> None:
        """Show a text for ``seconds``."""
        self._note = text
        if self._timer is not None:
            self._timer.stop()
        self._timer = None
        self.update()
        self.call_after_refresh(self._count_down, text, seconds)

    def _count_down(self, text: str, seconds: float) -> None:
        """Its time begins when it is painted, which may be late on a busy machine."""
        if text == self._note and self._timer is None:
            self._timer = self.set_timer(seconds, self._note_over)

    def _note_over(self) -> None:
        self._note = ""
        self.update()

    @property
    def is_empty(self) -> bool:
        return not (self._note or self._standing)

    def stand(self, text: str) -> None:
        """Show a text whenever there is no note; "" = none."""
        if text != self._standing:
            self._standing = text
            self.update()

    def _line(self, width: int) -> tuple[Parts, ...]:
        if self._note:
            return (((" › ", "accent"), (clip(visible(self._note), width - 4), "strong")),)
        return (((clip(f"   {visible(self._standing)}", width - 1), "quiet"),),)


class KeyBar(Lines):
    """The most important keys of the visible pane, as they are now."""

    def __init__(self, state: Callable[[], FooterState]) -> None:
        super().__init__(self._bar, id="keys")
        self.pane: Place = "trajectories"
        self._state = state

    def _bar(self, width: int) -> tuple[Parts, ...]:
        state = self._state()
        last = () if state.only else last_items()  # while one types, they are letters
        made = bar(items(self.pane, state), last, width)
        self.clicks = made.clicks
        return (made.parts,)
