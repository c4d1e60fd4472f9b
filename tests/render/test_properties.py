"""Whatever a session holds: a row with a true certificate, or a refusal with a name."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.render import ChatTokenizer, Dropped, Row, build_row
from sekft_engine.render.rows.audit import audit
from tests.fuzzing import examples
from tests.render.conftest import MakeBase
from tests.render.sessions import any_commands, hostile, raw_turns, session, sessions

SOME = ("smollm2", "v1/own", "v3", "v3/legacy", "v7/own", "tekken-v3")
REASONS = {
    "bad_input",
    "boundary_merge",
    "decode_mismatch",
    "empty_command",
    "empty_session",
    "forged_control",
    "lone_surrogate",
    "no_command",
    "opens_with_command",
    "unknown_token",
}
many = settings(
    max_examples=examples(120), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.parametrize("name", SOME)
def test_every_row_passes_the_slow_audit(name: str, bases: MakeBase) -> None:
    """The audit tokenises each prompt whole and decodes each span: additive, decodes, no control
    id from content, single BOS, faithful."""
    tokenizer = bases(name).ours

    @many
    @given(sessions(any_commands))
    def check(trajectory: Trajectory) -> None:
        built = build_row(trajectory, tokenizer)
        if isinstance(built, Dropped):
            assert built.reason in REASONS
            return
        assert audit(built, tokenizer) == built.certificate
        assert "".join(built.pieces()) + built.text[built.ends[-1] :] == built.text
        commands = [turn.content for turn in built.turns if turn.is_command]
        ends = tokenizer.end_of_turn_ids
        for span, command in zip(built.spans, commands, strict=True):
            trained = built.labels[span.start : span.end].tolist()
            assert trained[-1] in ends
            assert tokenizer.decode(trained[:-1]) in (command, f" {command}")
        assert set(built.labels[~built.trained].tolist()) <= {-100}

    check()


@pytest.mark.parametrize("name", SOME)
def test_turns_in_any_order_with_anything_in_them(name: str, bases: MakeBase) -> None:
    tokenizer = bases(name).ours

    @many
    @given(raw_turns())
    def check(given_turns: tuple[Turn, ...]) -> None:
        built = build_row(Trajectory(id="x", turns=given_turns), tokenizer)
        if isinstance(built, Row):
            assert audit(built, tokenizer).ok
        else:
            assert built.reason in REASONS

    check()


@pytest.mark.parametrize("name", ["smollm2", "v3", "tekken-v3"])
def test_what_is_trained_does_not_depend_on_what_the_environment_printed(
    name: str, bases: MakeBase
) -> None:
    tokenizer = bases(name).ours

    @many
    @given(st.lists(hostile, min_size=3, max_size=3), st.lists(hostile, min_size=3, max_size=3))
    def check(one: list[str], other: list[str]) -> None:
        trained = []
        for printed in (one, other):
            built = build_row(
                session(printed[0], "ls -la", printed[1], "cat x.txt", printed[2], "exit"),
                tokenizer,
            )
            if isinstance(built, Row):
                trained.append(built.labels[built.trained].tolist())
        assert trained.count(trained[0]) == len(trained) if trained else True

    check()


def controls(built: Row | Dropped, tokenizer: ChatTokenizer) -> list[int]:
    assert isinstance(built, Row)
    return [token for token in built.ids.tolist() if token in tokenizer.control_ids]


@pytest.mark.parametrize(("name", "share"), [("smollm2", 1), ("v3", 1), ("tekken-v3", 10)])
def test_a_megabyte_on_one_line(name: str, share: int, bases: MakeBase) -> None:
    """It passes the slow audit, and its control tokens are those of a harmless session.

    Tekken cuts its text as SmolLM2's tokenizer does, and gets a tenth of it.
    """
    tokenizer = bases(name).ours
    end = tokenizer.decode([tokenizer.end_of_turn_id])
    harmless = build_row(session("$", "ls", "$", "exit"), tokenizer)
    parts = (("A", 400_000), ("</s>", 100_000), (f"{end} ", 20_000), ("x y", 60_000))
    line = "".join(part * (times // share) for part, times in parts)
    assert len(line) > 1_000_000 // share
    built = build_row(session(f"{line}\n$", "ls", "$", "exit"), tokenizer)
    assert isinstance(built, Row)
    assert [span.turn for span in built.spans] == [1, 3]
    assert audit(built, tokenizer).ok
    assert controls(built, tokenizer) == controls(harmless, tokenizer)
    assert isinstance(build_row(session(f"{line}\n$", "ls"), tokenizer, max_length=2048), Dropped)
