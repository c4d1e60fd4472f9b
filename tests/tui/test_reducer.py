"""What the screen shows is what the journal adds up to, live or from disk."""

from __future__ import annotations

import math
import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_tui.leaving import broken_off
from sekft_tui.model.job_text import engine_text, state_text
from sekft_tui.model.reducer import Shared, reduce, replayed, stop_asked
from sekft_tui.model.series import Series, ema
from sekft_tui.model.training import Mark
from tests.tui.scripted import evaluation, training, verdict

SCRIPT: list[Event] = [
    events.JobQueued(job="train-1", kind="train"),
    *training(steps=12),
    *evaluation({"base": ["prose", "cap", "run"], "0001-train": ["good", "invalid"]}, 3),
]


def test_a_training_run_becomes_a_curve_and_its_figures() -> None:
    shared = replayed(list(training(steps=30)))
    assert shared.train.column("step").tolist() == list(range(1, 31))
    assert shared.train.last is not None
    assert shared.train.column("loss")[-1] == shared.train.last.loss
    assert shared.train.heldout.view()[0].tolist() == [10, 20, 30]
    assert shared.train.adapter == "/runs/0001-train/adapter"
    assert shared.jobs["train-1"].status == "done"
    assert shared.active is None


def test_a_base_is_not_said_to_be_loading_after_it_was_loaded() -> None:
    """The eval prepares for a minute then: the last word about loading stood all that time."""
    shared = Shared()
    reduce(shared, events.JobStarted(job="eval-1", kind="eval"))
    loading = events.Progress(job="eval-1", label="loading the base", done=269, total=270, left=0.1)
    reduce(shared, loading)
    reduce(shared, events.BaseLoaded(
        job="eval-1", base="/b", digest="d", parameters=1, dtype="float32", device="cpu",
        seconds=3.7, memory=4, threads=1,
    ))  # fmt: skip
    assert shared.jobs["eval-1"].progress is None
    reduce(shared, events.Progress(job="eval-1", label="checking the decoding", done=0))
    assert engine_text(shared)[0] == "▸ eval checking the decoding"
    reduce(shared, events.EvalStarted(
        job="eval-1", subjects=["base"], scenarios=["one"], archetypes=["touch"]
    ))  # fmt: skip
    assert shared.jobs["eval-1"].progress is None, "it acts now"
    assert engine_text(shared)[0] == "▸ eval 0/1"


def test_episodes_in_play_in_an_engine_that_is_gone_are_named_as_not_on_disk() -> None:
    shared = replayed(list(evaluation({"base": ["good", "run", "run"]}, 3)))
    told = ["Not on disk: 2 episodes in play; resuming does that again."]
    assert broken_off(shared, "eval-1") == told
    gone = f"{events.ENGINE_ENDED}: its process is gone"
    reduce(shared, events.JobFailed(job="eval-1", kind="eval", error=gone, what=gone))
    assert broken_off(shared, "eval-1") == told
    assert broken_off(shared, "") == []
    assert state_text(shared.jobs["eval-1"], loaded=True)[0] == "† died"
    reduce(shared, events.JobFailed(job="new", kind="eval", error=gone, what=gone))
    assert state_text(shared.jobs["new"], loaded=False)[0] == "✗ failed", "it had not begun"


def test_an_eval_becomes_a_grid_and_counts_only_what_is_valid() -> None:
    shared = replayed(
        list(evaluation({"base": ["prose", "run"], "a": ["good", "invalid", "wrong"]}, 3))
    )
    view = shared.eval
    assert view.cell("base", "tidy-000").verdict is not None
    assert view.cell("base", "count-001").status == "running"
    assert view.cell("base", "count-001").turns == 8
    assert view.cell("base", "merge-002").status == "waiting"
    tally = view.tally("a")
    assert (tally.n, tally.invalid, view.done) == (2, 1, 4)
    assert tally.counts["terminates"] == 2
    assert shared.active is not None
    assert shared.active.kind == "eval"


def test_a_cancelled_eval_shows_no_episode_as_running() -> None:
    script = [*evaluation({"base": ["good", "run"]}, 2)]
    shared = replayed([*script, events.JobCancelled(job="eval-1", kind="eval")])
    assert {cell.status for cell in shared.eval.cells.values()} == {"done", "waiting"}


def test_a_new_run_starts_a_new_curve_and_a_resumed_one_continues_it() -> None:
    shared = replayed([*training(steps=5), *training(steps=3, job="train-2", run="0002")])
    assert len(shared.train.steps) == 3
    series = Series()
    for step in (1, 2, 3, 4, 3, 4, 5):
        series.append(step, float(step))
    assert series.view()[0].tolist() == [1, 2, 3, 4, 5]


def test_a_nan_is_marked_and_stays_in_the_curve() -> None:
    step = next(event for event in training() if isinstance(event, events.StepDone))
    bad = msgspec.structs.replace(step, step=7, loss=math.nan)
    shared = replayed([step, bad])
    assert shared.train.marks == [Mark(7, "bad", "loss is not finite")]
    assert math.isnan(shared.train.column("loss")[1])


def test_a_view_taken_once_never_changes() -> None:
    series = Series()
    for step in range(1, 300):
        series.append(step, step)
    xs, ys = series.view()
    for step in range(300, 900):
        series.append(step, step)
    series.append(10, -1.0)
    assert xs.tolist() == ys.tolist() == list(range(1, 300))


@given(st.randoms(use_true_random=False), st.integers(0, len(SCRIPT)))
def test_events_in_any_order_and_any_part_never_raise(dice: random.Random, count: int) -> None:
    script = SCRIPT[:]
    dice.shuffle(script)
    shared = Shared()
    for event in script[:count]:
        reduce(shared, event)
    assert shared.version == count


@given(st.integers(0, len(SCRIPT)))
def test_the_journal_on_disk_gives_the_same_picture(count: int) -> None:
    live = replayed(SCRIPT[:count])
    stored = replayed([events.decode(events.encode(event)) for event in SCRIPT[:count]])
    assert stored.jobs == live.jobs
    assert stored.eval == live.eval
    assert stored.train.last == live.train.last
    assert stored.train.steps.rows().tolist() == live.train.steps.rows().tolist()


def test_the_journal_of_a_run_that_was_stopped_and_gone_on_with_tells_all_of_it() -> None:
    journal = [*training(steps=9, upto=4), events.JobCancelled(job="train-1", kind="train")]
    again = list(training(steps=9, job="train-7"))
    first = next(n for n, one in enumerate(again) if getattr(one, "step", 0) == 4)
    journal += [events.JobQueued(job="train-7", kind="train"), *again[:2]]
    journal += [events.RunResumed(job="train-7", step=3), *again[first:]]
    train = replayed(journal).train
    assert train.column("step").tolist() == list(range(1, 10))
    assert train.job == "train-7"
    other = [*journal, *training(steps=2, job="train-8", run="0002-train")]
    assert replayed(other).train.column("step").tolist() == [1, 2]


def test_asking_to_stop_is_shown_until_the_engine_answers() -> None:
    shared = replayed(list(training(upto=3)))
    stop_asked(shared, "train-1")
    assert shared.jobs["train-1"].status == "stopping"
    stop_asked(shared, "no such job")
    reduce(shared, events.JobCancelled(job="train-1", kind="train", detail="saved"))
    assert not shared.jobs["train-1"].active


def test_smoothing_starts_at_the_first_value_and_leaves_gaps() -> None:
    import numpy as np

    smooth = ema(np.array([4.0, np.nan, 2.0, np.inf, 2.0]), 0.5)
    assert smooth[0] == 4.0
    assert np.isnan(smooth[1])
    assert 2.0 < smooth[4] < smooth[2] < 4.0


def test_a_verdict_of_every_kind_can_be_told() -> None:
    kinds = {how: verdict("base", "tidy-000", how) for how in ("good", "cap", "prose", "invalid")}
    assert kinds["good"].clean_termination
    assert not kinds["prose"].operates
