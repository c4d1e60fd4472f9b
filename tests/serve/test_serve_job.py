"""The job that opens a server: what it refuses, and that it then leaves the base as it was."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence

import pytest

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.records import events, jobs
from sekft_engine.records.results import LoadResult
from tests.engine.conftest import Listener
from tests.serve.test_on_resident import Hosting, adapters, chat, hosting, workspace

__all__ = ["adapters", "hosting", "workspace"]


@pytest.fixture
def engine(workspace: Workspace) -> Iterator[tuple[Engine, Listener]]:
    made = Engine(workspace, nice=0)
    listener = Listener(made)
    made.start()
    yield made, listener
    assert made.close(timeout=60)


def failed(engine: tuple[Engine, Listener], job: jobs.Serve) -> events.JobFailed:
    ending = engine[1].ending(engine[0].submit(job))
    assert isinstance(ending, events.JobFailed), ending
    return ending


def test_an_engine_serves_at_one_address(hosting: Callable[..., Hosting]) -> None:
    one = hosting()
    listener = Listener(one.engine)
    ending = listener.ending(one.engine.submit(jobs.Serve(base="tiny", port=0)))
    assert isinstance(ending, events.JobFailed)
    assert "this engine serves already" in ending.error
    assert "sekft serve --stop" in ending.error
    assert chat(one.url, "tiny")[0] == 200, "the server that was there goes on"


def test_a_key_that_is_none_opens_no_server(engine: tuple[Engine, Listener]) -> None:
    job = engine[0].submit(jobs.Serve(base="tiny", port=0, with_key=True))
    engine[1].wait(lambda event: event.job == job and isinstance(event, events.JobStarted))
    assert engine[0].tell(job, b'"no key"')
    ending = engine[1].ending(job)
    assert isinstance(ending, events.JobFailed)
    assert ending.what == "not a message with a key"
    assert not engine[1].of(events.ServerChanged)


def test_who_waits_for_a_key_can_be_stopped(engine: tuple[Engine, Listener]) -> None:
    job = engine[0].submit(jobs.Serve(base="tiny", port=0, with_key=True))
    engine[1].wait(lambda event: event.job == job and isinstance(event, events.JobStarted))
    assert engine[0].cancel(job)
    assert isinstance(engine[1].ending(job), events.JobCancelled)
    assert not engine[1].of(events.ServerChanged)


def test_where_another_program_listens_the_base_keeps_what_it_had(
    engine: tuple[Engine, Listener], adapters: Sequence[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = failed(engine, jobs.Serve(base="tiny", port=port, adapters=tuple(adapters)))
    assert str(port) in refused.error
    held = engine[0].status().resident
    assert isinstance(held, LoadResult)
    assert held.adapters == {}
    assert held.active is None
    opened = engine[1].ending(
        engine[0].submit(jobs.Serve(base="tiny", port=0, adapters=tuple(adapters)))
    )
    assert isinstance(opened, events.JobDone), "the same names are free again"
