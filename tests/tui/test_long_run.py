"""The workbench stays as small as it was, however long a run goes on."""

from __future__ import annotations

import gc
import itertools
import random
from collections.abc import Iterator

import msgspec
import psutil
import pytest

from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_tui.app import Workbench
from tests.tui.screen import until_shown
from tests.tui.scripted import ScriptedEngine, training, watched

#: Ten steps a second for an hour.
STEPS = 36_000
MIB = 1 << 20


def hour() -> Iterator[Event]:
    """A run of an hour with its steps, the state of the machine, and warnings."""
    yield from itertools.islice(training(STEPS), 4)
    dice = random.Random(3)
    kinds = (events.StepDone, events.MachineSeen)
    body = [event for event in watched(60) if isinstance(event, kinds)]
    some = list(zip(body[::2], body[1::2], strict=True))
    for step in range(1, STEPS + 1):
        done, seen = some[step % 50]
        yield msgspec.structs.replace(done, step=step, steps=STEPS)
        yield seen
        if step % 50 == 0:
            yield events.Log(job="train-1", level="warning", text=f"warning {dice.random()}")


@pytest.mark.slow
async def test_memory_is_flat_over_an_hour_of_steps(workspace: Workspace) -> None:
    engine = ScriptedEngine()
    app = Workbench(engine, workspace)
    used: list[int] = []
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("2")
        for number, event in enumerate(hour()):
            engine.say(event)
            if number % 200 == 0:
                await pilot.pause()
            if number % (STEPS // 4) == STEPS // 8:
                gc.collect()
                used.append(psutil.Process().memory_info().rss)
        await until_shown(pilot, f"{STEPS}")
    # What is kept of a step is some numbers of a curve.
    assert used[-1] - used[2] < 24 * MIB, [one // MIB for one in used]
