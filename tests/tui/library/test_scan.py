"""Passes over a data set: what is known of each trajectory, and work that gives way to keys."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import numpy as np

from sekft_engine.data.reasons import LINES
from sekft_tui.library.scan import Order, next_hit
from sekft_tui.library.statistics import histogram
from sekft_tui.library.verdicts import Verdicts
from sekft_tui.process.workers import Background, KeyPriority

DEADLINE_S = 60.0


def test_a_jump_passes_over_no_trajectory_that_nobody_looked_at() -> None:
    verdicts = Verdicts()
    for number in (0, 1, 2, 5):
        verdicts.put(number, 10, 1, "too_long" if number == 5 else "")
    wanted = verdicts.wanted(LINES)
    ahead = Order(None, 8, 0, 1)
    assert next_hit(ahead, verdicts.codes, wanted).state == "unknown"
    verdicts.put(3, 10, 1)
    verdicts.put(4, 0, 0, "no_command")
    assert next_hit(ahead, verdicts.codes, wanted).position == 5
    assert next_hit(ahead, verdicts.codes, verdicts.wanted()).position == 4
    assert next_hit(Order(None, 8, 0, -1), verdicts.codes, wanted).state == "unknown"
    shown = np.array([0, 1, 3], np.int32)
    assert next_hit(Order(shown, 8, 1, 1), verdicts.codes, wanted).state == "none"


def test_reasons_are_counted_while_new_ones_come() -> None:
    verdicts = Verdicts()
    stop = threading.Event()
    told: list[Exception] = []

    def count() -> None:
        while not stop.is_set():
            try:
                verdicts.dropped(500)
            except Exception as error:  # noqa: BLE001
                told.append(error)

    reader = threading.Thread(target=count)
    reader.start()
    for number in range(500):
        verdicts.put(number, 1, 1, f"reason {number % 300}")
    stop.set()
    reader.join()
    assert not told
    counts = verdicts.dropped(500)
    assert sum(counts.values()) == 500
    assert len(counts) == 254, "beyond, reasons share a name"


def test_bars_of_lengths_are_round_and_lose_nothing() -> None:
    for lengths in ([5], [1, 2, 3], list(range(100, 3000, 7)), [10, 1_000_000]):
        bars = histogram(np.array(sorted(lengths), np.int32))
        assert sum(bar.count for bar in bars) == len(lengths)
        assert len(bars) <= 10
        assert all(left.high == right.low for left, right in pairwise(bars))
        assert {str(bar.high - bar.low).rstrip("0") for bar in bars} <= {"1", "2", "5"}
    assert histogram(np.array([], np.int32)) == ()


def test_work_beside_the_screen_gives_way_to_keys_but_not_for_ever() -> None:
    key_priority = KeyPriority()
    steps: list[float] = []
    done = threading.Event()

    def step() -> float | None:
        steps.append(time.monotonic())
        if len(steps) == 3:
            done.set()
            return None
        return 0

    key_priority.key_pressed()
    began = time.monotonic()
    work = Background("test", step, failed=lambda _: None, key_priority=key_priority).start()
    while not done.wait(0.01):
        key_priority.key_pressed()  # a key that is held down
        assert time.monotonic() < began + DEADLINE_S
    work.stop()
    assert len(steps) == 3


def test_an_error_beside_the_screen_is_told_and_the_work_goes_on() -> None:
    told: list[Exception] = []
    again = threading.Event()

    def step() -> float | None:
        if not told:
            raise ValueError("once")
        again.set()
        return None

    work = Background("test", step, failed=told.append).start()
    while not told:
        time.sleep(0.005)
    work.wake()
    assert again.wait(DEADLINE_S)
    work.stop()
