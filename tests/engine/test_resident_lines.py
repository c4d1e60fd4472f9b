"""The resident process: one load of the base, jobs in as lines, events out as lines."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.records.adapters import adapter_digest
from sekft_engine.records.runs import read_run
from sekft_engine.worlds import probe

RECIPE = {"rank": 4, "lr": 0.01, "batch": 4, "max_steps": 2, "heldout": 0.0}


class Resident:
    """The process, spoken to in dicts."""

    def __init__(self, *arguments: str) -> None:
        code = "import sys; from sekft_engine.cli.main import resident_main; resident_main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.seen: list[dict[str, Any]] = []

    def say(self, line: dict[str, Any] | bytes) -> None:
        assert self.process.stdin is not None
        data = line if isinstance(line, bytes) else json.dumps(line).encode()
        self.process.stdin.write(data + b"\n")
        self.process.stdin.flush()

    def hear(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.seen.append(json.loads(line))
            if wanted(self.seen[-1]):
                return self.seen[-1]
        raise AssertionError(f"it ended before that: {self.seen[-3:]}")

    def end_of(self, kind: str) -> dict[str, Any]:
        endings = ("JobDone", "JobFailed", "JobCancelled")
        return self.hear(lambda event: event["event"] in endings and event["kind"] == kind)

    def leave(self) -> int:
        """Close stdin and let the queue drain."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.seen += [json.loads(line) for line in self.process.stdout]
        return self.process.wait(timeout=120)

    def named(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.seen if one["event"] == event]


@pytest.fixture
def resident() -> Iterator[Callable[..., Resident]]:
    started: list[Resident] = []

    def start(*arguments: str) -> Resident:
        started.append(Resident(*arguments))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        for stream in (one.process.stdin, one.process.stdout):
            if stream is not None:
                stream.close()


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One scenario that any shell can host."""
    folder = tmp_path_factory.mktemp("scenarios")
    bundle = {
        "schema": 1,
        "id": "touch-1",
        "archetype": "touch",
        "difficulty": "1",
        "doc_depth": "help",
        "provider": {"name": "quill", "script": "#!/bin/sh\necho touch out\n"},
        "announcement": {"channel": "motd", "text": "ask quill"},
        "directives": "touch out",
        "fixtures": [],
        "checker": "test -e out",
        "reference_solution": ["quill", "touch out", "exit"],
        "terminal": "exit",
    }
    (folder / "touch-1.json").write_text(json.dumps(bundle))
    return folder


def train(base: Path, data: Path, out: Path, **changes: Any) -> dict[str, Any]:
    job = {"job": "train", "base": str(base), "data": str(data), "out": str(out)}
    return job | {"name": out.name, "recipe": RECIPE} | changes


def test_two_adapters_are_trained_and_swapped_on_one_load_of_the_base(
    resident: Callable[..., Resident], tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    one = resident("--base", str(tiny_base))
    one.say(train(tiny_base, sessions, tmp_path / "first"))
    one.say(train(tiny_base, sessions, tmp_path / "second"))
    one.say({"job": "swap", "name": "first"})
    one.say({"job": "drop", "name": "second"})
    one.say({"job": "attach", "path": str(tmp_path / "second"), "name": "again"})
    attached = one.end_of("attach")
    one.say({"job": "status"})
    status = one.end_of("status")["result"]
    assert one.leave() == 0
    assert len(one.named("BaseLoaded")) == 1
    assert one.named("JobFailed") == []
    assert len(one.named("AdapterSaved")) == 2
    assert attached["result"]["digest"] == adapter_digest(tmp_path / "second" / "adapter")
    assert set(status["resident"]["adapters"]) == {"first", "again"}
    assert status["resident"]["active"] == "again"


@pytest.mark.skipif(not any(one.ok for one in probe()), reason="no sandbox on this machine")
def test_a_train_then_eval_cycle_of_two_adapters_loads_the_base_once(
    resident: Callable[..., Resident],
    tiny_base: Path,
    sessions: Path,
    scenarios: Path,
    tmp_path: Path,
) -> None:
    one = resident()
    for name in ("first", "second"):
        one.say(train(tiny_base, sessions, tmp_path / name))
        one.say(
            {
                "job": "eval",
                "base": str(tiny_base),
                "scenarios": str(scenarios),
                "adapters": [name],
                "with_base": name == "first",
                "out": str(tmp_path / f"eval-{name}"),
                "n": 1,
                "step_cap": 2,
                "turn_tokens": 8,
            }
        )
    assert one.leave() == 0
    assert one.named("JobFailed") == []
    assert len(one.named("BaseLoaded")) == 1
    judged = [(event["subject"], event["scenario"]) for event in one.named("EpisodeDone")]
    assert len(judged) == 3
    assert {subject for subject, _ in judged} >= {"first", "second"}
    for name in ("first", "second"):
        assert read_run(tmp_path / f"eval-{name}").status == "done"


def test_what_is_no_job_is_answered_and_the_process_lives_on(
    resident: Callable[..., Resident],
) -> None:
    one = resident()
    lines = (
        b"not json",
        b'{"job":"dance"}',
        b'{"job":"swap","nmae":"x"}',
        b"\xff\xfe",
        b"[]",
        b"",
        b'{"job":"swap","name":"x"}',
    )
    for line in lines:
        one.say(line)
    one.say({"job": "status"})
    one.end_of("status")
    assert one.leave() == 0
    failed = one.named("JobFailed")
    assert len(failed) == 6
    assert all(event["exit_status"] == 2 for event in failed)
    assert sum("not a job" in event["error"] for event in failed) == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_what_runs_and_leaves(
    resident: Callable[..., Resident],
    tiny_base: Path,
    sessions: Path,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    one = resident()
    endless = RECIPE | {"max_steps": 0, "epochs": 5000}
    one.say(train(tiny_base, sessions, tmp_path / "run", recipe=endless))
    one.hear(lambda event: event["event"] == "StepDone" and event["step"] == 2)
    os.kill(one.process.pid, number)
    cancelled = one.end_of("train")
    assert cancelled["event"] == "JobCancelled"
    assert one.process.wait(timeout=120) == 130
    digest = adapter_digest(tmp_path / "run" / "adapter")
    assert cancelled["result"]["adapter_sha256"] == digest


def test_a_listener_that_leaves_does_not_lose_the_adapter(
    resident: Callable[..., Resident], tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    one = resident()
    endless = RECIPE | {"max_steps": 0, "epochs": 5000}
    one.say(train(tiny_base, sessions, tmp_path / "run", recipe=endless))
    one.hear(lambda event: event["event"] == "StepDone")
    assert one.process.stdout is not None
    one.process.stdout.close()
    assert one.process.wait(timeout=120) == 130
    assert read_run(tmp_path / "run").status == "stopped"
    assert adapter_digest(tmp_path / "run" / "adapter")


def test_a_base_that_changed_on_disk_or_is_another_is_loaded_anew(
    resident: Callable[..., Resident], tiny_base: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(tiny_base, tmp_path / "other"))
    one = resident()
    for base in (tiny_base, tiny_base, other, other):
        one.say({"job": "load", "base": str(base)})
        one.end_of("load")
    config = other / "config.json"
    config.write_text(config.read_text().replace("1e-06", "1e-05"))
    one.say({"job": "load", "base": str(other)})
    one.end_of("load")
    one.say({"job": "load", "base": "/no/such/base"})
    assert one.end_of("load")["event"] == "JobFailed"
    one.say({"job": "status"})
    assert one.end_of("status")["result"]["resident"]["base"] == str(other), "still there"
    assert one.leave() == 0
    assert [event["base"] for event in one.named("BaseLoaded")] == [
        str(tiny_base),
        str(other),
        str(other),
    ]


def sweep_table(folder: Path) -> Path:
    """A table of one recipe."""
    file = folder / "rates.toml"
    file.write_text(
        "[recipe]\nrank = 4\nbatch = 4\nmax_steps = 1\nheldout = 0.0\n[grid]\nlr = [0.01]\n"
    )
    return file


def test_jobs_of_every_kind_act_on_the_base_that_is_loaded_as_it_is_loaded(
    resident: Callable[..., Resident],
    tiny_base: Path,
    sessions: Path,
    scenarios: Path,
    tmp_path: Path,
) -> None:
    one = resident("--base", str(tiny_base), "--load-4bit")
    run = tmp_path / "run"
    acting = {"n": 1, "step_cap": 1, "turn_tokens": 2}
    lines: list[dict[str, Any]] = [
        {"job": "train", "data": str(sessions), "out": str(run), "recipe": RECIPE},
        {"job": "find_rate", "data": str(sessions), "recipe": RECIPE | {"max_steps": 3}},
        {"job": "sweep", "file": str(sweep_table(tmp_path)), "data": str(sessions)}
        | {"out": str(tmp_path / "sweep")},
        {"job": "measure_losses", "run": str(run), "n": 1},
        {"job": "attach", "path": str(run), "name": "again"},
        {"job": "swap", "name": "again"},
        {"job": "drop", "name": "again"},
        {"job": "export", "source": str(run), "kind": "adapter"}
        | {"target": str(tmp_path / "exported")},
        train(tiny_base, sessions, tmp_path / "both", load_4bit=True),
        {"job": "load", "base": str(tiny_base)},
    ]
    if any(backend.ok for backend in probe()):
        worlds = {"scenarios": str(scenarios), "out": str(tmp_path / "eval")}
        lines.append({"job": "eval", "adapters": [str(run)]} | worlds | acting)
    for line in lines:
        one.say(line)
    assert one.leave() == 0
    # No rate need be found among the random ones of a tiny model.
    failed = [event for event in one.named("JobFailed") if event["kind"] != "find_rate"]
    assert failed == []
    (loaded,) = one.named("BaseLoaded")
    assert loaded["dtype"] == "nf4"
    assert read_run(run).facts.base.load_4bit
    assert json.loads((run / "adapter" / "sekft.json").read_text())["load_4bit"] is True


def test_a_job_that_contradicts_what_is_resident_is_refused_with_both_values(
    resident: Callable[..., Resident], tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(tiny_base, tmp_path / "other"))
    one = resident("--base", str(tiny_base), "--load-4bit")
    one.say(train(tiny_base, sessions, tmp_path / "a", load_4bit=False))
    one.say(train(other, sessions, tmp_path / "b"))
    one.say({"job": "status"})
    one.end_of("load")
    first, second = one.end_of("train"), one.end_of("train")
    assert '"load_4bit" is false' in first["error"]
    assert '"load_4bit" true' in first["error"]
    assert str(other) in second["error"]
    assert str(tiny_base) in second["error"]
    for refused in (first, second):
        assert refused["exit_status"] == 2
        assert '{"job": "load"' in refused["mend"]
        assert "--" not in refused["error"]
    one.say({"job": "load", "base": str(other), "load_4bit": False})
    assert one.end_of("load")["result"]["quantised"] is False
    assert one.leave() == 0
    assert [event["quantised"] for event in one.named("BaseLoaded")] == [True, False]
    assert not (tmp_path / "a").exists()


def test_a_resident_without_its_base_leaves_at_once_and_says_so(
    resident: Callable[..., Resident], tmp_path: Path
) -> None:
    one = resident("--base", str(tmp_path / "nothing"))
    assert one.process.stdout is not None
    one.seen += [json.loads(line) for line in one.process.stdout]  # while stdin is still open
    assert one.process.wait(timeout=120) == 2
    (failed,) = one.named("JobFailed")
    assert str(tmp_path / "nothing") in failed["error"]


def test_messages_to_a_resident_name_fields_and_no_flags(
    resident: Callable[..., Resident], tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    one = resident("--base", str(tiny_base))
    one.end_of("load")
    for line in (
        train(tiny_base, sessions, tmp_path / "full"),
        {"job": "eval", "scenarios": str(tmp_path), "seeds": 3},
        {"job": "eval", "scenarios": str(tmp_path), "with_base": False},
    ):
        one.say(line)
    errors = [one.end_of(kind)["error"] for kind in ("train", "eval", "eval")]
    assert one.leave() == 0
    assert '"out"' in errors[0]
    assert '"seeds"' in errors[1]
    assert '"temperature"' in errors[1]
    assert '"adapters"' in errors[2]
    assert not any("--" in error for error in errors)
