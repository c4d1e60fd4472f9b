"""Redrawing a run of 100,000 steps: sekft's chart against plotext, and against a dot per point.

One frame of 160x40 cells, from the same numbers to lines of text with their colours. Times are of
the processor, medians of several frames, each drawn anew. The peers draw one curve without
smoothing; sekft draws the raw curve, the smoothed one over it, four more panels and the marks.

plotext: the terminal plotting library (pip install plotext), Braille markers, as it is.
plain: what one would write first: a loop that sets a dot for each point, without axes.

Then the same in the workbench itself: from a key to the end of the paint that it caused, with the
curve of 100,000 steps on the screen.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.shared.painted import Painted  # isort: skip - it sets what Textual reads

from textual.events import Key

from benchmarks.shared.report import arguments, p50_p95, run_main, tell
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.records import events
from sekft_tui.app import Workbench
from sekft_tui.model.runs.pinned import BesideRun
from sekft_tui.model.training import TrainView
from sekft_tui.panes.train import TrainPane
from sekft_tui.panes.train.plots import Smoother, board
from sekft_tui.widgets.chart.chart import Chart

STEPS = 100_000
WIDTH, HEIGHT = 160, 40
FRAME_MS = 1000 / 60


def run(steps: int, seed: int = 0) -> TrainView:
    """A run as its journal would tell it, with a spike of one step."""
    dice = random.Random(seed)
    train = TrainView(run=f"run-{seed}", path=f"/runs/run-{seed}")
    for step in range(1, steps + 1):
        loss = 3 * math.exp(-step / steps * 5) + 0.4 + dice.gauss(0, 0.1)
        train.apply(
            events.StepDone(
                job="", step=step, steps=steps, epoch=step / steps,
                loss=9.0 if step == steps // 3 else max(0.05, loss), lr=1e-3 * step / steps,
                grad_norm=1 + dice.random(), trained_tokens=500, tokens=4000, tokens_per_s=900.0,
                seconds=4.4, eta_s=0.0,
            )
        )  # fmt: skip
        if step % (steps // 50) == 0:
            train.apply(events.HeldoutDone(job="", step=step, loss=loss + 0.1, tokens=600))
    return train


# --- one frame ----------------------------------------------------------------------------------


def sekft(train: TrainView, others: list[BesideRun]) -> Callable[[], object]:
    """A frame after each new step of a run that goes on."""
    smoother = Smoother()
    chart = Chart(lambda view: board(train, others, view, smoother))

    def frame() -> object:
        last = train.last
        assert last is not None
        train.apply(msgspec.structs.replace(last, step=last.step + 1))
        return chart.lines(WIDTH, HEIGHT)

    return frame


def plotext(train: TrainView) -> Callable[[], object] | None:
    try:
        import plotext as plt  # type: ignore[import-not-found]
    except ImportError:
        return None
    xs, ys = train.column("step").tolist(), train.column("loss").tolist()

    def frame() -> object:
        plt.clear_figure()
        plt.plot_size(WIDTH, HEIGHT)
        plt.plot(xs, ys, marker="braille")
        return plt.build()

    return frame


def plain(train: TrainView) -> Callable[[], object]:
    xs, ys = train.column("step").tolist(), train.column("loss").tolist()
    bits = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))

    def frame() -> object:
        low, high = min(ys), max(ys)
        cells = [[0] * WIDTH for _ in range(HEIGHT)]
        for x, y in zip(xs, ys, strict=True):
            column = int((x - xs[0]) / (xs[-1] - xs[0]) * (2 * WIDTH - 1))
            row = int((high - y) / (high - low) * (4 * HEIGHT - 1))
            cells[row // 4][column // 2] |= bits[row % 4][column % 2]
        return ["".join(chr(0x2800 + cell) for cell in row) for row in cells]

    return frame


def milliseconds(frame: Callable[[], object], times: int) -> float:
    """Median of processor time per frame."""
    frame()
    found = []
    for _ in range(times):
        began = time.process_time()
        frame()
        found.append(1000 * (time.process_time() - began))
    return statistics.median(found)


# --- the whole workbench ------------------------------------------------------------------------


async def keys(train: TrainView, presses: int) -> dict[str, float]:
    """From a key to the end of its paint, in milliseconds: median and the worst of twenty."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = folder
        workspace = Workspace(Path(folder) / "workspace").create()
        app = Workbench(Engine(workspace), workspace)
        painted = Painted(app).event
        async with app.run_test(size=(WIDTH, 48)) as pilot:
            await app.action_pane("train")
            pane = app.query_one(TrainPane)
            pane.open_run(train)
            await pilot.pause(0.5)
            found = []
            for number in range(presses):
                painted.clear()
                began = time.perf_counter()
                app.post_message(Key("left" if number % 8 else "S", None))
                await asyncio.wait_for(painted.wait(), 10)
                found.append(1000 * (time.perf_counter() - began))
                await asyncio.sleep(0.02)
        p50, p95 = p50_p95(found)
        return {"p50": p50, "p95": p95}


def measure(steps: int, frames: int) -> dict[str, Any]:
    train = run(steps)
    others = [BesideRun(letter, n, letter, run(steps, n + 1)) for n, letter in enumerate("ABC")]
    cases: dict[str, float] = {
        "sekft": milliseconds(sekft(train, []), frames),
        "sekft, three runs more": milliseconds(sekft(train, others), frames),
    }
    peer = plotext(train)
    if peer is not None:
        cases["plotext"] = milliseconds(peer, max(3, frames // 8))
    cases["plain"] = milliseconds(plain(train), max(3, frames // 8))
    pressed = asyncio.run(keys(train, 64))
    return {
        "steps": steps,
        "size": [WIDTH, HEIGHT],
        "frame_ms": {name: round(value, 2) for name, value in cases.items()},
        "frames_of_60_hz": round(cases["sekft"] / FRAME_MS, 2),
        "ratio_plotext": round(cases["plotext"] / cases["sekft"], 1) if peer else None,
        "ratio_plain": round(cases["plain"] / cases["sekft"], 1),
        "key_p50_ms": round(pressed["p50"], 1),
        "key_p95_ms": round(pressed["p95"], 1),
    }


def show(result: dict[str, Any]) -> None:
    print(f"one frame of {WIDTH}x{HEIGHT} with {result['steps']:,} steps, ms of processor time")
    for name, value in result["frame_ms"].items():
        print(f"  {name:<26}{value:>9.1f}   {value / result['frame_ms']['sekft']:>6.1f}x")
    if result["ratio_plotext"] is None:
        print("  plotext is not installed: pip install plotext", file=sys.stderr)
    print(f"a key in the workbench: p50 {result['key_p50_ms']} ms, p95 {result['key_p95_ms']} ms")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--frames", type=int, default=40)
    options = parser.parse_args()
    tell(measure(options.steps, options.frames), show, as_json=options.json)


if __name__ == "__main__":
    run_main(main)
