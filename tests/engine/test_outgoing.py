"""A reader of a resident process's lines that stalls costs no memory, and misses no ending."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.engine.outgoing import MOST_EVENTS, Outgoing
from sekft_engine.engine.server import serve_lines
from sekft_engine.records import events, jobs
from sekft_engine.records.results import PrepareResult
from sekft_engine.work.context import Context


def test_a_stalled_reader_is_kept_so_many_events_and_told_how_many_it_missed() -> None:
    outgoing = Outgoing(most=100)
    for number in range(1000):
        outgoing.put(events.Progress(job="a", label="x", done=number))
    outgoing.put(events.JobDone(job="a", kind="prepare", result={}))
    assert len(outgoing) == 101
    outgoing.close()
    heard = []
    while (event := outgoing.take()) is not None:
        heard.append(event)
    assert [e.done for e in heard if isinstance(e, events.Progress)] == list(range(100))
    assert sum(isinstance(event, events.JobDone) for event in heard) == 1
    (told,) = (event for event in heard if isinstance(event, events.Log))
    assert told.text.startswith("900 events were left out")


def test_the_engine_waits_for_no_reader_and_every_job_is_told_to_have_ended(
    tmp_path: Path,
) -> None:
    done = threading.Event()
    ended: list[str] = []

    def prepare(job: jobs.Prepare, context: Context) -> PrepareResult:
        for number in range(2 * MOST_EVENTS):
            context.progress("x", number)
        return PrepareResult(base=job.base)

    def note(event: events.Event) -> None:
        if isinstance(event, events.ENDINGS):
            ended.append(event.job)
            if len(ended) == 2:
                done.set()

    engine = Engine(Workspace(tmp_path).create(), nice=0, handlers={jobs.Prepare: prepare})
    engine.subscribe(note)
    engine.start()
    incoming, told = os.pipe()
    lines: list[dict[str, Any]] = []

    def write(line: bytes) -> None:
        assert done.wait(120), "the engine waited for the reader"
        lines.append(json.loads(line))

    os.write(told, b'{"job":"prepare","base":"a"}\n{"job":"prepare","base":"b"}\n')
    os.close(told)
    assert serve_lines(incoming, write, engine) == 0
    os.close(incoming)
    assert len(lines) < 1.5 * MOST_EVENTS
    assert [line["job"] for line in lines if line["event"] == "JobDone"] == ended
    assert any("events were left out" in line.get("text", "") for line in lines)
