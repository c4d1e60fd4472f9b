"""Record the tour of the README: the real workbench in a real terminal, keys pressed for it.

    python -m docs.record_tour WORKSPACE

The workspace needs what `sekft demo --run` leaves: sessions, a run and an eval; nothing is trained
here. Writes pictures/tour.cast (asciicast, version 2, which players of every age read) and, made
of it, pictures/tour.svg. Needs the development packages.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pyte
from pyte.screens import Char

from docs.cast_picture import moving_picture, screens
from tests.tui.terminal import Terminal, terminal

PICTURES = Path(__file__).parent / "pictures"
SIZE = (120, 36)
#: Longer waits are cut to this, so that a busy machine makes no longer tour.
IDLE_S = 2.2
#: A screen is taken when nothing has come for so long: a program may write it in pieces.
_PAUSE_S = 0.05
#: So many unchanged cells between two changed ones are written again: moving costs more.
_GAP = 6
_BEGIN, _END = "\x1b[?1049h\x1b[?25l\x1b[2J", "\x1b[0m\x1b[?25h\x1b[?1049l"


class Stop(NamedTuple):
    """Keys that are pressed one after another, and what is shown when they have been."""

    keys: tuple[str, ...]
    shows: tuple[str, ...]
    #: What begins here; "" = it goes on.
    caption: str = ""
    seconds: float = 1.2


def stops() -> Iterator[Stop]:
    """What the tour shows."""
    yield Stop((), ("certified",), "1  A recorded session: which of its tokens are trained", 2.0)
    yield Stop(("enter", "l", "l", "l"), ("turn 4/",), seconds=2.0)
    yield Stop(("v",), ("2/6",), seconds=2.3)
    yield Stop(("V", "m"), ("trained only",), seconds=2.0)
    yield Stop(("m", "5"), ("result",), "2  A run of training, from its journal", 0.8)
    yield Stop(("f", "kind:train", "enter"), ("f: kind:train",), seconds=0.8)
    yield Stop(("enter",), ("nats per trained token", "grad norm"), seconds=2.4)
    yield Stop(("h",), ("loss at step",), seconds=2.0)
    filtered = ("5", "f", "ctrl+u", "kind:eval", "enter")
    yield Stop(
        filtered,
        ("f: kind:eval",),
        "3  An eval in fresh worlds: every verdict, rates beside controls",
        0.8,
    )
    yield Stop(("enter",), ("solved", "95 %"), seconds=2.4)
    yield Stop(("j", "j"), ("solved",), seconds=1.2)
    yield Stop(("i",), ("how episodes ended",), seconds=2.4)
    yield Stop(("escape", "enter"), ("verdict",), "4  An episode, replayed up to its verdict", 2.0)
    yield Stop(("0", " "), ("▸ ",), seconds=6.0)
    yield Stop(("v",), ("output of the checker",), seconds=2.5)


def record(workspace: Path) -> str:
    """Drive the workbench; the recording."""
    marks: list[tuple[float, str]] = []
    begin = 0.0
    with tempfile.TemporaryDirectory() as state:
        environ = {
            "COLORTERM": "truecolor", "XDG_STATE_HOME": state, "XDG_CONFIG_HOME": state,
            "HOME": str(workspace.parent),
        }  # fmt: skip
        words = ("tui", "--workspace", workspace.name, "--no-mouse", "--no-resident")
        with terminal(*words, cwd=workspace.parent, size=SIZE, environ=environ) as shown:
            for stop in stops():
                if stop.caption:
                    marks.append((time.perf_counter(), stop.caption))
                began = take(shown, stop)
                begin = begin or began
            shown.press("q")
            shown.ended()
            shown.let_go()
            pieces = list(shown.pieces)
    return cast(pieces, [(max(begin, at), text) for at, text in marks], begin)


def take(shown: Terminal, stop: Stop) -> float:
    """Press the keys as a person does, wait for what they show, and let it be read; when it was
    shown."""
    for key in stop.keys:
        shown.press(key)
        time.sleep(0.45)
    shown.until_shown(*stop.shows)
    at = time.perf_counter()
    time.sleep(stop.seconds)
    return at


def cast(pieces: list[tuple[float, bytes]], marks: list[tuple[float, str]], begin: float) -> str:
    """The asciicast of what a terminal showed, with a marker for each caption.

    It starts with the screen at ``begin``: where nothing moves, the first screen is all one sees.

    It holds what changed from one screen to the next, not what was sent. That is shorter, and asks
    nothing of the terminal that plays it and leaves no mode set there when playing is broken off.
    """
    header = {
        "version": 2, "width": SIZE[0], "height": SIZE[1], "title": "sekft tui",
        "idle_time_limit": IDLE_S, "env": {"TERM": "xterm-256color"},
    }  # fmt: skip
    lines = [json.dumps(header), json.dumps([0.0, "o", _BEGIN])]
    before, now = begin, 0.0
    for at, code, text in sorted(
        [*_changes(pieces, begin), *((at, "m", text) for at, text in marks)]
    ):
        now += min(max(0.0, at - before), IDLE_S)
        before = at
        lines.append(json.dumps([round(now, 2), code, text], ensure_ascii=False))
    lines.append(json.dumps([round(now + IDLE_S, 2), "o", _END]))
    return "\n".join(lines) + "\n"


def _changes(pieces: list[tuple[float, bytes]], begin: float) -> Iterator[tuple[float, str, str]]:
    """What to write for each screen that the program completed, from that at ``begin`` on."""
    screen = pyte.Screen(*SIZE)
    stream = pyte.ByteStream(screen)
    pen = Pen()
    shown: dict[int, list[Char]] = {}
    for number, (at, data) in enumerate(pieces):
        with suppress(TypeError, ValueError, AttributeError):  # as in PseudoTerminal
            stream.feed(data)
        following = pieces[number + 1][0] if number + 1 < len(pieces) else at + 1
        if following - at < _PAUSE_S or following < begin:
            continue
        text = ""
        for y in sorted(screen.dirty):
            line = [screen.buffer[y][x] for x in range(screen.columns)]
            text += pen.rewrite(y, shown.get(y) or [Char(" ")] * len(line), line)
            shown[y] = line
        screen.dirty.clear()
        if text:
            yield at, "o", text


class Pen:
    """Writes cells, and changes its look only where they differ."""

    def __init__(self) -> None:
        self._look = Char(" ")

    def rewrite(self, y: int, before: Sequence[Char], after: Sequence[Char]) -> str:
        """What makes line ``y`` be ``after`` on a terminal where it is ``before``."""
        text, behind = "", -1
        for x, cell in enumerate(after):
            if cell == before[x]:
                continue
            if behind < 0 or x - behind > _GAP:
                text += f"\x1b[{y + 1};{x + 1}H"
                behind = x
            text += "".join(self._cell(one) for one in after[behind : x + 1])
            behind = x + 1
        return text

    def _cell(self, cell: Char) -> str:
        old = self._look
        codes = [
            str(on if now else off)
            for now, was, on, off in (
                (cell.bold, old.bold, 1, 22),
                (cell.underscore, old.underscore, 4, 24),
                (cell.reverse, old.reverse, 7, 27),
            )
            if now != was
        ]
        # Of an empty cell only what lies behind it is seen.
        inked = cell.data != " " or cell.underscore or cell.reverse
        colour = cell.fg if inked else old.fg
        codes += [_colour(38, colour)] if colour != old.fg else []
        codes += [_colour(48, cell.bg)] if cell.bg != old.bg else []
        self._look = cell._replace(fg=colour)
        return (f"\x1b[{';'.join(codes)}m" if codes else "") + str(cell.data)


def _colour(code: int, colour: str) -> str:
    """Foreground (38) or background (48); the workbench uses six digits, its start none."""
    if colour == "default":
        return str(code + 1)
    return f"{code};2;" + ";".join(str(part) for part in bytes.fromhex(colour))


def main(workspace: str) -> None:
    recording = record(Path(workspace).resolve())
    (PICTURES / "tour.cast").write_text(recording, encoding="utf-8")
    (PICTURES / "tour.svg").write_text(moving_picture(recording), encoding="utf-8")
    *_, last = screens(recording)
    print(f"{last.at:.1f} seconds, {len(recording) / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1])
