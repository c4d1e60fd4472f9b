"""Any session in any family: a row with a true certificate that trains the commands and nothing
that a shell printed, or a refusal with a name."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Role, Trajectory, Turn
from sekft_engine.render import Dropped, Refused, Row, build_row, normalize_for_template
from sekft_engine.render.rows.audit import audit
from sekft_engine.render.template.prompt import encode_prompt
from tests.render.conftest import Base, MakeBase
from tests.render.families import FAMILIES, TRIM
from tests.render.sessions import any_commands, broken, commands, hostile, session, sessions
from tests.render.test_properties import REASONS
from tests.render.test_serve import replayed

#: Bases of the vendor's own and of the public templates.
SOME_MISTRAL = ("v1/own", "v3/legacy", "v7/own", "tekken-v3")
SOME = ("chatml", "eurollm", "zephyr", "llama3", "qwen2.5", "qwen3", "gemma3", "phi3")
BY_TEMPLATE = {
    name: {"template_rewrites_content"}
    | ({"not_additive", "writes_before_command"} if name == "qwen3" else set())
    for name in FAMILIES
}
some = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def check_row(built: Row, base: Base) -> None:
    """All that a certificate promises, looked at from outside."""
    tokenizer = base.ours
    assert built.certificate.ok
    assert audit(built, tokenizer) == built.certificate
    said = [turn.content for turn in built.turns if turn.is_command]
    assert len(built.spans) == len(said)
    for span, command in zip(built.spans, said, strict=True):
        trained = built.labels[span.start : span.end].tolist()
        assert trained[-1] in tokenizer.end_of_turn_ids
        assert not set(trained[:-1]) & tokenizer.control_ids
        assert tokenizer.decode(trained[:-1]) in (command, f" {command}")
        # Additive: what an eval would feed at this turn is how the row begins.
        fed = encode_prompt(tokenizer, built.turns[: span.turn])
        assert built.ids[: span.start].tolist() == fed
    assert built.trained.sum() == sum(span.end - span.start for span in built.spans)
    assert set(built.labels[~built.trained].tolist()) <= {-100}
    # Nothing of the environment, and no control token that content wrote.
    environment = [number for number, turn in enumerate(built.turns) if not turn.is_command]
    assert not built.trained[[turn in environment for turn in built.turn_of.tolist()]].any()
    harmless = session(*(["x", "ls"] * len(built.turns))[: len(built.turns)])
    assert controls(built, base) == controls(build_row(harmless, tokenizer), base)


def normalised(turns: tuple[Turn, ...]) -> tuple[Turn, ...] | None:
    try:
        return normalize_for_template(turns)
    except Refused:
        return None


def controls(built: Row | Dropped, base: Base) -> list[int]:
    assert isinstance(built, Row)
    return [token for token in built.ids.tolist() if token in base.ours.control_ids]


@pytest.mark.parametrize("name", SOME)
def test_any_session_is_certified_or_refused_by_name(name: str, families: MakeBase) -> None:
    base = families(name)
    rows = 0

    @some
    @given(sessions(any_commands))
    def check(one: Trajectory) -> None:
        nonlocal rows
        built = build_row(one, base.ours)
        if isinstance(built, Dropped):
            assert built.reason in REASONS | BY_TEMPLATE[name]
            assert built.detail
            return
        rows += 1
        check_row(built, base)
        # What an eval feeds and samples, up to the end of the last command.
        end = built.spans[-1].end
        assert replayed(built, base.ours)[:end] == built.ids[:end].tolist()

    check()
    assert rows or name == "qwen3"


@pytest.mark.parametrize("name", [*SOME, "v1", "v7/own", "tekken-v7"])
def test_labels_do_not_depend_on_what_the_environment_printed(
    name: str, families: MakeBase, bases: MakeBase
) -> None:
    """Swap everything that a shell printed for something else: the same ids are trained."""
    base = families(name) if name in FAMILIES else bases(name)
    printed = hostile.map(str.strip).map(lambda text: text or "$") if name in TRIM else hostile
    pairs = 0

    @some
    @given(st.lists(st.tuples(printed, commands, printed), min_size=1, max_size=4))
    def check(turns: list[tuple[str, str, str]]) -> None:
        nonlocal pairs
        one = build_row(session(*(text for turn in turns for text in turn[:2])), base.ours)
        other = build_row(session(*(text for turn in turns for text in turn[:0:-1])), base.ours)
        if isinstance(one, Row) and isinstance(other, Row):
            pairs += 1
            assert one.ids[one.trained].tolist() == other.ids[other.trained].tolist()

    check()
    assert pairs or name == "qwen3"


@pytest.mark.parametrize("name", [*SOME, *SOME_MISTRAL])
def test_turns_in_any_order_with_broken_text_in_them(
    name: str, families: MakeBase, bases: MakeBase
) -> None:
    """Half characters too: a session that holds one is refused by that name."""
    base = families(name) if name in FAMILIES else bases(name)
    halves = 0
    roles: st.SearchStrategy[Role] = st.sampled_from(("system", "user", "assistant"))

    @some
    @given(st.lists(st.tuples(roles, broken), max_size=8))
    def check(given_turns: list[tuple[Role, str]]) -> None:
        nonlocal halves
        turns = tuple(Turn(role=role, content=content) for role, content in given_turns)
        built = build_row(Trajectory(id="x", turns=turns), base.ours)
        normal = normalised(turns)
        if normal is None:
            assert isinstance(built, Dropped)
            assert built.reason in ("empty_session", "opens_with_command", "empty_command")
            return
        assert normalize_for_template(normal) == normal
        if isinstance(built, Row):
            assert built.turns == normal
            check_row(built, base)
            return
        assert built.reason in REASONS | BY_TEMPLATE.get(name, set())
        half = any("\ud800" <= letter <= "\udfff" for turn in normal for letter in turn.content)
        assert not half or built.reason in ("lone_surrogate", "no_command")
        halves += built.reason == "lone_surrogate"
        if half and not normal[-1].is_command:
            with pytest.raises(BadInput, match="surrogate"):
                encode_prompt(base.ours, normal)

    check()
    assert halves


@pytest.mark.parametrize(("name", "share"), [("eurollm", 10), ("qwen2.5", 10), ("gemma3", 1)])
def test_a_megabyte_on_one_line_in_other_families(
    name: str, share: int, families: MakeBase
) -> None:
    """And a tenth of it, where only the template is another one."""
    base = families(name)
    line = "x y" * (180_000 // share) + "<|im_end|></s><end_of_turn>" * (20_000 // share)
    built = build_row(session(f"{line}\n$", "ls", "$", "exit"), base.ours)
    assert isinstance(built, Row)
    assert len(line) > 1_000_000 // share
    assert audit(built, base.ours) == built.certificate
    assert [base.ours.decode(built.ids[s.start : s.end - 1]) for s in built.spans] == ["ls", "exit"]
    assert controls(built, base) == controls(
        build_row(session("$", "ls", "$", "exit"), base.ours), base
    )
