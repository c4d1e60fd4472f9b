"""What clients may ask over the socket, and what they are answered."""

from __future__ import annotations

import signal

import pytest

from sekft_engine.engine.queue import last_queue
from sekft_engine.engine.socket import protocol
from sekft_engine.engine.socket.client import Client, RequestFailed
from tests.engine.socket.conftest import Resident, Start, ended, hear, prepare, running, submit


def refused(client: Client, method: str, **params: object) -> RequestFailed:
    with pytest.raises(RequestFailed) as caught:
        client.call(method, **params)
    return caught.value


def test_the_server_greets_first_and_says_what_it_can_do(shared: Resident) -> None:
    with shared.client() as client:
        greeting = client.greeting
    assert greeting.protocol == protocol.PROTOCOL
    assert greeting.workspace == str(shared.place.root)
    assert greeting.pid == shared.process.pid
    assert set(greeting.methods) == set(protocol.METHODS)
    assert greeting.journal
    assert 0 <= greeting.first - 1 <= greeting.last


def test_the_greeting_says_since_when_it_is_busy_with_what(shared: Resident) -> None:
    with shared.client() as client:
        job = submit(client, "wait")
        running(client, job)
        with shared.client() as other:
            busy = other.greeting.busy
        client.call("cancel", job=job)
        assert ended(client, job)["event"] == "JobCancelled"
    assert busy is not None
    assert (busy.id, busy.kind, busy.label, busy.doing) == (job, "prepare", "wait", "waiting")
    assert busy.since > 0


def test_a_job_is_done_and_its_result_is_an_event(shared: Resident) -> None:
    with shared.client() as client:
        job = submit(client, "nothing")
        assert ended(client, job)["result"]["base"] == "nothing"
        failing = submit(client, "fail")
        assert ended(client, failing)["what"] == "it was asked to fail"


def test_the_same_key_is_the_same_job_also_to_the_next_engine(start: Start) -> None:
    one = start()
    with one.client() as client:
        first = client.call("submit", job=prepare("a"), key="once")
        again = client.call("submit", job=prepare("a"), key="once")
        other = refused(client, "submit", job=prepare("b"), key="once")
    assert (first["known"], again["known"]) == (False, True)
    assert first["job"] == again["job"]
    assert other.code == protocol.INVALID_PARAMS
    one.end(signal.SIGKILL)
    with start().client() as client:
        later = client.call("submit", job=prepare("a"), key="once")
        assert later["known"]
        assert later["job"] == first["job"]


def test_a_dry_run_checks_and_changes_nothing(shared: Resident) -> None:
    with shared.client() as client:
        before = client.call("status")["last"]
        answer = client.call("submit", job=prepare("a"), key="dry", dry_run=True)
        assert answer["dry_run"]
        assert answer["job"] == ""
        assert not client.call("submit", job=prepare("a"), key="dry", dry_run=True)["known"]
        refused(client, "submit", job={"job": "prepare", "nmae": "x"}, dry_run=True)
        assert client.call("status")["last"] == before


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("status", {"x": 1}),
        ("submit", {"job": {"job": "prepare", "base": "a"}, "dryrun": True}),
        ("submit", {"job": {"job": "prepare", "base": "a", "rank": 4}}),
        ("submit", {"job": {"job": "dance"}}),
        ("submit", {"job": {"job": "status"}}),
        ("submit", {"job": {"job": "prepare", "base": "a", "id": "mine"}}),
        ("submit", {"job": {"job": "prepare", "base": "a"}, "key": "a b"}),
        ("submit", {"job": {"job": "prepare", "base": "a"}, "key": "17"}),
        ("move", {"job": "a"}),
        ("pause", {"target": "a"}),
        ("adapters.attach", {"folder": "a"}),
        ("subscribe", {"after": -1}),
        ("subscribe", {"kinds": ["Nothing"]}),
        ("subscribe", {"what": ["all"]}),
        ("shutdown", {"after": "never"}),
    ],
)
def test_a_parameter_that_is_unknown_or_wrong_is_refused_before_anything_happens(
    shared: Resident, method: str, params: dict[str, object]
) -> None:
    with shared.client() as client:
        before = client.call("status")["last"]
        assert refused(client, method, **params).code == protocol.INVALID_PARAMS
        assert client.call("status")["last"] == before


def test_an_unknown_method_is_answered_with_those_there_are(shared: Resident) -> None:
    with shared.client() as client:
        answer = refused(client, "dance")
    assert answer.code == protocol.UNKNOWN_METHOD
    assert "stop_after_step" in (answer.mend or "")


def test_waiting_jobs_are_moved_held_released_and_taken_out(shared: Resident) -> None:
    with shared.client() as client:
        busy = submit(client, "wait")
        running(client, busy)
        jobs = [submit(client, f"job-{number}") for number in range(3)]

        def waiting() -> list[str]:
            return [entry["id"] for entry in client.call("queue")["waiting"]]

        assert waiting() == jobs
        assert client.call("move", job=jobs[2], by=-2) == {"moved": True}
        assert waiting() == [jobs[2], jobs[0], jobs[1]]
        assert client.call("pause", job=jobs[2]) == {"paused": True}
        assert client.call("status")["queued"][0]["held"] is True
        assert client.call("cancel", job=jobs[1]) == {"cancelled": True}
        assert waiting() == [jobs[2], jobs[0]]
        for method in ("move", "pause", "resume", "cancel", "stop_after_step"):
            more = {"by": 1} if method == "move" else {}
            assert refused(client, method, job="none", **more).code == protocol.REFUSED
        client.call("cancel", job=busy)
        ended(client, jobs[0])
        assert waiting() == [jobs[2]], "held"
        client.call("resume", job=jobs[2])
        assert ended(client, jobs[2])["event"] == "JobDone"


def test_a_running_job_is_paused_resumed_and_stopped_after_its_step(shared: Resident) -> None:
    with shared.client() as client:
        job = submit(client, "wait")
        running(client, job)
        client.call("subscribe")
        client.call("pause")
        hear(client, lambda one: one.params.get("event", {}).get("event") == "JobPaused")
        assert client.call("status")["state"] == "paused"
        client.call("resume")
        hear(client, lambda one: one.params.get("event", {}).get("event") == "JobResumed")
        assert client.call("status")["state"] == "busy"
        assert refused(client, "checkpoint").code == protocol.REFUSED, "it trains nothing"
        client.call("stop_after_step")
        assert ended(client, job)["detail"] == "after its step"
        assert refused(client, "stop_after_step").what == "no job runs"


def test_viewers_see_all_and_change_nothing(shared: Resident) -> None:
    with shared.client() as client, shared.client(viewer=True) as viewer:
        assert viewer.greeting.read_only
        assert set(viewer.greeting.methods) == {
            "hello", "status", "queue", "adapters.list", "subscribe", "unsubscribe", "detach",
        }  # fmt: skip
        for method, params in (
            ("submit", {"job": prepare("a")}),
            ("cancel", {}),
            ("shutdown", {}),
            ("adapters.detach", {"name": "a"}),
        ):
            assert refused(viewer, method, **params).code == protocol.READ_ONLY
        viewer.call("subscribe")
        job = submit(client, "seen")
        hear(viewer, lambda one: one.params.get("event", {}).get("job") == job)
        assert viewer.call("status")["clients"] >= 2
        assert viewer.call("adapters.list") == {"base": "", "adapters": {}, "active": None}


def test_detaching_ends_a_connection_and_nothing_else(shared: Resident) -> None:
    with shared.client() as client, shared.client() as other:
        job = submit(client, "wait")
        assert client.call("detach") == {}
        assert list(client.notifications()) == []
        running(other, job)
        other.call("cancel", job=job)
        ended(other, job)


def test_another_version_of_the_protocol_is_refused(shared: Resident) -> None:
    with shared.client() as client:
        assert client.call("hello", protocol=protocol.PROTOCOL) == {"protocol": protocol.PROTOCOL}
        answer = refused(client, "hello", protocol=99)
        assert answer.code == protocol.WRONG_PROTOCOL
        assert list(client.notifications()) == []


def test_shutdown_after_the_queue_finishes_it_and_takes_no_more(start: Start) -> None:
    one = start()
    with one.client() as client:
        busy = submit(client, "wait")
        running(client, busy)
        last = submit(client, "last")
        client.call("subscribe")
        client.call("shutdown", after="queue")
        assert refused(client, "submit", job=prepare("late")).code == protocol.CLOSING
        assert client.call("status")["state"] == "closing"
        client.call("stop_after_step")
        heard = list(client.notifications())
    ends = [
        one.params["event"]["job"]
        for one in heard
        if one.method == "event" and one.params["event"]["event"] in ("JobDone", "JobCancelled")
    ]
    assert ends == [busy, last]
    assert heard[-1].method == "bye"
    assert one.process.wait(120) == 0


def test_shutdown_after_the_step_stops_what_runs_and_tells_everyone(start: Start) -> None:
    one = start()
    with one.client() as client, one.client(viewer=True) as viewer:
        job = submit(client, "wait")
        running(client, job)
        viewer.call("subscribe")
        client.call("shutdown")
        heard = list(viewer.notifications())
    assert heard[-1].method == "bye"
    assert heard[-1].params["last"] == heard[-2].params["seq"]
    cancelled = [one for one in heard if one.params.get("event", {}).get("event") == "JobCancelled"]
    assert cancelled[0].params["event"]["detail"] == "after its step"
    assert one.process.wait(120) == 0
    assert last_queue(one.place.root / "engine.jsonl") is not None
