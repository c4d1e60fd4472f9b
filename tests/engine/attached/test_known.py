"""What is known of an engine in another process follows its events."""

from __future__ import annotations

from sekft_engine.engine.attached.known import Known
from sekft_engine.engine.socket.protocol import EngineStatus
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_engine.records.results import LoadResult


def adapters_after(*heard: Event) -> tuple[dict[str, str], str | None]:
    """The adapters on the base of an engine that had ``old`` when it was asked, and the active
    one."""
    known = Known()
    resident = LoadResult(base="b", digest="d", adapters={"old": "0"}, active="old")
    status = EngineStatus(
        state="idle", resident=resident, running=None, queued=[], journal="j", first=1, last=5
    )
    known.begin(status, events.QueueChanged(job="", running=None, waiting=[]))
    for seq, event in enumerate(heard, 6):
        known.take(seq, event)
    held = known.status().resident
    assert isinstance(held, LoadResult)
    return held.adapters, held.active


def test_a_trained_adapter_is_on_the_base_from_its_first_save_on() -> None:
    saved = [
        events.AdapterSaved(job="t", name="cat", path="/runs/1/adapter", digest=digest, step=1)
        for digest in "12"
    ]
    assert adapters_after(*saved) == ({"old": "0", "cat": "2"}, "cat")


def test_an_adapter_that_was_taken_from_the_base_leaves_its_name_free() -> None:
    came = events.AdapterAttached(job="e", name="dog", digest="3")
    gone = [events.AdapterDropped(job="e", name=name) for name in ("dog", "old", "unknown")]
    assert adapters_after(came, *gone) == ({}, None)


def test_another_base_has_no_adapters() -> None:
    loaded = events.BaseLoaded(
        job="l", base="c", digest="e", parameters=1, dtype="float32", device="cpu", seconds=0.0
    )
    assert adapters_after(loaded) == ({}, None)
