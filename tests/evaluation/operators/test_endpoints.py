"""An eval on a fleet: episodes go on at another server where one is slow, broken or gone, and the
same trouble is not waited for twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.contract.http import client as http
from sekft_engine.contract.http.client import Client
from sekft_engine.core.errors import SekftError
from sekft_engine.data.scenario import Scenario
from sekft_engine.operators.endpoints import FIRST_BACKOFF_S, Fleet
from sekft_engine.records import jobs
from sekft_engine.records.events import Event, Log
from sekft_engine.records.runs import read_run
from tests.contract.servers import Answer, Body, ModelServer, Reply, error, models
from tests.documents import run_document

CHAT = "POST /v1/chat/completions"
Refuse = Callable[[int], Reply | None]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_FIRST_PAUSE", 0.01)


@pytest.fixture
def bundles(tmp_path: Path, make_scenario: Callable[..., Scenario]) -> Path:
    folder = tmp_path / "holdout"
    folder.mkdir()
    for number in range(2):
        scenario = make_scenario(f"s{number}")
        (folder / f"{scenario.id}.json").write_text(json.dumps(scenario.to_json()))
    return folder


def typist(lines: Sequence[str] = ("ls", "pwd", "exit"), refuse: Refuse = lambda _: None) -> Any:
    """A server whose model types ``lines``; ``refuse`` may answer the nth request otherwise."""
    asked: list[Body] = []

    def chat(body: Body) -> Reply | dict[str, Any]:
        asked.append(body)
        refusal = refuse(len(asked))
        if refusal is not None:
            return refusal
        said = lines[sum(message["role"] == "assistant" for message in body["messages"])]
        return {"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}

    routes: dict[str, Answer] = {CHAT: chat}
    return ModelServer(models("m") | routes)


class Fleets:
    """Runs evals on servers, and keeps what a person was told."""

    def __init__(self, bundles: Path, out: Path) -> None:
        self._bundles, self.out = bundles, out
        self.told: list[str] = []

    def run(self, *servers: ModelServer, **changes: Any) -> Any:
        fields: dict[str, Any] = {"n": 2, "step_cap": 6, "unchecked": True, "out": str(self.out)}
        urls = tuple(server.url for server in servers)
        job = jobs.Evaluate(
            base="", endpoints=urls, scenarios=str(self._bundles), **fields | changes
        )
        return run_document(job, on_event=self._heard)

    def warned(self, words: str) -> int:
        return sum(words in text for text in self.told)

    def _heard(self, event: Event) -> None:
        if isinstance(event, Log) and event.level == "warning":
            self.told.append(event.text)


@pytest.fixture
def fleets(bundles: Path, tmp_path: Path) -> Fleets:
    return Fleets(bundles, tmp_path / "run")


def counted(report: Any) -> tuple[int, int]:
    (subject,) = report["subjects"]
    return subject["n"], subject["invalid"]


def test_episodes_are_asked_for_side_by_side(fleets: Fleets) -> None:
    both = threading.Barrier(2)

    def together(number: int) -> None:
        if number <= 2:
            both.wait(60.0)  # raises, which ends the connection, where they come one by one

    with typist(refuse=together) as server:
        assert counted(fleets.run(server, concurrency=2)) == (2, 0)
        assert len(server.asked(CHAT)) == 2 * 3


def test_a_busy_and_a_stumbling_server_are_asked_again(fleets: Fleets) -> None:
    def stumbles(number: int) -> Reply | None:
        trouble = {1: error(429, "slow down", {"Retry-After": "0.1"}), 3: error(500, "oops")}
        return trouble.get(number)

    with typist(refuse=stumbles) as server:
        assert counted(fleets.run(server, concurrency=1)) == (2, 0)
        assert len(server.asked(CHAT)) == 2 * 3 + 2
    assert fleets.told == ["the servers' prompts are not compared with the training render"]


def test_a_server_that_hangs_is_waited_for_once_and_the_episode_goes_on_at_the_other(
    fleets: Fleets,
) -> None:
    left = threading.Event()

    def hangs(_: int) -> Reply:
        left.wait(60.0)
        return error(503, "too late")

    lines = ("ls", "pwd", "ls", "exit")
    with typist(refuse=hangs) as hung, typist(lines) as up:
        try:
            assert counted(fleets.run(hung, up, timeout=1.5)) == (2, 0)
        finally:
            left.set()
        assert len(hung.asked(CHAT)) == 1, "the other episode began at the other server"
        assert len(up.asked(CHAT)) == 2 * 4
    assert fleets.warned("no whole answer within 1.5 s") == 1
    assert fleets.warned("its episodes go on at the other servers") == 1


def test_a_server_that_dies_under_way_takes_no_episode_with_it(fleets: Fleets) -> None:
    def dies(number: int) -> Reply | None:
        return error(502, "bad gateway") if number > 1 else None

    with typist(refuse=dies) as dying, typist() as up:
        assert counted(fleets.run(dying, up)) == (2, 0)
        assert len(up.asked(CHAT)) == 5, "one episode came over after its first turn"
    assert fleets.warned("bad gateway") == 1


def test_what_one_server_refuses_is_no_reason_to_shun_it(fleets: Fleets) -> None:
    with typist(refuse=lambda _: error(400, "I take no system turn")) as picky, typist() as up:
        assert counted(fleets.run(picky, up)) == (2, 0)
    assert fleets.warned("go on at the other") == 0


@pytest.mark.parametrize("listed", [True, False], ids=["still listed", "not listed any more"])
def test_an_eval_is_gone_on_with_when_a_server_is_lost(fleets: Fleets, listed: bool) -> None:
    with typist() as up:
        with typist(refuse=lambda _: error(401, "no such key")) as other:
            assert counted(fleets.run(other, concurrency=1)) == (0, 2)
        members = (other, up) if listed else (up,)
        assert counted(fleets.run(*members, resume=True)) == (2, 0)
        assert fleets.warned("nothing listens there") == listed
        with pytest.raises(SekftError, match="its step cap differs"):
            fleets.run(up, resume=True, step_cap=5)
    assert read_run(fleets.out).status == "done"
    with pytest.raises(SekftError, match="nothing listens there"):
        fleets.run(other, up, resume=True)


def test_a_busy_server_is_left_alone_as_long_as_it_asks_within_reason() -> None:
    pauses: list[float] = []
    waits = iter(["40", "7200", "nonsense"])

    def busy(_: Body) -> Reply:
        return error(429, "slow", {"Retry-After": next(waits, "0")})

    with (
        ModelServer({"GET /x": busy}) as server,
        Client(server.url, patience=120.0, sleep=pauses.append) as asking,
    ):
        asking.get("/x")
    assert pauses[:2] == [40.0, 120.0]
    assert pauses[2] < 1, "its own pauses do not grow by what a server asked for"


@pytest.fixture
def clients() -> Iterator[list[Client]]:
    made = [Client(f"http://127.0.0.1:{port}") for port in (1, 2)]
    yield made
    for client in made:
        client.close()


def test_a_server_that_rested_is_tried_by_one_episode_before_others_come(
    clients: list[Client],
) -> None:
    now = 0.0
    fleet = Fleet(clients, clock=lambda: now)

    def first(episode: str) -> int:
        return clients.index(fleet.order(episode)[0].client)

    assert [first(name) for name in "abcd"] == [0, 1, 0, 1], "work is spread"
    bad, good = fleet.order("a")
    fleet.failed(bad, "it hangs")
    fleet.served("a", good)
    fleet.failed(bad, "it hangs")  # c waited too
    assert fleet.news() == ["it hangs; its episodes go on at the other servers"]
    assert first("a") == first("c") == first("e") == 1
    now = FIRST_BACKOFF_S
    assert [first(name) for name in "fgh"] == [0, 1, 1], "one tries it"
    fleet.failed(bad, "it still hangs")
    now += FIRST_BACKOFF_S
    assert first("i") == 1, "it rests longer now"
    now += FIRST_BACKOFF_S
    assert first("k") == 0
    fleet.served("k", bad)
    assert first("l") == 0
    assert fleet.news() == ["http://127.0.0.1:1: it answers again"]


def test_where_all_rest_they_are_asked_all_the_same(clients: list[Client]) -> None:
    fleet = Fleet(clients)
    for member in fleet.order("a"):
        fleet.failed(member, "it hangs")
    assert len(fleet.order("a")) == 2
    fleet.leave(["a"])
