"""Subscribers: cursors over the journals, slow readers, gauges."""

from __future__ import annotations

import json
import signal
from itertools import pairwise

import pytest

from sekft_engine.engine.socket.client import Client, Message, RequestFailed
from tests.engine.socket.conftest import Resident, Start, ended, event_of, hear, running, submit


def numbers(heard: list[Message]) -> list[int]:
    return [one.params["seq"] for one in heard if one.method == "event"]


def until_live(client: Client) -> list[Message]:
    return hear(client, lambda one: one.method == "live")


def test_the_backlog_comes_first_and_then_one_mark_and_then_what_happens(shared: Resident) -> None:
    with shared.client() as client:
        ended(client, submit(client, "emit:1500"))
        answer = client.call("subscribe", after=0)
        heard = until_live(client)
        assert answer["journal"] == client.greeting.journal
        assert numbers(heard) == list(range(1, heard[-1].params["seq"] + 1))
        assert len(heard) > 1500
        job = submit(client, "more")
        later = hear(client, lambda one: event_of(one, "JobDone", job))
        assert numbers(later)[0] == heard[-1].params["seq"] + 1
        assert all(after == before + 1 for before, after in pairwise(numbers(later)))
        assert not any(one.method == "live" for one in later), "it is said once"


def test_a_cursor_gives_what_came_after_it_and_none_what_comes_from_now_on(
    shared: Resident,
) -> None:
    with shared.client() as client:
        ended(client, submit(client, "emit:20"))
        last = client.call("status")["last"]
        client.call("subscribe", after=last - 5)
        assert numbers(until_live(client)) == list(range(last - 4, last + 1))
        client.call("subscribe")
        assert numbers(until_live(client)) == []
        with pytest.raises(RequestFailed, match="the last event is"):
            client.call("subscribe", after=last + 1000)


def test_an_event_is_the_line_of_its_journal(shared: Resident) -> None:
    with shared.client() as client:
        job = submit(client, "seen")
        ended(client, job)
        client.call("subscribe", after=0)
        heard = until_live(client)
    lines = (shared.place.root / "engine.jsonl").read_text().splitlines()
    assert [one.params["event"] for one in heard if one.method == "event"] == [
        json.loads(line) for line in lines
    ]


def test_a_cursor_of_another_journal_is_reset_and_begins_anew(shared: Resident) -> None:
    with shared.client() as client:
        ended(client, submit(client, "a"))
        client.call("subscribe", journal="another", after=3)
        heard = until_live(client)
    assert heard[0].method == "reset"
    assert heard[0].params["journal"] == client.greeting.journal
    assert numbers(heard)[0] == 1


def test_kinds_choose_events_and_the_cursor_moves_over_all(shared: Resident) -> None:
    with shared.client() as client:
        ended(client, submit(client, "emit:3000"))
        client.call("subscribe", after=0, kinds=["JobDone"])
        heard = until_live(client)
        kinds = {one.params["event"]["event"] for one in heard if one.method == "event"}
        assert kinds == {"JobDone"}
        assert heard[-1].params["seq"] == client.call("status")["last"]


def test_who_reads_slowly_is_told_and_reads_on_from_the_journal_without_loss(
    shared: Resident,
) -> None:
    events = 12_000  # more than a socket's buffer, the connection's and the tail in memory hold
    with shared.client() as slow, shared.client() as other:
        slow.call("subscribe")
        until_live(slow)
        start = other.call("status")["last"]
        job = submit(other, f"emit:{events}")
        ended(other, job)  # and all that time nobody reads the first one
        heard = hear(slow, lambda one: event_of(one, "JobDone", job))
        heard += until_live(slow)
    methods = [one.method for one in heard]
    assert "lagged" in methods
    assert methods.index("lagged") < methods.index("live")
    assert "lost" not in methods
    seen = numbers(heard)
    assert seen == list(range(start + 1, start + 1 + len(seen)))
    assert len(seen) > events


def test_gauges_are_the_newest_of_each_kind_for_who_cannot_follow(shared: Resident) -> None:
    with shared.client() as client, shared.client() as other:
        job = submit(other, "emit:4000")
        ended(other, job)
        client.call("subscribe", what=["gauges"])
        progress = hear(client, lambda one: one.params.get("name") == "Progress")[-1]
        assert progress.params["value"]["done"] == 3999
        again = submit(other, "emit:4000")
        ended(other, again)
        heard = hear(
            client,
            lambda one: one.params["name"] == "Progress" and one.params["value"]["done"] == 3999,
        )
        assert len(heard) < 4000, "many were passed over"


def test_a_cursor_stays_valid_when_the_engine_was_killed_and_started_again(start: Start) -> None:
    one = start()
    with one.client() as client:
        ended(client, submit(client, "emit:700", "first"))
        job = submit(client, "wait")
        running(client, job)
        journal, last = client.greeting.journal, client.call("status")["last"]
    one.end(signal.SIGKILL)
    two = start()
    with two.client() as client:
        assert client.greeting.journal == journal
        ended(client, submit(client, "emit:700", "second"))
        client.call("subscribe", journal=journal, after=last)
        later = until_live(client)
        client.call("subscribe", journal=journal, after=0)
        heard = until_live(client)
    assert numbers(later) == list(range(last + 1, heard[-1].params["seq"] + 1))
    assert numbers(heard) == list(range(1, heard[-1].params["seq"] + 1))
    assert sum(event_of(one, "Progress") for one in heard) == 1401


def test_a_lost_index_begins_another_journal(start: Start) -> None:
    one = start()
    with one.client() as client:
        ended(client, submit(client, "a"))
        journal = client.greeting.journal
    one.end()
    (one.place.root / "resident.index").unlink()
    with start().client() as client:
        assert client.greeting.journal != journal


def test_events_whose_journal_has_gone_are_told_to_be_lost(start: Start) -> None:
    one = start()
    with one.client() as client:
        ended(client, submit(client, "emit:6000"))  # the newest of them are in memory
        (one.place.root / "engine.jsonl").unlink()
        client.call("subscribe", after=0)
        heard = until_live(client)
    lost = [(one.params["first"], one.params["last"]) for one in heard if one.method == "lost"]
    gone = [number for first, last in lost for number in range(first, last + 1)]
    assert gone[0] == 1
    assert gone + numbers(heard) == list(range(1, heard[-1].params["seq"] + 1))
