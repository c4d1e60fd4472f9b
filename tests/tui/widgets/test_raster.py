"""The curve that is drawn is the curve there is: no spike is lost, no gap is bridged."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from sekft_tui.widgets.chart.axes import Frame, frame_for, log_ticks, tick_labels, ticks
from sekft_tui.widgets.chart.raster import braille, rasterise


def rows(xs: list[float], ys: list[float], frame: Frame, width: int, height: int) -> list[str]:
    codes = braille(rasterise(np.array(xs), np.array(ys), frame, width, height))
    return ["".join(chr(code) if code else " " for code in row) for row in codes.tolist()]


def test_a_straight_line_goes_from_corner_to_corner() -> None:
    assert rows([0, 1], [0, 1], Frame(0, 1, 0, 1), 4, 2) == ["  ⣠⠞", "⡤⠏⠁ "]


def test_corners_of_the_curve_are_where_the_points_are() -> None:
    zigzag = rows([0, 1, 2, 3, 4], [0, 2, 0, 2, 0], Frame(0, 4, 0, 2), 8, 2)
    assert zigzag == [" ⡼⢳⡀⢀⡞⢧ ", "⡼⠁ ⢳⡞ ⠈⢧"]
    spike = rows([0, 1, 2, 3, 4, 5, 6, 7, 8], [0, 0, 0, 0, 9, 0, 0, 0, 0], Frame(0, 8, 0, 9), 5, 2)
    assert spike == ["  ⣿  ", "⣀⣠⠿⣄⣀"]


def test_one_point_is_one_dot() -> None:
    dots = rasterise(np.array([5.0]), np.array([1.0]), Frame(0, 10, 0, 2), 6, 3)
    assert dots.sum() == 1


def test_a_nan_is_a_gap() -> None:
    drawn = rows([0, 1, 2, 3, 4], [1, 1, float("nan"), 1, 1], Frame(0, 4, 0, 2), 10, 1)[0]
    assert drawn[0] != " "
    assert drawn[-1] != " "
    assert drawn[4:6].strip() == ""


def test_infinities_and_empty_curves_draw_nothing() -> None:
    assert rows([0, 1], [float("inf"), float("-inf")], Frame(0, 1, 0, 1), 3, 2) == ["   ", "   "]
    assert rows([], [], Frame(0, 1, 0, 1), 3, 1) == ["   "]


@given(st.integers(0, 99_999), st.integers(10, 200))
def test_a_spike_of_one_step_in_a_hundred_thousand_is_seen(where: int, width: int) -> None:
    ys = np.zeros(100_000)
    ys[where] = 1.0
    xs = np.arange(100_000, dtype=float)
    dots = rasterise(xs, ys, Frame(0, 99_999, 0, 1), width, 10)
    assert dots[0].any(), "the top row shows the spike"
    assert dots[-1].sum() >= 2 * width - 2, "the rest lies on the bottom"


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=60),
    st.booleans(),
)
def test_any_numbers_can_be_drawn(values: list[float], log: bool) -> None:
    xs = np.arange(1, len(values) + 1, dtype=float)
    ys = np.array(values)
    frame = frame_for([(xs, ys)], 1, len(values), log)
    dots = rasterise(xs, ys, frame, 20, 5)
    assert dots.shape == (20, 40)
    drawable = np.isfinite(frame.y_of(ys)).any() and np.isfinite(frame.y0 + frame.y1)
    if drawable and np.isfinite(frame.y1 - frame.y0):
        assert dots.any()


def test_a_log_axis_is_refused_without_positive_values() -> None:
    xs, ys = np.array([1.0, 2.0]), np.array([0.0, -1.0])
    assert not frame_for([(xs, ys)], 1, 2, log=True).log
    mixed = frame_for([(xs, np.array([0.0, 10.0]))], 1, 2, log=True)
    assert mixed.log
    assert np.isnan(mixed.y_of(np.array([0.0]))[0])


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 12))
@example(-999253.602, 0.00048658, 2)
@example(879609.9999999999, 1e-6, 6)
def test_ticks_are_few_round_and_inside(low: float, span: float, count: int) -> None:
    found = ticks(low, low + span, count)
    assert 0 < len(found) <= count
    # A narrow range far from zero holds few floats: a tick may stand on the next one.
    slack = span * 1e-6 + 4 * math.ulp(abs(low) + span)
    if len(found) > 1:
        assert all(low - slack <= value <= low + span + slack for value in found)


def test_labels_tell_ticks_apart() -> None:
    assert tick_labels([0.5, 1.0, 1.5]) == ["0.5", "1.0", "1.5"]
    assert tick_labels([10.79, 10.795, 10.8]) == ["10.790", "10.795", "10.800"]
    assert tick_labels([0, 100, 200]) == ["0", "100", "200"]
    assert [round(10**value, 3) for value in log_ticks(-0.5, 0.5, 4)] == [0.5, 1.0, 2.0]
