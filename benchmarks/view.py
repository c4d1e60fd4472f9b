"""Opening and scrolling masks of up to a million tokens, and a list of 100,000 rows.

Each case is an app of its own in a process of its own, without a terminal but with everything up
to the bytes that a terminal would get, at 160x48. The peers are what Textual offers for the same:

richlog: ``RichLog`` with one Rich ``Text`` per line, a span per token; it never wraps anew, so
    its resize is no more than a paint.
static: one Rich ``Text`` of all tokens in a ``Static`` that scrolls.
optionlist: ``OptionList`` with one option per row.

They are asked only for sizes at which they end soon. Times are of this run; ratios are
peer / sekft, so more than 1 means that sekft is quicker or smaller.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.shared.painted import Painted  # isort: skip - it sets what Textual reads

from textual.app import App
from textual.containers import VerticalScroll
from textual.events import Key
from textual.widget import Widget
from textual.widgets import OptionList, RichLog, Static

from benchmarks.shared.report import arguments, p50_p95, run_main, tell
from sekft_engine.data.trajectory import Turn
from sekft_engine.maskview.document import Document
from sekft_engine.render.rows.row import Certificate, Row, Span
from sekft_tui import theme
from sekft_tui.widgets.line_list import LineList
from sekft_tui.widgets.token_view import TokenView

if TYPE_CHECKING:
    from rich.text import Text

SIZE, OTHER = (160, 48), (100, 48)
TOKENS = (10_000, 100_000, 1_000_000)
ROWS = 100_000
#: What each peer is asked for, in tokens or rows.
MOST = {"sekft": 1_000_000, "richlog": 100_000, "static": 100_000}
ROOT = Path(__file__).parents[1]
WORDS = (
    " the", " file", "s", " notes", "/", "report", ".txt", " holds", " 128", " lines", "\n",
    "user", "@", "box", ":~$", " für", " 日本", " -l", " |", " wc", "\n", "drwx", "r-x", " 4096",
)  # fmt: skip


def row_of(tokens: int) -> Row:
    """A row of ``tokens`` tokens in turns of 120, every other turn of them a command of 12."""
    pick = np.random.default_rng(1).integers(0, len(WORDS), tokens)
    lengths = np.array([len(word) for word in WORDS])[pick]
    numbers = np.arange(tokens, dtype=np.int32)
    turn = numbers // 132 * 2 + (numbers % 132 >= 120)
    command = turn % 2 == 1
    starts = np.flatnonzero(command & ~np.concatenate([[False], command[:-1]])).tolist()
    flags = {name: True for name in Certificate.__struct_fields__ if name != "trained_tokens"}
    return Row(
        id="bench",
        archetype="bench",
        turns=tuple(
            Turn(role="assistant" if n % 2 else "user", content="…") for n in range(turn[-1] + 1)
        ),
        text="".join([WORDS[n] for n in pick.tolist()]),
        ids=pick.astype(np.int32) + 1000,
        ends=np.cumsum(lengths).astype(np.int32),
        turn_of=turn.astype(np.int32),
        content=np.ones(tokens, dtype=np.bool_),
        control=np.zeros(tokens, dtype=np.bool_),
        spans=tuple(
            Span(start, min(start + 12, tokens), int(turn[start])) for start in starts
        ),
        certificate=Certificate(**flags, trained_tokens=int(command.sum())),
        lost=0,
        render_digest="",
    )  # fmt: skip


def rich_lines(row: Row) -> Iterator[Text]:
    """The row as a Rich text per line, each token in its style."""
    from rich.text import Text

    trained, line = row.trained.tolist(), Text()
    for piece, bold in zip(row.pieces(), trained, strict=True):
        line.append(piece.rstrip("\n"), "bold #ffb454" if bold else "dim #b4bfd0")
        if piece.endswith("\n"):
            yield line
            line = Text()
    yield line


class Bench(App[int]):
    """An app of one widget that tells when it has painted."""

    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self.widget = widget
        self.painted = Painted(self).event
        for own in theme.THEMES:
            self.register_theme(own)
        self.theme = "sekft-dark"

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return theme.defaults(dark=True)

    def compose(self) -> Iterator[Widget]:
        yield self.widget


def own(tokens: int) -> tuple[Widget, Callable[[], None]]:
    view, row = TokenView(), row_of(tokens)
    return view, lambda: view.show(Document.from_row(row, limit=4096))


def richlog(tokens: int) -> tuple[Widget, Callable[[], None]]:
    log, row = RichLog(auto_scroll=False, wrap=True), row_of(tokens)

    def fill() -> None:
        for line in rich_lines(row):
            log.write(line)

    return log, fill


class Scroll(VerticalScroll, can_focus=True):
    """What scrolls the static text."""


def static(tokens: int) -> tuple[Widget, Callable[[], None]]:
    from rich.text import Text

    text, row = Static(), row_of(tokens)
    return Scroll(text), lambda: text.update(Text("\n").join(rich_lines(row)))


def own_list(rows: int) -> tuple[Widget, Callable[[], None]]:
    seen = LineList(
        lambda y, width: ((f"trajectory-{y:06}".ljust(width - 8), "text"), ("exit", "good"))
    )
    return seen, lambda: seen.set_rows(rows)


def option_list(rows: int) -> tuple[Widget, Callable[[], None]]:
    options = OptionList()
    names = [f"trajectory-{y:06} exit" for y in range(rows)]
    return options, lambda: _fill(options, names)


def _fill(options: OptionList, names: list[str]) -> None:
    options.add_options(names)
    options.highlighted = 0


CASES = {
    "sekft": own, "richlog": richlog, "static": static, "sekft list": own_list,
    "optionlist": option_list,
}  # fmt: skip


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def measure(name: str, size: int, keys: int) -> dict[str, Any]:
    """Open, scroll, jump and resize one widget."""
    widget, fill = CASES[name](size)
    app = Bench(widget)
    async with app.run_test(size=SIZE) as pilot:
        widget.focus()
        await pilot.pause(0.3)
        gc.collect()
        before = resident()
        first = await painted(app, fill, settle=0.5)
        pattern = cycle(("down", "pagedown", "down", "down", "up", "pagedown"))
        scrolled = [await press(app, key) for key in islice(pattern, keys)]
        jumps = [await press(app, key) for key in ("end", "home", "end")]
        gc.collect()
        memory = resident() - before
        resized = await painted(app, lambda: resize(app, OTHER), settle=0.3)
    p50, p95 = p50_p95([time for time in scrolled if time is not None])
    return {
        "widget": name,
        "size": size,
        "first_paint_s": first,
        "key_p50_ms": 1000 * p50,
        "key_p95_ms": 1000 * p95,
        "jump_ms": 1000 * max(time for time in jumps if time is not None),
        "resize_ms": 1000 * resized if resized is not None else None,
        "memory_mb": memory / 1e6,
    }


async def press(app: Bench, key: str) -> float | None:
    """Seconds from a key to the paint it caused."""
    return await painted(app, lambda: app.post_message(Key(key, None)))


def resize(app: Bench, size: tuple[int, int]) -> None:
    from textual.events import Resize
    from textual.geometry import Size

    app.post_message(Resize(Size(*size), Size(*size)))


async def painted(
    app: Bench, do: Callable[[], object], settle: float = 0.0, patience: float = 2.0
) -> float | None:
    """Seconds from ``do`` to the end of the paint it caused; with ``settle``, of the last paint
    that is followed by so many quiet seconds. None where nothing was painted."""
    app.painted.clear()
    start = time.perf_counter()
    do()
    last = None
    while True:
        wait = settle if last is not None else max(patience, settle)
        try:
            await asyncio.wait_for(app.painted.wait(), wait)
        except TimeoutError:
            return last
        last = time.perf_counter() - start
        app.painted.clear()
        if not settle:
            return last


def apart(name: str, size: int, keys: int) -> dict[str, Any]:
    """One case in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--case", name, "--size", str(size), "--keys", str(keys)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{name} {size}: {done.stderr.strip().splitlines()[-1:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


MEASURES = ("first_paint_s", "key_p50_ms", "key_p95_ms", "jump_ms", "resize_ms", "memory_mb")


def ratios(found: list[dict[str, Any]]) -> dict[str, float]:
    """Peer / sekft at the same size, as PEER_SIZE_MEASURE."""
    out = {}
    for peer in found:
        mine = "sekft list" if peer["widget"] == "optionlist" else "sekft"
        if peer["widget"].startswith("sekft"):
            continue
        base = next(one for one in found if one["widget"] == mine and one["size"] == peer["size"])
        for measure_name in MEASURES:
            if peer[measure_name] is not None and base[measure_name]:
                least = max(base[measure_name], 0.1 if measure_name == "memory_mb" else 1e-6)
                key = f"{peer['widget']}_{peer['size']}_{measure_name.rsplit('_', 1)[0]}"
                out[key] = peer[measure_name] / least
    return out


def table(found: list[dict[str, Any]], compared: dict[str, float]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=100)
    shown = Table(box=None, header_style="bold", pad_edge=False)
    shown.add_column("widget")
    for title in (
        "tokens/rows", "first paint s", "key p50 ms", "key p95 ms", "jump ms", "resize ms", "MB",
    ):  # fmt: skip
        shown.add_column(title, justify="right")
    for one in found:
        figures = (one[name] for name in MEASURES)
        shown.add_row(
            one["widget"],
            f"{one['size']:,}",
            *("-" if figure is None else f"{figure:.3g}" for figure in figures),
        )
    console.print(shown)
    console.print("\npeer / sekft:", style="bold")
    for name, ratio in compared.items():
        console.print(f"  {name.replace('_', ' '):<44}{ratio:>10.1f}x")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--keys", type=int, default=60, help="keys pressed per case")
    parser.add_argument("--case", choices=list(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(asyncio.run(measure(options.case, options.size, options.keys))))
        return
    wanted = [(name, size) for size in TOKENS for name, most in MOST.items() if size <= most] + [
        ("sekft list", ROWS),
        ("optionlist", ROWS),
    ]
    found = []
    for name, size in wanted:
        if not options.json:
            with contextlib.suppress(BrokenPipeError):
                print(f"… {name} {size:,}", file=sys.stderr)
        found.append(apart(name, size, options.keys))
    result = {"size": SIZE, "cases": found, "ratios": ratios(found)}
    tell(result, lambda told: table(told["cases"], told["ratios"]), as_json=options.json)


if __name__ == "__main__":
    run_main(main)
