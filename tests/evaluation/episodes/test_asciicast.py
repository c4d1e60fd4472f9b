"""A recording is an asciicast of version 2 to the letter, whatever an episode was."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.episodes.asciicast import asciicast
from sekft_engine.episodes.store import as_finished

# https://docs.asciinema.org/manual/asciicast/v2: what a header may hold, and the codes of events.
HEADER = {
    "version": int, "width": int, "height": int, "timestamp": int, "duration": float,
    "idle_time_limit": float, "command": str, "title": str, "env": dict, "theme": dict,
}  # fmt: skip
CODES = "oimr"


def unlike_v2(recording: str) -> list[str]:
    """What in ``recording`` is not as the format has it."""
    assert recording.endswith("\n")
    first, *lines = recording[:-1].split("\n")
    header = json.loads(first)
    wrong = [f"header {key}" for key, value in header.items() if not _is(value, HEADER.get(key))]
    wrong += [f"no {key}" for key in ("width", "height") if header.get(key, 0) < 1]
    wrong += [] if header.get("version") == 2 else ["version"]
    before = 0.0
    for number, line in enumerate(lines, 2):
        event = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        well = (
            isinstance(event, list)
            and len(event) == 3
            and _is(event[0], float)
            and event[0] >= before
            and event[1] in CODES
            and isinstance(event[2], str)
        )
        wrong += [] if well else [f"line {number}: {line}"]
        before = event[0] if well else before
    return wrong


def _is(value: Any, kind: type | None) -> bool:
    if kind is None or isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def episode(turns: list[Turn], **meta: Any) -> str:
    trajectory = Trajectory(
        id="base--s\x1b1", scenario="s1", turns=tuple(turns), outcome="exit", meta=meta
    )
    return asciicast(as_finished(trajectory))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["user", "assistant"]),
            st.text(max_size=30).filter(lambda text: text.isprintable() or "\n" in text),
            st.one_of(st.none(), st.floats(0, 1e5)),
            st.sampled_from([None, 0, 1, 130]),
        ),
        max_size=8,
    ),
    st.floats(0, 1e5),
)
def test_every_line_is_as_the_format_has_it(
    turns: list[tuple[Any, str, float | None, int | None]], seconds: float
) -> None:
    made = [
        Turn(role=role, content=text, t=t, exit_status=status) for role, text, t, status in turns
    ]
    assert unlike_v2(episode(made, expected="exit", seconds=seconds)) == []


def test_commands_stand_off_their_prompt_and_rounding_shifts_nothing() -> None:
    long = Turn(role="assistant", content="x" * 3333, t=10.0)
    told = episode([Turn(role="user", content="$", t=0.00004), long], seconds=20.0)
    assert json.loads(told.splitlines()[-1])[0] == pytest.approx(20.0, abs=1e-3)
    assert '"$ "' in told.splitlines()[1]
    assert msgspec.json.decode(told.splitlines()[0])["title"] == "base--s␛1"
