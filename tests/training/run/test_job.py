"""The train job and its command: a run on disk, an adapter that is of use however it ended."""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.core.errors import BadInput, JobFailed
from sekft_engine.data.recipe import Recipe
from sekft_engine.engine.engine import Engine
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records import events, jobs
from sekft_engine.records.adapters import adapter_digest, read_meta
from sekft_engine.records.events import Event
from sekft_engine.records.runs import read_events, read_run
from sekft_engine.training.run import session
from sekft_engine.training.run.checkpoint import newest_checkpoint
from sekft_engine.training.trainer import accumulate, loss
from sekft_engine.training.trainer.trainer import Trainer
from sekft_engine.work.context import Stopped
from tests.documents import document, run_document
from tests.training.conftest import RECIPE


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """One engine for all: the base is loaded once."""
    engine = Engine(nice=0).start()
    yield engine
    assert engine.close(timeout=60)


def job(base: Path, data: Path, out: Path, /, **changes: Any) -> jobs.Train:
    fields: dict[str, Any] = {"recipe": RECIPE, "base": str(base), "data": str(data)}
    return jobs.Train(out=str(out), **(fields | changes))


def with_recipe(**changes: Any) -> Recipe:
    return Recipe(**({name: getattr(RECIPE, name) for name in RECIPE.__struct_fields__} | changes))


def test_a_run_tells_its_whole_story(
    engine: Engine, tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    seen: list[Event] = []
    recipe = with_recipe(heldout_every=2, epochs=2)
    out = tmp_path / "run"
    result = run_document(
        job(tiny_base, sessions, out, recipe=recipe), None, seen.append, engine=engine
    )
    steps = [event for event in seen if isinstance(event, events.StepDone)]
    assert [step.step for step in steps] == list(range(1, 7))
    assert result["steps"] == 6 == steps[0].steps
    assert result["loss"]["first"] == steps[0].loss
    assert result["loss"]["last"] == steps[-1].loss
    assert steps[-1].eta_s == 0.0
    assert steps[-1].epoch == 2.0
    heldout = [event for event in seen if isinstance(event, events.HeldoutDone)]
    assert [event.step for event in heldout] == [2, 4, 6]
    assert result["loss"]["heldout"] == heldout[-1].loss
    assert result["trained_tokens"] == sum(step.trained_tokens for step in steps)
    info = read_run(out)
    assert (info.status, document(info.result)) == ("done", result)
    assert info.about["recipe"]["rank"] == RECIPE.rank
    assert read_events(info.events_path) == seen
    meta = read_meta(out / "adapter")
    assert meta is not None
    assert (meta.step, meta.run, meta.base_digest) == (
        6,
        "run",
        document(info.facts)["base"]["digest"],
    )
    assert set(meta.render) == {"tokenizer", "template", "normaliser"}
    assert meta.dialect["prompt"]
    assert result["adapter_sha256"] == adapter_digest(out / "adapter")
    assert result["resumed"] is False


def test_the_same_seed_gives_the_same_adapter(
    engine: Engine, tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    digests = {
        run_document(job(tiny_base, sessions, tmp_path / name), engine=engine)["adapter_sha256"]
        for name in ("one", "two")
    }
    assert len(digests) == 1


def test_two_adapters_are_trained_on_one_load_of_the_base(
    tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    seen: list[Event] = []
    engine = Engine(nice=0).start()
    engine.subscribe(seen.append)
    for name in ("one", "two"):
        run_document(job(tiny_base, sessions, tmp_path / name, name=name), engine=engine)
    facts = document(engine.status())["resident"]
    assert engine.close()
    assert len([event for event in seen if isinstance(event, events.BaseLoaded)]) == 1
    assert list(facts["adapters"]) == ["one", "two"]
    assert facts["active"] == "two"


def test_four_bits_train_on_the_cpu_and_the_adapter_serves_the_whole_base(
    tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    seen: list[Event] = []
    recipe = with_recipe(epochs=4)
    four_bit = job(tiny_base, sessions, tmp_path / "run", load_4bit=True, recipe=recipe)
    result = run_document(four_bit, None, seen.append)
    [loaded] = [event for event in seen if isinstance(event, events.BaseLoaded)]
    assert (loaded.quantised, loaded.dtype) == (True, "nf4")
    assert result["loss"]["last"] < result["loss"]["first"]
    assert document(read_run(tmp_path / "run").facts)["base"]["load_4bit"] is True
    ResidentBase.load(tiny_base).attach("trained-in-4-bits", tmp_path / "run")


def test_stopping_after_a_step_keeps_the_adapter(
    engine: Engine, tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, events.StepDone) and event.step == 2:
            engine.cancel(after_step=True)

    unsubscribe = engine.subscribe(stop)
    out = tmp_path / "run"
    with pytest.raises(Stopped, match="stopped after step 2; adapter saved") as caught:
        run_document(job(tiny_base, sessions, out, recipe=with_recipe(epochs=50)), engine=engine)
    unsubscribe()
    assert document(caught.value.result)["steps"] == 2
    assert read_run(out).status == "stopped"
    base = ResidentBase.load(tiny_base)
    assert base.attach("kept", out) == document(caught.value.result)["adapter_sha256"]


def test_a_checkpoint_is_written_when_it_is_asked_for_and_the_run_goes_on(
    engine: Engine, tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    answers: list[dict[str, Any]] = []
    there: list[int] = []

    def watch(event: Event) -> None:
        if isinstance(event, events.StepDone) and event.step == 1:
            engine.submit(jobs.Checkpoint())
        elif isinstance(event, events.StepDone) and event.step == 2:
            checkpoint = newest_checkpoint(out)
            there.append(checkpoint.counts.step if checkpoint else 0)
        elif isinstance(event, events.JobDone) and event.kind == "checkpoint":
            answers.append(document(event.result))

    unsubscribe = engine.subscribe(watch)
    result = run_document(job(tiny_base, sessions, out), engine=engine)
    assert Engine().checkpoint() is False, "nothing trains"
    unsubscribe()
    assert (answers, there, result["steps"]) == ([{"asked": True}], [1], 3)


def test_a_pause_holds_between_two_steps(
    engine: Engine, tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    held = threading.Event()

    def watch(event: Event) -> None:
        if isinstance(event, events.StepDone) and event.step == 1:
            engine.pause()
        if isinstance(event, events.JobPaused):
            held.set()

    def go_on() -> None:
        assert held.wait(60)
        engine.resume()

    unsubscribe = engine.subscribe(watch)
    waker = threading.Thread(target=go_on)
    waker.start()
    result = run_document(job(tiny_base, sessions, tmp_path / "run"), engine=engine)
    waker.join()
    unsubscribe()
    assert result["steps"] == 3


def test_a_run_that_diverges_keeps_its_last_good_adapter(
    engine: Engine,
    tiny_base: Path,
    sessions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, calls = loss.token_losses, itertools.count(1)

    def explode(*arguments: Any) -> Any:
        losses, owners = real(*arguments)
        return (losses * float("nan") if next(calls) == 8 else losses), owners

    monkeypatch.setattr(accumulate, "token_losses", explode)
    out = tmp_path / "run"
    # Two forward passes a step: the eighth is the second of step 4, so step 3's weights are the
    # ones that gave it, and step 2's the last that are known to be good.
    with pytest.raises(JobFailed, match="not finite at step 4, trajectory session-"):
        run_document(job(tiny_base, sessions, out, recipe=with_recipe(epochs=3)), engine=engine)
    info = read_run(out)
    assert info.status == "failed"
    assert "the adapter of step 2 is kept" in info.error
    journal = read_events(info.events_path)
    [sign] = [event for event in journal if isinstance(event, events.SignSeen)]
    assert (sign.step, sign.sign) == (4, "not finite")
    meta = read_meta(out / "adapter")
    assert meta is not None
    assert meta.step == 2
    ResidentBase.load(tiny_base).attach("kept", out)


def exploding(**changes: Any) -> Recipe:
    return with_recipe(lr=1e30, warmup=0.0, clip=0.0, epochs=3, **changes)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"max_steps": 1, "heldout": 0.0}, r"the loss after it is not finite at step 1, traj"),
        ({}, r"the loss is not finite at step 2, trajectory session-"),
    ],
)
def test_weights_that_give_no_loss_are_never_kept_not_even_those_of_the_last_step(
    engine: Engine,
    tiny_base: Path,
    sessions: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    line: str,
) -> None:
    out = tmp_path / "run"
    recipe = exploding(**changes)
    for resume in (False, True):  # what was left behind is no better
        with pytest.raises(JobFailed, match=f"{line}.*; no adapter"):
            run_document(job(tiny_base, sessions, out, recipe=recipe, resume=resume), engine=engine)
        assert read_run(out).status == "failed"
        assert not (out / "adapter").exists()
        assert newest_checkpoint(out) is None


@pytest.mark.parametrize("good", [0, 4])
def test_weights_whose_held_out_loss_is_not_finite_are_not_kept(
    engine: Engine,
    tiny_base: Path,
    sessions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    good: int,
) -> None:
    """They were saved before the measurement, which may take long; what is kept is of before."""
    last = good + 1
    real = Trainer.heldout_loss

    def measured(trainer: Trainer, *arguments: Any) -> tuple[float, int]:
        loss, tokens = real(trainer, *arguments)
        return (loss if trainer.done < last else float("nan")), tokens

    monkeypatch.setattr(Trainer, "heldout_loss", measured)
    out = tmp_path / "run"
    recipe = with_recipe(max_steps=last, epochs=3, heldout_every=2)
    with pytest.raises(JobFailed, match=f"the held-out loss is not finite at step {last}"):
        run_document(job(tiny_base, sessions, out, recipe=recipe), engine=engine)
    kept, checkpoint = read_meta(out / "adapter") if good else None, newest_checkpoint(out)
    assert (out / "adapter").exists() is bool(good)
    assert (kept.step if kept else 0) == good
    assert (checkpoint.counts.step if checkpoint else 0) <= good


def test_after_the_last_step_the_adapter_is_saved_before_it_is_measured_and_that_is_told(
    engine: Engine, tiny_base: Path, sessions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who leaves within the measurement, or is killed in it, loses no step."""
    whole = run_document(job(tiny_base, sessions, tmp_path / "whole"), engine=engine)
    out, found = tmp_path / "run", []
    seen: list[Event] = []
    real = Trainer.heldout_loss

    def left_within(trainer: Trainer, *arguments: Any) -> tuple[float, int]:
        meta, checkpoint = read_meta(out / "adapter"), newest_checkpoint(out)
        assert meta is not None
        assert checkpoint is not None
        found.append((meta.step, checkpoint.counts.step, trainer.done))
        if len(found) == 1:
            engine.cancel()
        return real(trainer, *arguments)

    monkeypatch.setattr(Trainer, "heldout_loss", left_within)
    with pytest.raises(Stopped, match="stopped after step 3; adapter saved"):
        run_document(job(tiny_base, sessions, out), engine=engine)
    resumed = run_document(
        job(tiny_base, sessions, out, resume=True), None, seen.append, engine=engine
    )
    assert found == [(3, 3, 3)] * 2
    assert (resumed["adapter_sha256"], resumed["loss"]) == (whole["adapter_sha256"], whole["loss"])
    told = [event for event in seen if isinstance(event, events.Progress)]
    assert ("measuring held-out loss", 0, 4) in [(one.label, one.done, one.total) for one in told]


def test_a_save_between_two_steps_keeps_no_weights_that_give_no_loss(
    engine: Engine, tiny_base: Path, sessions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SAVE_EVERY_STEPS", 1)
    out = tmp_path / "run"
    for resume in (False, True):
        with pytest.raises(JobFailed, match=r"after it is not finite at step 1.*no adapter"):
            run_document(
                job(tiny_base, sessions, out, recipe=exploding(), resume=resume), engine=engine
            )
        assert not (out / "adapter").exists()
        assert newest_checkpoint(out) is None


def test_a_run_that_is_short_of_memory_says_so_and_goes_on(
    engine: Engine,
    tiny_base: Path,
    sessions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = with_recipe(micro_batch=4, dropout=0.0)
    single = with_recipe(micro_batch=1, dropout=0.0)
    plain = run_document(job(tiny_base, sessions, tmp_path / "plain", recipe=single), engine=engine)
    real = loss.token_losses

    def cramped(logits: Any, rows: Any) -> Any:
        if len(rows) > 1:
            raise MemoryError
        return real(logits, rows)

    monkeypatch.setattr(accumulate, "token_losses", cramped)
    seen: list[Event] = []
    short = job(tiny_base, sessions, tmp_path / "short", recipe=recipe)
    result = run_document(short, None, seen.append, engine=engine)
    told = [event.text for event in seen if isinstance(event, events.Log)]
    assert told.count("memory was short: micro-batch is now 1") == 1
    assert result["adapter_sha256"] == plain["adapter_sha256"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"base": "/no/such/base"}, "no such base"),
        ({"data": "/no/such/data"}, "/no/such/data: no such file or folder"),
        ({"data": ""}, "no trajectories named"),
        ({"recipe": Recipe(max_length=16)}, "no trajectory can be trained on"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_written(
    engine: Engine,
    tiny_base: Path,
    sessions: Path,
    tmp_path: Path,
    change: dict[str, Any],
    line: str,
) -> None:
    with pytest.raises(BadInput, match=line):
        run_document(job(tiny_base, sessions, tmp_path / "run", **change), engine=engine)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_one_may_not_write_to_is_told_in_one_line(tiny_base: Path, sessions: Path) -> None:
    with tempfile.TemporaryDirectory() as locked:
        Path(locked).chmod(0o555)
        me = os.geteuid()
        if me == 0:  # root may write everywhere
            locked_out = "/proc/nowhere/run"
            wanted = r"/proc/nowhere.*no such file"
        else:
            locked_out, wanted = f"{locked}/run", "no permission"
        with pytest.raises(BadInput, match=wanted) as caught:
            run_document(job(tiny_base, sessions, Path(locked_out)))
    assert caught.value.exit_status == 2


def test_a_step_that_is_left_undone_keeps_what_was_done_before(
    engine: Engine,
    tiny_base: Path,
    sessions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, calls = loss.token_losses, itertools.count(1)

    def interrupted(*arguments: Any) -> Any:
        if next(calls) == 5:  # two forward passes a step: the first of step 3
            engine.cancel()
        return real(*arguments)

    monkeypatch.setattr(accumulate, "token_losses", interrupted)
    out = tmp_path / "run"
    with pytest.raises(Stopped, match="stopped after step 2; adapter saved") as caught:
        run_document(job(tiny_base, sessions, out), engine=engine)
    assert document(caught.value.result)["adapter_sha256"] == adapter_digest(out / "adapter")
