"""An adapter has one name, that of its run or the one it was given, and a resumed run keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sekft_engine.cli.main import run as run_command
from sekft_engine.core.errors import BadInput
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.records import events, jobs
from sekft_engine.records.adapter_names import name_fault
from sekft_engine.records.adapters import adapter_digest
from sekft_engine.records.events import Event
from sekft_engine.records.resuming import resuming_job
from sekft_engine.records.runs import read_run
from sekft_engine.training.run.resume import completed
from sekft_engine.work.context import Stopped
from tests.documents import document, run_document
from tests.training.conftest import RECIPE


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """One engine for all: the base is loaded once."""
    engine = Engine(nice=0).start()
    yield engine
    assert engine.close(timeout=60)


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "place").create()


def job(base: Path, data: Path, **changes: Any) -> jobs.Train:
    recipe = msgspec.structs.replace(RECIPE, epochs=2, heldout=0.0, token_losses=0)
    return jobs.Train(base=str(base), data=str(data), recipe=recipe, **changes)


def stop_early(engine: Engine, asked: jobs.Train) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, events.StepDone) and event.step == 2:
            engine.cancel(after_step=True)

    unsubscribe = engine.subscribe(stop)
    try:
        with pytest.raises(Stopped):
            run_document(asked, engine=engine)
    finally:
        unsubscribe()


def on_base(engine: Engine) -> dict[str, str]:
    adapters: dict[str, str] = document(engine.status())["resident"]["adapters"]
    return adapters


@pytest.mark.parametrize("name", ["cat", ""])
def test_a_run_is_resumed_in_the_engine_that_stopped_it_and_replaces_its_adapter(
    engine: Engine, tiny_base: Path, sessions: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / f"run-{name or 'unnamed'}"
    called = name or out.name
    stop_early(engine, job(tiny_base, sessions, out=str(out), name=name))
    assert on_base(engine)[called] == adapter_digest(out / "adapter")
    before = set(on_base(engine))
    as_runs_does = completed(jobs.Train(base="", out=str(out), resume=True), None)
    result = run_document(as_runs_does, engine=engine)
    assert result["resumed"] is True
    assert result["name"] == called
    assert set(on_base(engine)) == before, "no second one beside it"
    assert on_base(engine)[called] == result["adapter_sha256"]
    engine.submit(jobs.Drop(name=called))


def test_the_name_of_another_runs_adapter_is_refused_before_the_data_is_read(
    engine: Engine, tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    run_document(job(tiny_base, sessions, out=str(tmp_path / "one"), name="dog"), engine=engine)
    seen: list[Event] = []
    second = job(tiny_base, sessions, out=str(tmp_path / "two"), name="dog")
    with pytest.raises(BadInput, match="dog: an adapter of this name is on the base"):
        run_document(second, None, seen.append, engine=engine)
    assert not (tmp_path / "two").exists()
    assert "reading the data" not in [getattr(event, "label", "") for event in seen]


def test_a_run_that_is_done_again_in_its_emptied_folder_replaces_its_adapter(
    engine: Engine, tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    asked = job(tiny_base, sessions, out=str(out), name="bird")
    first = run_document(asked, engine=engine)
    out.rename(tmp_path / "kept")
    second = run_document(asked, engine=engine)
    assert second["name"] == "bird"
    assert on_base(engine)["bird"] == second["adapter_sha256"] == first["adapter_sha256"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../../evil name", "and not '/'"),
        ("evil name", "and not a space"),
        (" cat", "and not a space"),
        ("c\x1bt", "and not '\u241b'"),
        ("kätzchen", "and not 'ä'"),
        (".cat", "begins with a letter or a digit, and not with '.'"),
        ("-cat", "begins with a letter or a digit, and not with '-'"),
        ("c" * 65, "at most 64 characters"),
    ],
)
def test_what_is_no_name_is_refused_by_the_command_with_the_reason(
    place: Workspace, capfd: pytest.CaptureFixture[str], name: str, why: str
) -> None:
    words = ["train", "--workspace", str(place.root), "--base", "nowhere", "--name", name]
    assert run_command(words) == 2
    said = capfd.readouterr().err
    assert "--name" in said
    assert why in said
    assert "choose another name" in said
    assert list(place.runs.iterdir()) == []


@pytest.mark.parametrize("name", ["cat", "smol-2.v3_b", "7", "A" * 64])
def test_usual_names_are_taken(name: str) -> None:
    assert name_fault(name) == ""


def test_the_id_of_a_run_holds_the_name_as_it_was_typed(
    engine: Engine, tiny_base: Path, sessions: Path, place: Workspace
) -> None:
    asked = job(tiny_base, sessions, out=str(place.runs / "001-train-x"), name="smol-2.v3_b")
    here = Engine(place, nice=0).start()
    try:
        result = run_document(msgspec.structs.replace(asked, out=""), engine=here)
    finally:
        assert here.close(timeout=60)
    assert result["run"] == "001-train-smol-2.v3_b"


def test_a_run_that_an_older_version_gave_another_name_is_read_and_resumed(
    engine: Engine, tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "older"
    stop_early(engine, job(tiny_base, sessions, out=str(out)))
    old = "../../evil name"
    text = (out / "run.json").read_text()
    (out / "run.json").write_text(text.replace('"name": ""', f'"name": "{old}"'))
    info = read_run(out)
    assert info.name == old
    resumed = resuming_job(info)
    assert isinstance(resumed, jobs.Train)
    result = run_document(msgspec.structs.replace(resumed, name=old), engine=engine)
    assert (result["resumed"], result["name"]) == (True, old)
