"""The workbench in a real terminal: its first paint, its answers to keys, and what it sends.

Each program runs in a pseudo-terminal of its own; every byte it writes is stamped when it arrives.
An answer is when what the key is to change is seen changed, not when any byte comes. At 80x24 and
160x48 the states are:

idle: a workspace with some sessions; the cursor of the list moves. How long it takes until the
    list has rows is measured, too: the frame is painted before.
browsing: a file of 100,000 trajectories, while they are still counted and certified; the same.
    It gets a hundred keys, and the first thirty of them are told by themselves, too.
train: the real base is trained on all cores in the same process; the chart changes its x axis.
attached: the same training in an engine of another process, which has the base already.
eval: the real base acts in real worlds in the same process; the cursor of the grid moves.
slow: idle, over a line of 20 kB/s that takes up everything at its near end, as SSH does. Keys are
    held for three seconds; what counts is how long the screen goes on changing after them.

Bytes per second are those that come without a key, but for browsing: there keys are pressed.

The peers are plain apps of Textual, see plain_apps.py: a line of text (first paint), an OptionList
with the 100,000 ids (first paint and keys), and a RichLog to which each event of the same training
is appended (keys and bytes); they are asked at the larger size. The figures at the top of the
document are those of the size that is worse; ``sizes`` has both.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any

from benchmarks.shared.console import Console
from benchmarks.shared.pseudo_terminal import ROOT, opened
from benchmarks.shared.report import arguments, p50_p95, run_main, tell
from benchmarks.shared.workbench_table import FIRST_KEYS, ratios, rounded, show
from benchmarks.sources import generate
from sekft_engine.bases import resolve_base
from sekft_engine.data.workspace import Workspace
from sekft_engine.factory import make

SIZES = ((80, 24), (160, 48))
SEKFT = "from sekft_engine.cli.main import main; main()"
#: The cursor stays within a screen, so that it is seen to move.
MOVES = ("j", "j", "j", "k", "j", "k", "k", "k")
FIRST = "1 Trajectories"
#: Keys pressed while browsing, in half a minute.
BROWSED = 100
#: An engine with a base imports for so long what a training needs.
READY_S = 4.0
#: What is shown while a first step is computed, and where a run may take long.
_BEGINS, _ASKS = ("the first step", "is in training"), "start this training run?"
#: From this width on a form stands to the left of what it sets up, so many columns wide.
WIDE, FORM = 110, 42


class Place:
    """A workspace, a large file, and the ways to open programs on them."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder = folder
        self.base = str(resolve_base(options.base))
        self.options = options
        self._sockets = {"XDG_RUNTIME_DIR": tempfile.mkdtemp(dir=folder)}
        self.file = folder / "many.jsonl"
        generate(self.file, options.rows)
        old = time.time() - 3600  # nobody is writing it any more
        os.utime(self.file, (old, old))
        make(Workspace(folder / "made").create().root, train=24, holdout=16, seed=0)

    @contextmanager
    def open(self, words: list[str], size: tuple[int, int], rate: int = 0) -> Iterator[Console]:
        kept = tempfile.mkdtemp(dir=self.folder)  # nothing is known from the time before
        state = {"XDG_STATE_HOME": kept, "SEKFT_CACHE": kept, **self._sockets}
        with opened(Console, words, cwd=self.folder, size=size, environ=state, rate=rate) as shown:
            yield shown

    @contextmanager
    def resident(self) -> Iterator[None]:
        """An engine in the background, with the base loaded."""
        self._sekft("resident", "--detach", "--base", self.base, "--workspace", self._made)
        try:
            while "no base" in self._sekft("resident", "status", "--workspace", self._made):
                time.sleep(0.5)
            time.sleep(READY_S)
            yield
        finally:
            self._sekft("resident", "stop", "--workspace", self._made)

    def _sekft(self, *words: str) -> str:
        command = [sys.executable, "-c", SEKFT, *words]
        environ = {**os.environ, "PYTHONPATH": str(ROOT), **self._sockets}
        return subprocess.run(command, env=environ, check=True, text=True, stdout=-1).stdout

    @property
    def _made(self) -> str:
        return str(self.folder / "made")

    def workbench(self, *words: str) -> list[str]:
        return ["-c", SEKFT, "tui", "--workspace", self._made, "--base", self.base, *words]

    def peer(self, *words: str) -> list[str]:
        return ["-m", "benchmarks.plain_apps", *words]


# --- what is measured ----------------------------------------------------------------------------


def first_paints(place: Place, size: tuple[int, int]) -> dict[str, float]:
    """Seconds from the start of the process to what it shows first, by the clock and of processor
    time; sekft and the minimal app in turn, the medians of several."""
    programs = {"sekft": (place.workbench(), FIRST), "minimal": (place.peer("minimal"), "ready")}
    found: dict[str, list[float]] = {}
    for _ in range(place.options.starts):
        for name, (words, text) in programs.items():
            with place.open(words, size) as shown:
                painted = shown.until_shown(text) - shown.began
                found.setdefault(f"{name}_cpu", []).append(shown.processor_s())
                found.setdefault(name, []).append(painted)
    return {name: statistics.median(times) for name, times in found.items()}


def answers_ms(
    shown: Console, names: tuple[str, ...], look: Callable[[Console], Any], presses: int
) -> list[float]:
    """How long ``presses`` keys took, each pressed after the one before was answered."""
    dice = random.Random(0)
    found = []
    for key in islice(cycle(names), presses):
        found.append(shown.answer_ms(key, look))
        time.sleep(dice.uniform(0.1, 0.3))  # not in step with what the program does by itself
    return found


def keys(
    shown: Console, names: tuple[str, ...], look: Callable[[Console], Any], presses: int
) -> dict[str, float]:
    """The median and the 95th percentile of :func:`answers_ms`, and the bytes meanwhile."""
    before, began = shown.received, time.perf_counter()
    p50, p95 = p50_p95(answers_ms(shown, names, look, presses))
    rate = (shown.received - before) / (time.perf_counter() - began)
    return {"key_p50_ms": p50, "key_p95_ms": p95, "bytes_per_s": rate}


def idle(place: Place, size: tuple[int, int]) -> dict[str, float]:
    with place.open(place.workbench(), size) as shown:
        rows = shown.until_shown("trajectories ·") - shown.began
        shown.until_shown("certified")
        shown.quiet()
        told = keys(shown, MOVES, Console.backgrounds, place.options.keys)
        shown.quiet()
        rate = shown.bytes_per_s(place.options.seconds)
        return told | {"bytes_per_s": rate, "first_rows_s": rows}


def browsing(place: Place, size: tuple[int, int]) -> dict[str, float]:
    """Also of the first keys by themselves, while the tokenizer is loaded."""
    with place.open(place.workbench("--data", str(place.file)), size) as shown:
        rows = shown.until_shown("count-0000000") - shown.began
        before, began = shown.received, time.perf_counter()
        found = answers_ms(shown, MOVES, Console.backgrounds, BROWSED)
        rate = (shown.received - before) / (time.perf_counter() - began)
        p50, p95 = p50_p95(found)
        return {
            "key_p50_ms": p50,
            "key_p95_ms": p95,
            "first_keys_p95_ms": p50_p95(found[:FIRST_KEYS])[1],
            "bytes_per_s": rate,
            "first_rows_s": rows,
        }


def slow_line(place: Place, size: tuple[int, int]) -> float:
    """Seconds from the last of many keys until the screen is still, over a slow line."""
    with place.open(place.workbench(), size, SLOW) as shown:
        shown.until_shown("certified")
        return _held(shown, MOVES)


def _held(shown: Console, keys: tuple[str, ...]) -> float:
    shown.settled_s()
    for key in islice(cycle(keys), 150):
        shown.type(key)
        time.sleep(0.02)
    return shown.settled_s()


def slow_option_list(place: Place, size: tuple[int, int]) -> float:
    """The peer of ``slow_line``."""
    with place.open(place.peer("list", str(place.file)), size, SLOW) as shown:
        shown.until_shown("count-0000000")
        return _held(shown, ("\x1b[B",))


def training(place: Place, size: tuple[int, int]) -> dict[str, float]:
    """Also how long it takes from ``s`` until the first step begins and is done, by the clock and
    of processor time, and in a second run."""
    return _training(place, place.workbench("--no-resident"), size)


def attached(place: Place, size: tuple[int, int]) -> dict[str, float]:
    """The same, where another process has the base and trains."""
    with place.resident():
        return _training(place, place.workbench("--attach"), size)


def _training(place: Place, words: list[str], size: tuple[int, int]) -> dict[str, float]:
    with place.open(words, size) as shown:
        shown.until_shown("certified")
        shown.type("2")
        shown.until_shown("max steps")
        first = _until_first_step(shown)
        rate = shown.bytes_per_s(place.options.seconds)
        told = keys(shown, ("a",), _labels, place.options.keys)
        _still(shown, "running")
        shown.type("x")
        shown.until_shown("stopped")
        again = _until_first_step(shown)
        later = {f"next_{name}": value for name, value in again.items()}
        return told | {"bytes_per_s": rate} | first | later


def _labels(shown: Console) -> str:
    """What stands below the chart's axis: steps, tokens or times."""
    lines = shown.text.splitlines()
    return next((below for line, below in pairwise(lines) if "└" in line), "")


def _until_first_step(shown: Console) -> dict[str, float]:
    began = time.perf_counter()
    before = shown.processor_s()
    shown.type("s")
    shown.until(lambda one: _ASKS in one.text or "running" in one.text, "a run")
    if _ASKS in shown.text:  # a slow machine, on which it may take long
        began = time.perf_counter()
        shown.type("y")
    begins = shown.until(lambda one: any(word in one.text for word in _BEGINS), "the first step")
    used = shown.processor_s() - before
    done = shown.until_shown("step 1/")
    return {
        "first_step_begins_s": begins - began,
        "first_step_begins_cpu_s": used,
        "first_step_s": done - began,
    }


def evaluating(place: Place, size: tuple[int, int]) -> dict[str, float]:
    column = 4 if size[0] < WIDE else FORM + 4
    with place.open(place.workbench(), size) as shown:
        shown.until_shown("certified")
        shown.type("3")
        shown.until_shown("turn tokens")
        shown.type("s")
        shown.until_shown("loading the base")  # until then the eval before it may be shown
        shown.until_shown("eval 0/")
        rate = shown.bytes_per_s(place.options.seconds)
        told = keys(shown, MOVES, lambda one: one.backgrounds(column), place.options.keys)
        _still(shown, "running")
        return told | {"bytes_per_s": rate}


def _still(shown: Console, state: str) -> None:
    if state not in shown.text:
        raise SystemExit(f"not {state} any more: give --keys less\n{shown.text}")


def richlog(place: Place, size: tuple[int, int]) -> dict[str, float]:
    """The peer of ``training``."""
    last = size[1] - 1
    with place.open(place.peer("log", str(place.folder / "made"), place.base), size) as shown:
        shown.until_shown("StepDone(")
        rate = shown.bytes_per_s(place.options.seconds)
        told = keys(shown, ("a",), lambda one: one.line(last), place.options.keys)
        return told | {"bytes_per_s": rate}


def option_list(place: Place, size: tuple[int, int]) -> dict[str, float]:
    """The peer of ``browsing``."""
    with place.open(place.peer("list", str(place.file)), size) as shown:
        rows = shown.until_shown("count-0000000") - shown.began
        shown.quiet()
        # It may have no line chosen yet.
        shown.type("\x1b[B")
        shown.quiet()
        down, up = "\x1b[B", "\x1b[A"
        moves = tuple(down if key == "j" else up for key in MOVES)
        told = keys(shown, moves, Console.backgrounds, place.options.keys)
        return told | {"first_rows_s": rows}


Way = Callable[[Place, tuple[int, int]], dict[str, float]]
STATES: dict[str, Way] = {
    "idle": idle,
    "browsing": browsing,
    "train": training,
    "attached": attached,
    "eval": evaluating,
}
PEERS: dict[str, Way] = {"OptionList": option_list, "RichLog": richlog}
#: Bytes per second of a slow line.
SLOW = 20_000
MEASURES = ("key_p50_ms", "key_p95_ms", "bytes_per_s")


# --- the report ----------------------------------------------------------------------------------


def measure(options: argparse.Namespace) -> dict[str, Any]:
    paints: dict[str, dict[str, float]] = {}
    states: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        place = Place(Path(folder), options)
        for size in SIZES:
            name = f"{size[0]}x{size[1]}"
            paints[name] = first_paints(place, size)
            states[name] = {}
            for state, way in (STATES | (PEERS if size == SIZES[-1] else {})).items():
                print(f"{name}: {state}", file=sys.stderr, flush=True)
                states[name][state] = way(place, size)
                print(f"  {rounded(states[name][state])}", file=sys.stderr, flush=True)
        slow = {
            "sekft": slow_line(place, SIZES[-1]),
            "OptionList": slow_option_list(place, SIZES[-1]),
        }
    return {
        "rows": options.rows,
        "slow_line_settled_s": slow,
        "ratio_optionlist_slow_line": round(slow["OptionList"] / max(0.05, slow["sekft"]), 2),
        "first_paint_s": max(one["sekft"] for one in paints.values()),
        **{
            what: {state: max(one[state][what] for one in states.values()) for state in STATES}
            for what in MEASURES
        },
        **ratios(paints[name], states[name]),
        "sizes": {name: {"first_paint_s": paints[name], "states": states[name]} for name in paints},
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--rows", type=int, default=100_000, help="trajectories to browse")
    parser.add_argument("--keys", type=int, default=30, help="pressed in each state")
    parser.add_argument("--seconds", type=float, default=10.0, help="of listening in each state")
    parser.add_argument("--starts", type=int, default=3, help="for each first paint")
    options = parser.parse_args()
    tell(measure(options), show, as_json=options.json)


if __name__ == "__main__":
    run_main(main)
