"""What is certain is read in any form; what is not is dropped by a name; both are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sekft_engine.core.errors import BadInput
from sekft_engine.data.read_report import NOTES, REJECTIONS, note_lines
from sekft_engine.data.reasons import MEANINGS, as_shown
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.sources import load_trajectories, open_index
from tests.sources.conftest import lines, raw


def session(*turns: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": "s", "messages": list(turns), **fields}


def said(value: object) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in Trajectory.from_json(value, "x").turns]


def notes(value: object) -> tuple[str, ...]:
    return Trajectory.from_json(value, "x").notes


USER = {"role": "user", "content": "$"}
LS = {"role": "assistant", "content": "ls"}


@pytest.mark.parametrize(
    ("role", "meaning"),
    [
        ("tool", "user"), ("function", "user"), ("observation", "user"), ("environment", "user"),
        ("human", "user"), ("User", "user"), ("ipython", "user"), ("developer", "system"),
        ("System", "system"), ("model", "assistant"), ("gpt", "assistant"), ("bing", "assistant"),
        ("chatgpt", "assistant"), ("ASSISTANT", "assistant"), ("CHATBOT", "assistant"),
    ],
)  # fmt: skip
def test_roles_that_are_certain_are_read(role: str, meaning: str) -> None:
    assert said(session(USER, LS, {"role": role, "content": "x"}))[-1] == (meaning, "x")
    assert said(session(USER, LS, {"from": role, "value": "x"}))[-1] == (meaning, "x")


def test_a_role_that_is_read_as_another_is_noted() -> None:
    read = session(USER, LS, {"role": "tool", "content": "x", "tool_call_id": "1"})
    assert notes(read) == ("role:tool as user", "unused_turn:tool_call_id")
    assert notes(session({"from": "human", "value": "$"}, {"from": "gpt", "value": "ls"})) == ()


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        ["a", "b"],
        [{"type": "thinking", "thinking": "hm"}, {"type": "output_text", "text": "ab"}],
        {"type": "text", "text": "ab"},
    ],
)
def test_parts_of_text_are_joined(content: object) -> None:
    assert said(session(USER, {"role": "assistant", "content": content}))[1] == ("assistant", "ab")


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        ({"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, "tool_calls"),
        ({"role": "assistant", "content": "ls", "tool_calls": [{"id": "1"}]}, "tool_calls"),
        ({"role": "assistant", "content": None, "function_call": {"name": "x"}}, "tool_calls"),
        ({"from": "function_call", "value": "{}"}, "tool_calls"),
        ({"role": "assistant", "content": [{"type": "tool_use", "id": "1"}]}, "tool_calls"),
        ({"role": "wizard", "content": "x"}, "unknown_role"),
        ({"role": None, "content": "x"}, "unknown_role"),
        ({"content": "x"}, "unknown_role"),
        ({"role": "user", "content": 5}, "bad_content"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, "bad_content"),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, "bad_content"),
        ({"role": "assistant", "content": "ls", "weight": 0.5}, "bad_weight"),
        ({"role": "assistant", "content": "ls", "weight": "0"}, "bad_weight"),
        ({"role": "assistant", "content": "ls", "train": "no"}, "bad_weight"),
        ({"role": "assistant", "content": "ls", "train": True, "weight": 0}, "bad_weight"),
        ("x", "not_a_session"),
    ],
)
def test_what_is_not_certain_drops_its_session_and_no_other(
    turn: object, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "d.jsonl"
    file.write_bytes(lines(raw("a"), {"id": "bad", "turns": [USER, turn]}, raw("b")))
    loaded = load_trajectories(file)
    assert [each.id for each in loaded.trajectories] == ["a", "b"]
    (dropped,) = loaded.skipped
    assert (dropped.id, dropped.reason) == ("bad", reason)
    assert dropped.detail.startswith(f"{file}:2: turn 1: ")
    index = open_index(file).read_all()
    assert (len(index), index.dropped) == (2, {reason: 1})
    (problem,) = index.problems
    assert (problem.name, str(problem)) == ("bad", dropped.detail)
    with pytest.raises(BadInput) as caught:
        load_trajectories(file, strict=True)
    assert str(caught.value) == as_shown(dropped.detail)


def test_only_sessions_that_are_refused_are_counted_and_no_error_of_reading(
    tmp_path: Path,
) -> None:
    file = tmp_path / "d.jsonl"
    file.write_bytes(lines(session(USER, LS | {"tool_calls": [{}]})))
    loaded = load_trajectories(file)
    assert [each.reason for each in loaded.skipped] == ["tool_calls"]


@pytest.mark.parametrize("empty", [None, [], {}, ""])
def test_tool_calls_that_are_empty_are_none(empty: object) -> None:
    assert said(session(USER, LS | {"tool_calls": empty, "function_call": None}))[1][1] == "ls"


def test_null_means_absent_everywhere() -> None:
    nulls = dict.fromkeys(
        (
            "id", "scenario", "archetype", "provider", "announcement", "turns", "steps", "outcome",
            "verified", "keep", "meta", "conversations",
        )
    )  # fmt: skip
    turn_nulls = dict.fromkeys(("ids", "logprobs", "t", "exit_status", "from", "value", "weight"))
    value = nulls | {"messages": [USER | turn_nulls, LS | turn_nulls]}
    plain = Trajectory.from_json({"messages": [USER, LS]}, "x")
    assert Trajectory.from_json(value, "x") == plain
    other = {"role": None, "content": None, "from": "human", "value": "$"}
    assert said({"turns": [other, LS]}) == [("user", "$"), ("assistant", "ls")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", [1, 2]), ("steps", "3"), ("outcome", "success"), ("meta", "x"), ("id", 1.5),
        ("id", True), ("provider", ["x"]), ("verified", "yes"), ("keep", 1), ("scenario", 5),
    ],
)  # fmt: skip
def test_values_of_other_types_are_kept_but_not_used(name: str, value: object) -> None:
    read = Trajectory.from_json({"id": "a", "turns": [USER, LS], name: value}, "x")
    plain = Trajectory.from_json({"id": "x" if name == "id" else "a", "turns": [USER, LS]}, "x")
    assert read.notes == (f"foreign:{name}",)
    assert read.extra == {"foreign": {name: value}}
    again = Trajectory.from_json(read.to_json(), "x")
    assert again.to_json() == read.to_json()
    assert {**read.to_json(), "foreign": None} == {**plain.to_json(), "foreign": None}


@pytest.mark.parametrize(
    ("name", "value"), [("t", "now"), ("ids", "x"), ("logprobs", [None]), ("exit_status", "0")]
)
def test_fields_of_a_turn_of_other_types_are_kept_but_not_used(name: str, value: object) -> None:
    read = Trajectory.from_json(session(USER, LS | {name: value}), "x")
    assert read.notes == (f"foreign_turn:{name}",)
    assert read.turns[1].extra == {"foreign": {name: value}}
    assert Trajectory.from_json(read.to_json(), "x").to_json() == read.to_json()


def test_numbers_that_are_whole_may_be_written_as_fractions() -> None:
    read = Trajectory.from_json(session(USER, LS | {"exit_status": 0.0}, id=17.0, steps=2.0), "x")
    assert (read.id, read.steps, read.turns[1].exit_status) == ("17", 2, 0)


def test_what_is_not_used_is_noted() -> None:
    value = session(USER, LS | {"reasoning_content": "hm"}, conversations=[USER], source="web")
    assert set(notes(value)) == {
        "unused_turn:reasoning_content", "beside:conversations", "unused:source"
    }  # fmt: skip


def test_keys_that_stand_twice_are_noted(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    text = (
        '{"id": "a", "id": "b", "turns": [], "turns": [{"role": "user", "content": "\\": \\":"}, '
        '{"role": "assistant", "content": "x", "content": "ls"}]}\n'
    )
    file.write_text(text + text.replace('"content": "x", ', "").replace('"id": "a", ', ""))
    loaded = load_trajectories(file)
    assert loaded.notes == {"duplicate:id": 1, "duplicate:turns": 1, "duplicate:content": 1}
    assert [each.reason for each in loaded.skipped] == ["duplicate_id"]


@pytest.mark.parametrize("flag", [{"train": False}, {"weight": 0}, {"weight": 0.0}])
def test_a_command_may_be_context_only_and_says_so_again(flag: dict[str, Any]) -> None:
    read = Trajectory.from_json(session(USER, LS | flag, USER, LS | {"weight": 1}), "x")
    assert [turn.train for turn in read.turns] == [True, False, True, True]
    written = read.to_json()
    assert written["turns"][1] == LS | {"train": False}
    assert Trajectory.from_json(written, "x") == read
    assert read.notes == ()


def test_every_reason_and_every_note_says_what_it_means() -> None:
    assert set(REJECTIONS) <= set(MEANINGS)
    assert note_lines({"unused:source": 1, "bare": 1200}) == [
        f"1 trajectory: {NOTES['unused']}: source",
        f"1,200 trajectories: {NOTES['bare']}",
    ]
