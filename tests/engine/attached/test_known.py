"""What is known of an engine in another process follows its events."""

from __future__ import annotations

from sekft_engine.engine.attached.known import Known
from sekft_engine.engine.socket.protocol import EngineStatus
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_engine.records.results import LoadResult


def held_after(*heard: Event) -> LoadResult:
    """What an engine holds that had the adapter ``old`` when it was asked."""
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
    return held


def adapters_after(*heard: Event) -> tuple[dict[str, str], str | None]:
    """The adapters on its base then, and the active one."""
    held = held_after(*heard)
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


def test_an_adapter_with_another_name_on_the_base_is_called_as_its_run() -> None:
    path = "/place/runs/001-train-cat/adapter"
    saved = events.AdapterSaved(job="t", name="cat", path=path, digest="1", step=1)
    held = held_after(saved)
    assert (held.called("cat"), held.called("old")) == ("001-train-cat", "old")
    renamed = events.AdapterAttached(job="r", name="001-train-cat", digest="1", path=path)
    held = held_after(saved, events.AdapterDropped(job="r", name="cat"), renamed)
    assert held.called("001-train-cat") == "001-train-cat"
    assert held.runs == {}
