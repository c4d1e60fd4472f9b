"""Any session becomes one that every chat template takes, or is refused with its name."""

from __future__ import annotations

import pytest
from hypothesis import given

from sekft_engine.data.trajectory import Role, Turn
from sekft_engine.render import Refused, normalize_for_template
from tests.render.sessions import raw_turns


def as_turns(*pairs: tuple[Role, str]) -> tuple[Turn, ...]:
    return tuple(Turn(role=role, content=content) for role, content in pairs)


def normal(*pairs: tuple[Role, str]) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in normalize_for_template(as_turns(*pairs))]


def test_a_leading_system_turn_folds_into_the_first_user_turn() -> None:
    assert normal(("system", "You are at a shell."), ("user", "$"), ("assistant", "ls")) == [
        ("user", "You are at a shell.\n\n$"),
        ("assistant", "ls"),
    ]


def test_a_system_turn_with_no_user_after_it_becomes_the_user_turn() -> None:
    assert normal(("system", "motd"), ("assistant", "ls")) == [
        ("user", "motd"),
        ("assistant", "ls"),
    ]


def test_a_later_system_turn_counts_as_environment() -> None:
    assert normal(
        ("user", "$"), ("assistant", "ls"), ("system", "mail"), ("user", "$"), ("assistant", "exit")
    ) == [("user", "$"), ("assistant", "ls"), ("user", "mail\n\n$"), ("assistant", "exit")]


def test_consecutive_turns_of_one_role_merge_with_a_blank_line() -> None:
    assert normal(("user", "a"), ("user", "b"), ("assistant", "ls"), ("assistant", "exit")) == [
        ("user", "a\n\nb"),
        ("assistant", "ls\n\nexit"),
    ]


def test_content_is_never_touched_otherwise() -> None:
    assert normal(("user", " \n a \r\n"), ("assistant", " ls ")) == [
        ("user", " \n a \r\n"),
        ("assistant", " ls "),
    ]


def test_what_was_recorded_with_a_turn_stays_unless_it_merges() -> None:
    turns = (
        Turn(role="user", content="$", t=0.0),
        Turn(role="assistant", content="ls", ids=(1, 2), t=1.0, exit_status=0, extra={"x": 1}),
    )
    assert normalize_for_template(turns) == turns
    merged = normalize_for_template((*turns, Turn(role="assistant", content="exit", ids=(3,))))
    assert merged[1].ids is None
    assert merged[1].t == 1.0
    assert merged[1].extra == {"x": 1}


@pytest.mark.parametrize(
    ("turns", "reason", "says"),
    [
        ((), "empty_session", "empty session"),
        ((("assistant", "ls"),), "opens_with_command", "opens with a command"),
        ((("user", "$"), ("assistant", "")), "empty_command", "turn 1 is an empty command"),
        ((("user", "$"), ("assistant", " \n")), "empty_command", "turn 1 is an empty command"),
        (
            (("user", "$"), ("assistant", "ls"), ("assistant", "")),
            "empty_command",
            "turn 2 is an empty command",
        ),
    ],
)
def test_a_session_that_is_none_is_refused_by_name(
    turns: tuple[tuple[Role, str], ...], reason: str, says: str
) -> None:
    with pytest.raises(Refused, match=says) as caught:
        normalize_for_template(as_turns(*turns), where="data.jsonl:7")
    assert caught.value.reason == reason
    assert str(caught.value).startswith("data.jsonl:7: ")


@given(raw_turns())
def test_normalising_twice_is_normalising_once_and_roles_alternate(turns: tuple[Turn, ...]) -> None:
    try:
        once = normalize_for_template(turns)
    except Refused:
        return
    assert normalize_for_template(once) == once
    assert [turn.role for turn in once] == (["user", "assistant"] * len(once))[: len(once)]
    # Nothing said is lost, and nothing but blank lines is added.
    said = "".join(turn.content for turn in turns)
    assert "".join(turn.content for turn in once).replace("\n", "") == said.replace("\n", "")
