"""The chart shows what the journal says: every curve, mark and gap, at any size, in any unit."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from sekft_engine.core.gpu import GpuReading
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_engine.records.trainings import FindRateResult
from sekft_tui.model.rate_search import RateView
from sekft_tui.model.reducer import replayed
from sekft_tui.model.runs.pinned import BesideRun
from sekft_tui.model.series import Smooth, Table, ema
from sekft_tui.model.training import TrainView
from sekft_tui.panes.train import figures, find_rate, plots
from sekft_tui.panes.train.batch import mask_strip, trained_tokens
from sekft_tui.panes.train.plots import Smoother, board
from sekft_tui.widgets.chart import view as views
from sekft_tui.widgets.chart.axes import label_all, ticks
from sekft_tui.widgets.chart.panel import Panel, draw
from sekft_tui.widgets.chart.plot import AXES, Axis, Board
from sekft_tui.widgets.chart.view import View
from sekft_tui.widgets.line_view import changed
from tests.tui.scripted import training, watched


def run(steps: int = 60, **more: int) -> TrainView:
    return replayed(list(watched(steps, **more))).train


def text_of(train: TrainView, view: View, width: int = 100, height: int = 24) -> str:
    seen = board(train, [], view, Smoother())
    plot = seen.plot(view.metric)
    assert plot is not None
    rows = draw(Panel(plot, width, height, main=True), seen, view)
    return "\n".join("".join(text for text, _ in row) for row in rows)


# --- what is drawn ------------------------------------------------------------------------------


def test_every_curve_of_a_run_has_a_panel() -> None:
    keys = [plot.key for plot in board(run(), [], View(), Smoother()).plots]
    assert keys == ["loss", "rates", "norm", "lr", "speed", "machine"]
    bare = replayed(list(training(steps=20))).train
    assert [plot.key for plot in board(bare, [], View(), Smoother()).plots] == [
        "loss", "norm", "lr", "speed",
    ]  # fmt: skip


def test_steps_are_whole_numbers_and_a_first_one_is_seen() -> None:
    shown = text_of(run(5, upto=1), View())
    assert "•" in shown
    assert shown.splitlines()[-1].split() == ["1", "2", "3", "4", "5"]


def test_a_search_for_a_rate_is_drawn_over_powers_of_ten() -> None:
    view = RateView(job="x")
    for step in range(1, 61):
        share = 1.0 if step < 30 else 0.5 if step < 50 else 40.0
        rate = 10 ** (-6 + step / 10)
        view.apply(
            events.RateTried(job="x", step=step, steps=60, lr=rate, share=share, smooth=share)
        )
    view.finish(FindRateResult(suggested=1e-4))
    seen, shown = find_rate.board(view), View(metric="rate", axis="rate")
    rows = draw(Panel(seen.plots[0], 100, 20, main=True), seen, shown)
    text = ["".join(part for part, _ in row) for row in rows]
    ticks_seen = text[-1].split()
    assert {"1e-5", "1e-3", "0.1"} & set(ticks_seen)
    assert "▲" in text[-2]
    assert "40" not in "".join(text), "what is far above the bare base's presses nothing flat"


def test_checkpoints_tries_warnings_and_numbers_that_are_none_are_marked() -> None:
    shown = text_of(run(nan=33, spike=21), View(), 140)
    axis = shown.splitlines()[-2]
    assert "×" in axis
    assert "!" in axis
    assert "◬" in axis, "a checkpoint and a try at the same step"
    assert "▲" in axis
    for name in ("held-out", "checkpoint", "checkpoint, tried", "warning", "not finite"):
        assert name in shown.splitlines()[0]


def test_losses_are_read_out_with_the_same_decimals() -> None:
    losses = {1: 2.0, 2: 1.76}
    script = [
        msgspec.structs.replace(event, loss=losses[event.step])
        if isinstance(event, events.StepDone)
        else event
        for event in watched(2)
    ]
    train = replayed(script).train
    for step, said in ((1, "━ 2.0000"), (2, "━ 1.7600")):
        assert said in text_of(train, View(cursor=step, smoothing=0.0))


def test_the_cursor_reads_out_all_panels_at_its_step() -> None:
    train = run()
    step = next(e for e in watched(60) if isinstance(e, events.StepDone) and e.step == 30)
    shown = text_of(train, View(cursor=30, smoothing=0.0))
    assert f"loss at step 30  ━ {step.loss:.4f}" in shown
    rates = text_of(train, View(cursor=30, metric="rates"))
    assert "operates" in rates
    assert "ends 50%" in rates, "of long names the first words stay"
    wide = text_of(train, View(cursor=30, metric="rates"), 160)
    assert "ends by itself 50%" in wide
    assert "clean termination" in wide


@pytest.mark.parametrize("width", range(12, 130, 3))
def test_a_number_is_told_whole_or_not_at_all(width: int) -> None:
    train = run()
    for metric in ("loss", "rates"):
        whole = text_of(train, View(metric=metric), 300).splitlines()[0].split()
        head = text_of(train, View(metric=metric), width).splitlines()[0]
        told = [word for word in head.split() if word[0].isdigit()]
        assert set(told) <= set(whole)
        assert set(head.split()) <= {*whole, "…"}


@pytest.mark.parametrize("axis", AXES)
def test_the_same_curve_over_steps_tokens_and_time(axis: Axis) -> None:
    train = run()
    seen = board(train, [], View(axis=axis), Smoother())
    assert len(seen.places) == 60
    assert (np.diff(seen.places) > 0).all()
    assert seen.step(seen.place(17)) == 17
    assert seen.last == seen.places[-1]


def test_time_is_that_of_training_whatever_the_clock_did() -> None:
    script = [
        msgspec.structs.replace(event, t=-1e9 if number % 2 else 1e12)
        for number, event in enumerate(watched(40))
    ]
    jumped = replayed(script).train
    assert (np.diff(jumped.column("seconds")) > 0).all()


def test_other_runs_have_a_letter_and_a_dash_of_their_own() -> None:
    train = run()
    others = [BesideRun(letter, at, letter, run(seed=at + 2)) for at, letter in enumerate("ABCDEF")]
    seen = board(train, others, View(), Smoother())
    lines = seen.plots[0].lines
    assert [line.tag for line in lines] == ["", *"ABCDEF"]
    assert len({line.dash for line in lines}) == 7, "told apart without colour"
    assert len({line.style for line in lines}) == 7
    rows = draw(Panel(seen.plots[0], 120, 30, main=True), seen, View())
    shown = ["".join(text for text, _ in row) for row in rows]
    assert all(f"  {letter} {letter}" in shown[1] for letter in "ABCDEF")
    assert all(letter in "".join(shown[2:-2]) for letter in "ABCDEF")


def test_a_log_axis_shows_a_spike_and_has_ticks() -> None:
    shown = text_of(run(spike=21), View(log=True, smoothing=0.0))
    assert "  log" in shown
    labels = [line[:7].strip() for line in shown.splitlines()[1:-2]]
    assert len([label for label in labels if label]) >= 3


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 70),
    st.integers(16, 170),
    st.integers(4, 50),
    st.sampled_from(AXES),
    st.booleans(),
    st.integers(0, 80),
    st.floats(0, 1e6),
)
def test_any_view_at_any_size_fills_its_rectangle_exactly(
    upto: int, width: int, height: int, axis: Axis, log: bool, cursor: int, span: float
) -> None:
    train = replayed(list(watched(60, nan=33, spike=21))[: 3 * upto]).train
    seen = board(train, [], View(axis=axis), Smoother())
    view = View(axis=axis, log=log, cursor=cursor, span=span)
    for plot in seen.plots:
        rows = draw(Panel(plot, width, height, main=True), seen, view)
        assert len(rows) == height
        assert {sum(cell_len(text) for text, _ in row) for row in rows} == {width}


# --- what is seen of it -------------------------------------------------------------------------

MOVES: list[Callable[[View, Board], View]] = [
    lambda v, b: views.zoomed(v, b, 0.5),
    lambda v, b: views.zoomed(v, b, 2.0),
    lambda v, b: views.panned(v, b, 0.5),
    lambda v, b: views.panned(v, b, -0.5),
    lambda v, b: views.moved(v, b, 1, 80),
    lambda v, b: views.moved(v, b, -1, 80),
    lambda v, b: views.moved(v, b, -40, 80),
    lambda v, b: views.pointed(v, b, 7),
    lambda v, _: views.next_axis(v),
]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(MOVES), max_size=25))
def test_no_keys_lead_out_of_the_run(moves: list[Callable[[View, Board], View]]) -> None:
    train, view = _RUN, View()
    for move in moves:
        seen = board(train, [], view, Smoother())
        view = move(view, seen)
        seen = board(train, [], view, Smoother())
        x0, x1 = views.window(view, seen)
        assert x0 < x1 <= max(seen.last, seen.end) + 1e-6
        assert x0 >= 0
        assert 0 <= view.cursor <= 60
        if view.cursor and view.span and move is MOVES[7]:
            assert x0 - 1e-6 <= seen.place(view.cursor) <= x1 + 1e-6


_RUN = run()


def test_zooming_in_follows_the_end_until_one_looks_back() -> None:
    seen = board(_RUN, [], View(), Smoother())
    view = views.zoomed(View(), seen, 0.25)
    assert view.follow
    assert views.window(view, seen)[1] == 60
    back = views.panned(view, seen, -0.5)
    assert not back.follow
    assert views.window(back, seen)[1] < 60
    assert views.zoomed(back, seen, 1000.0).span == 0


# --- from events --------------------------------------------------------------------------------


def curves(train: TrainView) -> list[object]:
    tables = (train.steps, train.heldout, train.rates, train.machines)
    return [*(np.nan_to_num(table.rows(), nan=-1).tolist() for table in tables), train.marks]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 59), st.integers(0, 59))
def test_a_run_that_was_killed_and_went_on_has_the_curves_of_one_that_was_not(
    killed: int, saved: int
) -> None:
    after = min(saved, killed)
    whole = list(watched(60))
    before = [event for event in whole if getattr(event, "step", 0) <= killed]
    again = [event for event in whole if getattr(event, "step", 0) > after]
    machines = [event for event in before if not isinstance(event, events.MachineSeen)]
    resumed = [*machines, events.RunResumed(job="train-1", step=after), *again]
    expected = [event for event in whole if not isinstance(event, events.MachineSeen)]
    got = [event for event in resumed if not isinstance(event, events.MachineSeen)]
    assert curves(replayed(got).train) == curves(replayed(expected).train)


@given(st.integers(0, 200))
def test_a_reopened_workspace_shows_the_same_chart(count: int) -> None:
    script = list(watched(30, nan=21))[:count]
    finite = [event for event in script if _plain(event)]
    stored = replayed([events.decode(events.encode(event)) for event in finite]).train
    live = replayed(finite).train
    assert curves(stored) == curves(live)
    assert (stored.batch, stored.known, stored.batches) == (live.batch, live.known, live.batches)


def _plain(event: Event) -> bool:
    """JSON has no NaN; the journal reads it back its own way, which other tests prove."""
    return not any(
        isinstance(value, float) and not math.isfinite(value)
        for value in msgspec.structs.asdict(event).values()
    )


def test_runs_of_one_sweep_stay_in_sight() -> None:
    script = [*training(steps=5, job="sweep-1", run="one"), *training(4, job="sweep-1", run="two")]
    shared = replayed([one for one in script if not isinstance(one, events.JobStarted)])
    assert [train.run for train in shared.earlier] == ["one"]
    assert shared.train.run == "two"


# --- smoothing, tables, ticks -------------------------------------------------------------------


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(math.nan) | st.just(math.inf), max_size=400),
    st.sampled_from((0.0, 0.6, 0.9, 0.97)),
)
def test_smoothing_in_blocks_is_smoothing_one_by_one(values: list[float], weight: float) -> None:
    total = mass = 0.0
    expected = []
    for value in values:
        if math.isfinite(value):
            total, mass = weight * total + (1 - weight) * value, weight * mass + 1 - weight
        expected.append(total / mass if math.isfinite(value) else math.nan)
    np.testing.assert_allclose(ema(np.array(values), weight), expected, rtol=1e-9, atol=1e-6)


@given(st.lists(st.floats(-9, 9) | st.just(math.nan), max_size=60), st.lists(st.integers(0, 60)))
def test_smoothing_what_is_new_gives_what_smoothing_all_does(
    values: list[float], looks: list[int]
) -> None:
    growing = Smooth(0.9)
    for look in [*sorted(looks), 3, 60]:
        seen = np.array(values[:look])
        np.testing.assert_allclose(growing.of(seen), ema(seen, 0.9), rtol=1e-9, atol=1e-9)


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(-9, 9)), max_size=80))
def test_a_table_is_in_order_whatever_comes(rows: list[tuple[int, float]]) -> None:
    table = Table(2)
    for row in rows:
        table.add(row)
    first = table.rows()[0]
    assert (np.diff(first) > 0).all()
    assert not rows or table.rows()[:, -1].tolist() == list(rows[-1])


@given(st.floats(0, 1e7), st.floats(1e-3, 1e7), st.integers(2, 12))
def test_clocks_have_ticks_that_clocks_show(low: float, span: float, count: int) -> None:
    found = ticks(low, low + span, count, "seconds")
    assert 0 < len(found) <= count
    texts = label_all(found, "seconds")
    assert all(len(text) <= 12 for text in texts)


# --- figures and masks --------------------------------------------------------------------------


def test_speed_is_told_against_what_the_machine_could_do() -> None:
    rate, share = figures.speed(run())
    assert rate == pytest.approx(3000 / 7.1, rel=1e-6)
    assert 0 < share < 1
    lines = figures.lines(run(), True, 160)
    shown = ["".join(text for text, _ in line) for line in lines]
    assert f"{share:.0%} of bound" in shown[2]
    assert "CPU" in shown[2]
    assert "memory" in shown[2]
    assert "saved at step 60" in shown[3]


@pytest.mark.parametrize(
    ("waited", "active", "said"), [(59.0, True, ""), (185.0, True, "3:05"), (185.0, False, "")]
)
def test_a_run_that_stalls_says_for_how_long(waited: float, active: bool, said: str) -> None:
    train = replayed(list(watched(60))[:90]).train
    progress = "".join(text for text, _ in figures.lines(train, active, 160, waited)[0])
    assert ("no step for" in progress) == bool(said)
    assert said in progress
    assert ("ETA" in progress) == (active and not said)


def test_a_gpu_is_told_by_its_share_its_memory_and_its_watts() -> None:
    gpu = GpuReading(name="H200", busy=0.75, used=40 << 30, total=140 << 30, watts=600, celsius=61)
    seen = events.MachineSeen(
        job="train-1", cores=16, cpu=0.1, rss=1 << 30, rss_most=1 << 30, memory=128 << 30,
        gpu=gpu, cuda=30 << 30, cuda_most=32 << 30,
    )  # fmt: skip
    train = replayed([*watched(60), seen]).train
    shown = "\n".join("".join(text for text, _ in line) for line in figures.lines(train, True, 160))
    for part in ("GPU", "75%", "40 of 140 GiB", "600 W 61°"):
        assert part in shown, shown
    assert "CPU" not in shown


@given(st.integers(0, 60), st.integers(1, 160), st.integers(20, 160))
def test_figures_never_take_more_than_their_lines(upto: int, count: int, width: int) -> None:
    train = replayed(list(watched(60, nan=33, spike=21))[: 3 * upto]).train
    for line in figures.lines(train, True, width):
        assert sum(cell_len(text) for text, _ in line) <= max(width, 60)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 9)), max_size=12), st.integers(1, 200))
def test_no_trained_token_is_lost_in_a_strip(spans: list[tuple[int, int]], width: int) -> None:
    edges: list[int] = []
    at = 0
    for gap, size in spans:
        edges += [at + gap, at + gap + size]
        at += gap + size
    row = events.BatchRow(id="x", tokens=at + 5, edges=edges)
    strip = mask_strip(row, width)
    text = "".join(piece for piece, _ in strip)
    assert len(text) == min(width, row.tokens)
    assert trained_tokens(row) == sum(size for _, size in spans)
    if width >= row.tokens:
        assert text.count("█") == trained_tokens(row)
    assert ("trained" in {style for _, style in strip}) == bool(spans)


def test_the_batch_of_a_step_is_known_by_what_was_told_before() -> None:
    train = run(upto=20)
    assert train.batch is not None
    assert train.batch.step == 21
    assert train.batch_of(21) == train.batch.batch
    assert tuple(row.id for row in train.batch_of(20)) == train.batches[20]
    assert train.batch_of(99) == []
    assert plots.FLAGS["bad"][0] == "×"


# --- painting -----------------------------------------------------------------------------------

PIECES = st.lists(st.tuples(st.text("ab", min_size=1, max_size=4), st.sampled_from("xy")))


@given(PIECES, PIECES)
def test_what_differs_between_two_lines_is_painted(
    old: list[tuple[str, str]], new: list[tuple[str, str]]
) -> None:
    def cells(parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(letter, style) for text, style in parts for letter in text]

    width = len(cells(new))
    start, end = changed(tuple(old), tuple(new), width)
    if len(cells(old)) != width:
        assert (start, end) == (0, width)
        return
    outside = [*range(start), *range(end, width)]
    assert [cells(old)[x] for x in outside] == [cells(new)[x] for x in outside]
