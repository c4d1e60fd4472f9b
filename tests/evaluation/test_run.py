"""A whole eval through the engine: a tiny real model in real worlds, stored, told and resumable."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.cli.eval import EvalDisplay
from sekft_engine.cli.main import run as run_command
from sekft_engine.core.errors import SekftError
from sekft_engine.data.clock import Clock
from sekft_engine.data.recipe import Recipe
from sekft_engine.data.scenario import Scenario
from sekft_engine.engine.engine import Engine
from sekft_engine.engine.run_job import STOPPING
from sekft_engine.episodes.episode import FinishedEpisode
from sekft_engine.episodes.store import write_episode
from sekft_engine.evaluation import grid
from sekft_engine.model.device import Device
from sekft_engine.records import events, jobs
from sekft_engine.records.adapters import AdapterMeta
from sekft_engine.records.events import Event
from sekft_engine.records.resuming import resuming_job
from sekft_engine.records.runs import read_events, read_run
from sekft_engine.sources import load_trajectories
from sekft_engine.work.context import Stopped
from sekft_engine.work.residence import Residence
from tests.documents import document, run_document

CAPS: dict[str, Any] = {"step_cap": 2, "turn_tokens": 4}


@pytest.fixture(scope="module")
def adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained adapter for the tiny base, saved as training saves it."""
    from sekft_engine.model.resident import ResidentBase

    base = ResidentBase.load(tiny_base)
    base.new_adapter("fresh", Recipe(rank=2))
    folder = tmp_path_factory.mktemp("run") / "adapter"
    base.save_adapter("fresh", folder, AdapterMeta(base_digest=base.digest, render=base.render))
    return folder


@pytest.fixture
def bundles(tmp_path: Path, make_scenario: Callable[..., Scenario]) -> Path:
    folder = tmp_path / "holdout"
    folder.mkdir()
    for number in range(4):
        scenario = make_scenario(
            f"s{number}", ("copy", "merge")[number % 2], "exit" if number < 3 else "panic"
        )
        (folder / f"{scenario.id}.json").write_text(json.dumps(scenario.to_json()))
    return folder


def without_time(document: dict[str, Any]) -> dict[str, Any]:
    """The parts of a report that must not depend on when and how often it ran."""
    episodes = [
        {key: value for key, value in episode.items() if key != "seconds"}
        for episode in document["episodes"]
    ]
    return {"episodes": episodes, "subjects": document["subjects"]}


def test_base_and_adapter_meet_the_same_worlds_and_every_episode_is_kept(
    tiny_base: Path, adapter: Path, bundles: Path, tmp_path: Path
) -> None:
    seen: list[Event] = []
    job = jobs.Evaluate(
        base=str(tiny_base),
        adapters=(str(adapter.parent),),
        scenarios=str(bundles),
        n=3,
        out=str(tmp_path / "run"),
        **CAPS,
    )
    engine = Engine().start()
    try:
        report = run_document(job, on_event=seen.append, engine=engine)
        resident = engine.residence.base
        assert resident is not None
        assert resident.adapters == {}
        assert resident.active is None
    finally:
        engine.close()
    base, tuned = report["subjects"]
    assert base["name"] == "base"
    assert tuned["name"] == adapter.parent.name
    for subject in (base, tuned):
        assert subject["n"] == 3
        assert subject["invalid"] == 0
        assert set(subject["intervals"]) == {
            "operates",
            "terminates",
            "verified",
            "clean_termination",
            "clean",
        }
        assert sum(facts["n"] for facts in subject["by_archetype"].values()) == 3
        assert subject["intervals"]["terminates"] == [0.0, 0.5615]
    assert [episode["scenario"] for episode in report["episodes"][:3]] == [
        episode["scenario"] for episode in report["episodes"][3:]
    ]
    assert {episode["outcome"] for episode in report["episodes"]} == {"cap"}
    assert report["comparisons"][0]["pairs"] == 3
    assert "partial" not in report

    stored = load_trajectories(tmp_path / "run" / "episodes", keep_only=False).trajectories
    assert len(stored) == 6
    for trajectory in stored:
        commands = [turn for turn in trajectory.turns if turn.is_command]
        assert len(commands) == 2
        assert trajectory.steps == sum(turn.content != "" for turn in commands)
        assert all(turn.ids and turn.logprobs and turn.t is not None for turn in commands)
        assert trajectory.meta["expected"] in ("exit", "panic")
        assert len(trajectory.meta["scenario_digest"]) == 64
    assert read_run(tmp_path / "run").status == "done"
    # What it does between loading and its first episode takes longer than loading where the
    # machine is busy.
    started = next(n for n, one in enumerate(seen) if isinstance(one, events.EvalStarted))
    doing = [one.label for one in seen[:started] if isinstance(one, events.Progress)]
    assert doing[-2:] == ["attaching the adapters", "checking the decoding"]
    journal = read_events(tmp_path / "run" / "events.jsonl")
    assert [type(event) for event in seen if isinstance(event, events.EpisodeDone)] == [
        type(event) for event in journal if isinstance(event, events.EpisodeDone)
    ]
    kinds = [event.__class__.__name__ for event in journal]
    assert kinds.count("EpisodeStarted") == kinds.count("EpisodeDone") == 6
    assert kinds.count("TurnDone") == sum(len(trajectory.turns) for trajectory in stored)
    assert kinds.index("EvalStarted") < kinds.index("EpisodeStarted") < kinds.index("EpisodeDone")


def test_a_stopped_eval_goes_on_where_it_was_and_ends_as_if_never_stopped(
    tiny_base: Path, bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Device, "rows", 1)
    job = jobs.Evaluate(base=str(tiny_base), scenarios=str(bundles), n=4, **CAPS)
    whole = run_document(with_out(job, tmp_path / "whole"))

    engine = Engine().start()
    ended: list[Event] = []

    def stop_after_two(event: Event) -> None:
        ended.extend([event] if isinstance(event, events.EpisodeDone) else [])
        if len(ended) == 2:
            engine.cancel()

    part = with_out(job, tmp_path / "part")
    with pytest.raises(Stopped) as stopped:
        run_document(part, on_event=stop_after_two, engine=engine)
    assert len(document(stopped.value.result)["episodes"]) in (2, 3)
    assert read_run(tmp_path / "part").status == "stopped"
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "part/episodes").iterdir()}

    resumed = resuming_job(read_run(tmp_path / "part"))
    assert isinstance(resumed, jobs.Evaluate), "a run says by itself what it was asked for"
    assert resumed == with_out(job, tmp_path / "part", resume=True)
    told: list[events.EpisodeDone] = []

    def tell(event: Event) -> None:
        told.extend([event] if isinstance(event, events.EpisodeDone) else [])

    try:
        report = run_document(resumed, on_event=tell, engine=engine)
    finally:
        engine.close()
    assert without_time(report) == without_time(whole)
    assert [event.kept for event in told] == [True] * len(kept) + [False] * (4 - len(kept))
    assert len({event.scenario for event in told}) == 4
    for name, when in kept.items():
        assert (tmp_path / "part" / "episodes" / name).stat().st_mtime_ns == when
    with pytest.raises(SekftError, match="this run is done"):
        resuming_job(read_run(tmp_path / "part"))
    other = with_out(job, tmp_path / "part", resume=True, seed=7)
    with pytest.raises(SekftError, match="another eval"):
        run_document(other)


def test_an_eval_under_a_template_that_prints_the_time_has_one_clock(
    tiny_base_copy: Path, bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Device, "rows", 1)
    template = tiny_base_copy / "chat_template.jinja"
    line = "{{ '<|im_start|>system\nIt is ' + strftime_now('%H:%M:%S.%f') + '<|im_end|>\n' }}"
    template.write_text(line + template.read_text(encoding="utf-8"), encoding="utf-8")
    job = jobs.Evaluate(base=str(tiny_base_copy), scenarios=str(bundles), n=2, **CAPS)
    engine = Engine().start()
    said: list[str] = []

    def stop_after_one(event: Event) -> None:
        said.extend([event.text] if isinstance(event, events.Log) else [])
        if isinstance(event, events.EpisodeDone):
            engine.cancel()

    try:
        with pytest.raises(Stopped):
            run_document(with_out(job, tmp_path / "run"), on_event=stop_after_one, engine=engine)
        assert any("prints the date" in text for text in said)
        began = read_run(tmp_path / "run").about["clock"]
        # Another job has another clock; this eval goes on with its own.
        run_document(jobs.Load(base=str(tiny_base_copy)), engine=engine)
        base = engine.residence.base
        assert base is not None
        assert base.tokenizer.clock != Clock.read(began)
        report = run_document(with_out(job, tmp_path / "run", resume=True), engine=engine)
        assert base.tokenizer.clock == Clock.read(began)
    finally:
        engine.close()
    assert report["about"]["clock"] == began == read_run(tmp_path / "run").about["clock"]


def test_an_interrupted_eval_writes_the_report_of_what_there_is(
    tiny_base: Path,
    bundles: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Device, "rows", 1)
    show, write = EvalDisplay.show, write_episode
    asked = threading.Event()

    def interrupting(display: EvalDisplay, event: Event) -> None:
        """Ctrl-C when the first episode has ended."""
        show(display, event)
        if isinstance(event, events.EpisodeDone) and not asked.is_set():
            signal.raise_signal(signal.SIGINT)
        if isinstance(event, events.Log) and event.text == STOPPING:
            asked.set()

    def waiting(folder: Path, subject: str, finished: FinishedEpisode) -> Path:
        """No episode but the first ends before that was heard."""
        if list(folder.iterdir()):
            asked.wait(60)
        return write(folder, subject, finished)

    monkeypatch.setattr(EvalDisplay, "show", interrupting)
    monkeypatch.setattr(grid, "write_episode", waiting)
    arguments = ["eval", "--base", str(tiny_base), "--scenarios", str(bundles), "--n", "4"]
    arguments += ["--step-cap", "1", "--turn-tokens", "2", "--out", str(tmp_path / "run")]
    page = tmp_path / "page.html"
    assert run_command([*arguments, "--report", str(page)]) == 130
    result = document(read_run(tmp_path / "run").result)
    done = result["partial"]["episodes"]
    assert 1 <= done < 4
    told = f"PARTIAL: stopped after {done} of 4 episodes"
    assert told in capfd.readouterr().out
    assert told in page.read_text()


def test_what_is_wrong_with_the_folder_is_said_before_the_base_is_loaded(
    tiny_base: Path, adapter: Path, bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.Evaluate(base=str(tiny_base), scenarios=str(bundles), n=1, **CAPS)
    run_document(with_out(job, tmp_path / "run"))
    monkeypatch.setattr(Residence, "obtain", lambda *_: pytest.fail("the base was loaded"))
    with pytest.raises(SekftError, match="already there and not empty"):
        run_document(with_out(job, tmp_path / "run"))
    with pytest.raises(SekftError, match="nowhere to put the run"):
        run_document(job)
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({"seed": 7}, "its seed differs"),
        ({"adapters": (str(adapter),)}, "its models differ"),
        ({"step_cap": 3}, "its step cap differs"),
        ({"adapters": ("/nowhere",)}, "no such folder"),
        ({"with_base": False}, "nobody to evaluate"),
    ]
    for changes, message in wrongs:
        with pytest.raises(SekftError, match=message):
            run_document(with_out(job, tmp_path / "run", resume=True, **changes))


def with_out(job: jobs.Evaluate, out: Path, **changes: Any) -> jobs.Evaluate:
    import msgspec

    return msgspec.structs.replace(job, out=str(out), **changes)


def test_an_adapter_that_learnt_another_prompt_is_refused(
    tiny_base: Path, bundles: Path, tmp_path: Path
) -> None:
    from sekft_engine.model.resident import ResidentBase

    base = ResidentBase.load(tiny_base)
    base.new_adapter("other", Recipe(rank=2))
    meta = AdapterMeta(base_digest=base.digest, dialect={"name": "mine", "prompt": "> "})
    base.save_adapter("other", tmp_path / "other", meta)
    job = jobs.Evaluate(
        base=str(tiny_base),
        adapters=(str(tmp_path / "other"),),
        scenarios=str(bundles),
        n=1,
        out=str(tmp_path / "run"),
    )
    with pytest.raises(SekftError, match="trained at the prompt"):
        run_document(job)
    assert not (tmp_path / "run").exists()


def test_the_command_prints_one_document_or_a_table(
    tiny_base: Path, bundles: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["eval", "--base", str(tiny_base), "--scenarios", str(bundles), "--n", "2"]
    arguments += ["--step-cap", "1", "--turn-tokens", "3"]
    assert run_command([*arguments, "--out", str(tmp_path / "a"), "--json"]) == 0
    out, err = capfd.readouterr()
    document = json.loads(out)
    assert {"subjects", "episodes", "seconds"} <= set(document)
    assert {
        "id",
        "scenario",
        "subject",
        "steps",
        "outcome",
        "expected",
        "clean",
        "verified",
    } <= set(document["episodes"][0])
    assert "too few" in err  # what this n can show is said before the run
    assert run_command([*arguments, "--out", str(tmp_path / "b")]) == 0
    out, _ = capfd.readouterr()
    assert "clean termination" in out
    assert "[0.00, 0.66]" in out
    assert "merge" in out


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--n", "9"], "only 4 scenarios"),
        (["--sandbox", "none"], "unknown sandbox"),
        (["--no-base"], "nobody to evaluate"),
        (["--adapter", "/nowhere"], "/nowhere"),
        (["--scenarios", "/nowhere"], "/nowhere"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_one_line(
    wrong: list[str],
    message: str,
    tiny_base: Path,
    bundles: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments = ["eval", "--base", str(tiny_base), "--scenarios", str(bundles), "--n", "1", "-q"]
    assert run_command([*arguments, "--out", str(tmp_path / "run"), *wrong]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


# IMPORT
