"""``sekft serve`` on the base of a living engine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.cli.main import run
from sekft_engine.data.recipe import Recipe
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import JOURNAL, Engine
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from sekft_engine.records.journal import read_events
from tests.engine.socket.conftest import PATIENCE, REAL, Start, runtime, start
from tests.serve.conftest import save_adapters
from tests.training.sessions import write_sessions

__all__ = ["runtime", "start"]


@pytest.fixture
def workspace(tmp_path: Path, tiny_base: Path) -> Workspace:
    made = Workspace(tmp_path / "workspace").create()
    (made.bases / "tiny").symlink_to(tiny_base)
    return made


def asked(url: str, path: str, body: Any = None, key: str = "") -> tuple[int, Any]:
    """The status and the JSON of one request."""
    port = int(url.rpartition(":")[2].partition("/")[0])
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    connection.request("GET" if data is None else "POST", path, data, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text)


def chat(url: str, model: str, content: str = "$", key: str = "") -> tuple[int, Any]:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_tokens": 8,
        "return_token_ids": True,
    }
    return asked(url, "/v1/chat/completions", body, key)


@pytest.fixture(scope="module")
def adapters(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two adapters of the tiny base, as NAME=PATH."""
    return save_adapters(tiny_base, tmp_path_factory.mktemp("adapters"), 2)


class Serving:
    """``sekft serve`` as a process."""

    def __init__(self, place: Workspace, *more: str, key: str = "") -> None:
        environment = {name: os.environ[name] for name in os.environ if name != "SEKFT_API_KEY"}
        if key:
            environment["SEKFT_API_KEY"] = key
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "sekft_engine", "serve", "--port", "0"),
                *("--workspace", str(place.root), *more),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.url = ""

    def ready(self) -> str:
        """The line that says so; the address is known then."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found is not None, line or self.ended()
        self.url = found[0]
        return line

    def ended(self) -> tuple[int, str]:
        _, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, err


@pytest.fixture
def serve(workspace: Workspace) -> Iterator[Callable[..., Serving]]:
    all_of_them: list[Serving] = []

    def begin(*more: str, key: str = "") -> Serving:
        all_of_them.append(Serving(workspace, *more, key=key))
        return all_of_them[-1]

    yield begin
    for one in all_of_them:
        one.process.kill()
        one.process.communicate()


def loads(place: Workspace) -> int:
    journalled = read_events(place.root / JOURNAL)
    return sum(isinstance(event, events.BaseLoaded) for event in journalled)


def test_the_engine_serves_what_it_holds_as_a_server_with_a_base_of_its_own(
    start: Start, workspace: Workspace, serve: Callable[..., Serving], adapters: Sequence[str]
) -> None:
    one = start("--base", "tiny", module=REAL)
    given = ("--adapter", adapters[0], "--adapter", adapters[1])
    there, here = serve(*given), serve("--no-resident", *given)
    assert "serves tiny, a0, a1 (without a key)" in there.ready()
    here.ready()
    for model in ("tiny", "a0", "a1"):
        status, answer = chat(there.url, model)
        assert status == 200, answer
        assert answer["choices"] == chat(here.url, model)[1]["choices"]
    assert chat(there.url, "third")[0] == 404
    assert loads(workspace) == 1
    maps = Path(f"/proc/{there.process.pid}/maps").read_text()
    assert "libtorch" not in maps, "the base is in the engine alone"
    assert "libtorch" in Path(f"/proc/{one.process.pid}/maps").read_text()
    there.process.send_signal(signal.SIGINT)
    status, err = there.ended()
    assert (status, f"(pid {one.process.pid})" in err) == (0, True)
    with one.client() as client:
        assert client.call("adapters.list")["adapters"] == {}, "the base is as it was before"


def test_a_key_is_asked_for_and_is_in_no_journal(
    start: Start, workspace: Workspace, serve: Callable[..., Serving]
) -> None:
    start("--base", "tiny", module=REAL)
    one = serve(key="open-sesame-17")
    assert "(with a key)" in one.ready()
    assert chat(one.url, "tiny")[0] == 401
    assert chat(one.url, "tiny", key="open-sesame-17")[0] == 200
    for path in workspace.root.rglob("*"):
        assert not path.is_file() or b"open-sesame-17" not in path.read_bytes(), path


def test_a_server_in_the_background_outlives_its_command_and_is_closed_by_another_one(
    start: Start, workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    start("--base", "tiny", module=REAL)
    where = ("--workspace", str(workspace.root))
    assert run(["serve", "--detach", "--port", "0", *where]) == 0
    out = capfd.readouterr().out
    found = re.search(r"http://\S+", out)
    assert found is not None
    assert chat(found[0], "tiny")[0] == 200
    assert run(["resident", "status", *where]) == 0
    assert f"serves at {found[0]}" in capfd.readouterr().out
    assert run(["serve", "--detach", "--port", "0", *where]) == 2
    assert "this engine serves already" in capfd.readouterr().err
    assert run(["serve", "--stop", *where]) == 0
    assert run(["serve", "--stop", *where]) in (0, 2), "it may not have closed yet"


def test_without_an_engine_nothing_is_served_in_the_background(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", "--detach", "--workspace", str(workspace.root)]) == 2
    assert "sekft resident --detach" in capfd.readouterr().err


def losses(run: Path) -> list[float]:
    journalled = read_events(run / "events.jsonl")
    return [event.loss for event in journalled if isinstance(event, events.StepDone)]


# --- between the steps of jobs, in one process ----------------------------------------------------


class Hosting:
    """An engine that serves."""

    def __init__(self, place: Workspace, *adapters: str) -> None:
        self.engine = Engine(place, nice=0)
        self.events: list[Event] = []
        self._arrived = threading.Condition()
        self.engine.subscribe(self._take)
        self.engine.start()
        job = self.engine.submit(jobs.Serve(base="tiny", port=0, adapters=adapters))
        self.ending(job)
        (opened,) = [e for e in self.events if isinstance(e, events.ServerChanged)]
        self.url = opened.url

    def _take(self, event: Event) -> None:
        with self._arrived:
            self.events.append(event)
            self._arrived.notify_all()

    def wait(self, true: Callable[[], object]) -> None:
        with self._arrived:
            assert self._arrived.wait_for(lambda: bool(true()), PATIENCE)

    def of(self, job: str, *kinds: type[Event]) -> list[Event]:
        return [e for e in self.events if e.job == job and isinstance(e, kinds)]

    def ending(self, job: str) -> Event:
        self.wait(lambda: self.of(job, *events.ENDINGS))
        (ending,) = self.of(job, *events.ENDINGS)
        assert isinstance(ending, events.JobDone | events.JobCancelled), ending
        return ending


@pytest.fixture
def hosting(workspace: Workspace) -> Iterator[Callable[..., Hosting]]:
    made: list[Hosting] = []

    def begin(*adapters: str) -> Hosting:
        made.append(Hosting(workspace, *adapters))
        return made[-1]

    yield begin
    for one in made:
        assert one.engine.close(timeout=PATIENCE)


def test_requests_are_answered_while_a_model_trains_and_the_training_is_the_same(
    workspace: Workspace, tmp_path: Path, hosting: Callable[..., Hosting]
) -> None:
    data = write_sessions(tmp_path / "trajectories", 6)
    recipe = Recipe(max_steps=6, heldout=0.0, batch=2, dropout=0.1)
    train = jobs.Train(base="tiny", data=str(data), recipe=recipe)
    alone = Engine(workspace, nice=0).start()
    done = threading.Event()
    alone.subscribe(lambda event: done.set() if isinstance(event, events.ENDINGS) else None)
    alone.submit(train)
    assert done.wait(PATIENCE)
    assert alone.close(timeout=PATIENCE)
    one = hosting()
    before = chat(one.url, "tiny")[1]["choices"]
    job = one.engine.submit(train)
    one.wait(lambda: one.of(job, events.StepDone))
    answers, health = [], []
    while not one.of(job, *events.ENDINGS):
        answers.append(chat(one.url, "tiny")[1]["choices"])
        health.append(asked(one.url, "/health")[1])
    one.ending(job)
    assert answers[0] == before
    assert {"busy"} <= {told["status"] for told in health}
    assert job in {told.get("job") for told in health}
    first, second = sorted(workspace.runs.glob("*-train"))
    losses = [
        [
            event.loss
            for event in read_events(run / "events.jsonl")
            if isinstance(event, events.StepDone)
        ]
        for run in (first, second)
    ]
    assert losses[0] == losses[1]
    weights = "adapter/adapter_model.safetensors"
    assert (first / weights).read_bytes() == (second / weights).read_bytes()
    assert asked(one.url, "/health")[1] == {"status": "ready", "running": 0, "waiting": 0}


def test_a_paused_job_leaves_the_base_to_the_server(
    workspace: Workspace, tmp_path: Path, hosting: Callable[..., Hosting]
) -> None:
    data = write_sessions(tmp_path / "trajectories", 6)
    one = hosting()
    job = one.engine.submit(
        jobs.Train(base="tiny", data=str(data), recipe=Recipe(max_steps=400, heldout=0.0))
    )
    one.wait(lambda: one.of(job, events.StepDone))
    one.engine.pause(job)
    one.wait(lambda: one.of(job, events.JobPaused))
    assert [chat(one.url, "tiny", f"{n} $")[0] for n in range(3)] == [200] * 3
    one.engine.resume(job)
    one.wait(lambda: one.of(job, events.JobResumed))
    one.engine.cancel(job)
    one.ending(job)


def test_an_adapter_that_is_taken_from_the_base_ends_the_server_and_the_base_answers_for_nobody(
    hosting: Callable[..., Hosting], adapters: Sequence[str]
) -> None:
    one = hosting(adapters[0])
    assert chat(one.url, "a0")[0] == 200
    one.ending(one.engine.submit(jobs.Drop(name="serve:a0")))
    status, answer = chat(one.url, "a0")
    assert status in (500, 503), answer
    one.wait(lambda: [e for e in one.events if isinstance(e, events.ServerChanged) and not e.url])
    (closed,) = [e for e in one.events if isinstance(e, events.ServerChanged) and not e.url]
    assert "a0 was taken from the base" in closed.why


def test_an_eval_beside_the_server_keeps_its_names_and_takes_nothing_from_it(
    workspace: Workspace,
    hosting: Callable[..., Hosting],
    adapters: Sequence[str],
    make_scenario: Callable[..., Any],
) -> None:
    text = json.dumps(make_scenario().to_json())
    (workspace.holdout_scenarios / "copy-1.json").write_text(text)
    one = hosting(adapters[0])
    job = one.engine.submit(
        jobs.Evaluate(
            base="tiny",
            adapters=(adapters[0].partition("=")[2],),
            with_base=False,
            scenarios=str(workspace.holdout_scenarios),
            n=1,
            step_cap=2,
            turn_tokens=4,
        )
    )
    one.ending(job)
    (began,) = one.of(job, events.EvalStarted)
    assert isinstance(began, events.EvalStarted)
    assert began.subjects == ["a0"]
    assert chat(one.url, "a0")[0] == 200
