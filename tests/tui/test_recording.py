"""Replay shows a session as it went, cuts waits on request, and finds the moments that matter."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sekft_engine.data.trajectory import Trajectory
from sekft_engine.records.events import TurnDone
from sekft_tui.model.recording import Cast, Frame, cast_of, cast_of_events, verdict_of
from tests.tui.scripted import session, verdict

EVENTS = [event for event in session("base", "tidy-000") if isinstance(event, TurnDone)]


def screen(cast: Cast, position: float, width: int = 60) -> list[str]:
    lines = cast.lines(cast.moment(position), width)
    return ["".join(text for text, _ in line).rstrip() for line in lines]


def test_at_the_beginning_there_is_only_the_greeting_and_a_prompt() -> None:
    cast = cast_of_events(EVENTS)
    assert screen(cast, 0.0) == [
        "  Welcome.",
        "  Your duties are held by `warden`.",
        "▌ user@box:~$ ▏",
    ]


def test_a_command_is_typed_before_its_time_and_its_output_follows() -> None:
    cast = cast_of_events(EVENTS)
    half = screen(cast, cast.times[1] - 0.4)[-1]
    assert half.startswith("▌ user@box:~$ w")
    assert len(half) < len("▌ user@box:~$ warden --help")
    assert "▌ user@box:~$ warden --help" in screen(cast, cast.times[1])
    assert "  usage: warden [--help] show" in screen(cast, cast.times[2])


def test_long_waits_are_cut_to_the_limit_or_kept() -> None:
    cast = cast_of_events(EVENTS)
    assert cast.recorded == 12.5
    assert cast.length < 7
    assert cast.changed(idle_limit=0).length == 12.5
    assert cast.recorded_at(cast.length) == 12.5
    assert cast.recorded_at(0) == 0


def test_markers_name_first_command_first_failure_end_and_verdict() -> None:
    frames = [
        Frame(0, "environment", "$"),
        Frame(1, "command", "true", 0),
        Frame(2, "environment", "$"),
        Frame(3, "command", "false", 1),
        Frame(4, "environment", "$"),
        Frame(5, "command", "exit", 0),
    ]
    cast = Cast(frames, verdict("base", "s", "good"))
    assert [marker.label for marker in cast.markers] == [
        "first command",
        "first failure (exit 1)",
        "ends by itself with exit",
        "verdict",
    ]
    second = cast.marker_from(0.0, 1)
    assert second is not None
    assert second.label == "first command"
    assert cast.marker_from(99, 1) is None
    assert any("exit 1" in line for line in screen(cast, cast.length))


def test_the_verdict_stands_at_the_end_in_words() -> None:
    lines = screen(cast_of_events(EVENTS, verdict("base", "tidy-000", "wrong")), 99)
    assert any("ended by itself with panic" in line for line in lines)
    assert any("should have ended with a clean exit" in line for line in lines)
    invalid = screen(cast_of_events(EVENTS, verdict("base", "tidy-000", "invalid")), 99)
    assert any("does not count: the sandbox died" in line for line in invalid)


def test_the_limit_that_ended_a_session_is_named() -> None:
    def ended(**meta: Any) -> str:
        turns = [{"role": "user", "content": "$"}, {"role": "assistant", "content": "ls"}]
        raw = {"id": "x", "turns": turns, "outcome": "cap", "meta": {"expected": "exit"} | meta}
        trajectory = Trajectory.from_json(raw, "x")
        return "\n".join(screen(cast_of(trajectory, verdict_of(trajectory)), 99))

    assert "cut off at the command limit" in ended(limit="commands")
    assert "the context was full" in ended(limit="context")
    assert "cut off at the time limit" in ended(limit="time")
    assert "cut off by a limit" in ended()


def test_steps_go_turn_by_turn_and_stop_at_both_ends() -> None:
    cast = cast_of_events(EVENTS)
    at = cast.step_from(cast.length, -1)
    assert cast.moment(at).shown == len(EVENTS) - 1
    assert cast.step_from(cast.length, 1) == cast.length
    assert cast.step_from(0.0, -5) == 0.0


def test_a_session_without_a_clock_takes_a_second_per_turn() -> None:
    trajectory = Trajectory.from_json(
        {"id": "x", "turns": [{"role": r, "content": "c"} for r in ("user", "assistant", "user")]},
        "x",
    )
    assert cast_of(trajectory).recorded == 2.0
    assert verdict_of(trajectory) is None


FRAMES = st.lists(
    st.tuples(
        st.floats(0, 500),
        st.sampled_from(["environment", "command"]),
        st.text(alphabet="ab \n\x1b$日", max_size=80),
        st.sampled_from([None, 0, 1]),
    ),
    max_size=14,
)


@given(FRAMES, st.floats(0, 600), st.integers(10, 80), st.booleans())
def test_any_session_can_be_shown_at_any_moment(
    raw: list[tuple[float, str, str, int | None]], position: float, width: int, judged: bool
) -> None:
    frames = [Frame(*one) for one in sorted(raw, key=lambda one: one[0])]  # type: ignore[arg-type]
    cast = Cast(frames, verdict("base", "s", "cap") if judged else None)
    for line in cast.lines(cast.moment(position), width):
        assert "\x1b" not in "".join(text for text, _ in line)
    assert 0 <= cast.recorded_at(position) <= cast.recorded
    assert not cast.times or cast.times[0] == 0, "playing begins with the first frame"
    assert list(cast.times) == sorted(cast.times)
