"""From "evaluate this adapter" to its first token: on an engine in the background, and fresh."""

from __future__ import annotations

import queue
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.remote import RemoteEngine
from sekft_engine.engine.attached.where import Where
from sekft_engine.engine.socket.client import wait_until_gone
from sekft_engine.engine.socket.detach import start_detached
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event

#: What happens up to the first token, and the event that ends it.
PARTS: tuple[tuple[str, Callable[[Event], bool]], ...] = (
    ("job begins", lambda event: isinstance(event, events.JobStarted)),
    ("adapter is ready", lambda event: isinstance(event, events.EpisodeStarted)),
    (
        "world is open",
        lambda event: isinstance(event, events.TurnDone) and event.role != "assistant",
    ),
    ("first token", lambda event: isinstance(event, events.TurnDone) and event.role == "assistant"),
)
Eval = Callable[[Path, Path], jobs.Evaluate]


def first_tokens(
    place: Workspace, base: str, evaluate: Eval, adapters: list[Path], folder: Path, times: int
) -> dict[str, Any]:
    """Median seconds of each way: fresh, on a resident base with the adapter from its folder, and
    with the adapter on the base already. ``parts_ms`` says where those of the last two go.

    Args:
        place: the workspace; no engine is at work there.
        base: the base's folder.
        evaluate: makes the job, of the run's folder and the adapter's.
        adapters: are evaluated by turns.
        folder: takes the runs.
        times: evals of each way.
    """
    start_detached(place, ["--base", base])
    engine = RemoteEngine(Where(place)).start()
    try:
        took = [
            _resident(engine, evaluate(folder / f"first-{number}", adapters[number % 2]))
            for number in range(times + 1)
        ][1:]  # the first one imports what it needs
        for number, adapter in enumerate(adapters[:2]):
            _done(engine, jobs.Attach(path=str(adapter), name=f"on-{number}"))
        attached = [
            _resident(engine, evaluate(folder / f"on-{number}", Path(f"on-{number % 2}")))
            for number in range(times)
        ]
    finally:
        engine.shut_down()
        engine.close()
        wait_until_gone(place, 60.0)
    fresh = [
        _fresh(evaluate(folder / f"fresh-{number}", adapters[number % 2]))
        for number in range(times)
    ]
    slow, quick = statistics.median(fresh), {}
    for name, all_parts in (("resident", took), ("attached", attached)):
        seconds = statistics.median(sum(parts.values()) for parts in all_parts)
        quick[f"{name}_s"] = round(seconds, 3)
        quick[f"ratio_{name}"] = round(slow / seconds, 1)
    return {
        "fresh_s": round(slow, 2),
        **quick,
        "parts_ms": {
            name: [
                round(1000 * statistics.median(parts[name] for parts in all_parts), 1)
                for all_parts in (took, attached)
            ]
            for name, _ in PARTS
        },
    }


def _done(engine: RemoteEngine, job: jobs.Job) -> None:
    """Have a job done."""
    heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
    stop = engine.subscribe(heard.put)
    job_id = engine.submit(job)
    while not (isinstance(event := heard.get(), events.ENDINGS) and event.job == job_id):
        pass
    stop()
    if not isinstance(event, events.JobDone):
        raise SystemExit(f"it ended otherwise: {event}")


def _resident(engine: RemoteEngine, job: jobs.Evaluate) -> dict[str, float]:
    """Seconds of each part, as a client hears it."""
    heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
    stop = engine.subscribe(heard.put)
    last = time.perf_counter()
    job_id = engine.submit(job)
    parts: dict[str, float] = {}
    for name, ends in PARTS:
        while not ends(event := heard.get()):
            if event.job == job_id and isinstance(event, events.ENDINGS):
                raise SystemExit(f"it ended before that: {event}")
        now = time.perf_counter()
        parts[name], last = now - last, now
    while not (isinstance(event := heard.get(), events.ENDINGS) and event.job == job_id):
        pass
    stop()
    return parts


def _fresh(job: jobs.Evaluate) -> float:
    """Seconds of a process of its own, from its start."""
    words = [
        *("eval", "-v", "--no-base", "--base", job.base, "--adapter", job.adapters[0]),
        *("--scenarios", job.scenarios, "--n", str(job.n), "--out", job.out, "--no-resident"),
        *("--step-cap", str(job.step_cap), "--turn-tokens", str(job.turn_tokens)),
    ]
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "sekft_engine", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        told = ""
        took = 0.0
        for line in process.stderr:
            told += line
            if line.startswith("  ") and not took:  # a command that the model typed
                took = time.perf_counter() - began
    if not took:
        raise SystemExit(f"no token came: {told[-400:]}")
    return took


def one_token(job: jobs.Evaluate) -> jobs.Evaluate:
    """The eval in one world, of one command of one token."""
    return msgspec.structs.replace(job, n=1, step_cap=1, turn_tokens=1)
