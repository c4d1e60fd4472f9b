"""The filter language: what one types is what one gets, or one is told what would do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekft_engine.data.filters import (
    EPISODE,
    SYNTAX,
    TRAJECTORY,
    BadFilter,
    Filter,
    FilterField,
    Term,
    Value,
    matches,
    number,
    parse,
)

ROW: dict[str, Value] = {
    "id": "merge-004", "scenario": "merge-004", "archetype": "merge", "provider": "warden",
    "channel": "motd", "outcome": "panic", "keep": True, "clean": True, "verified": False,
    "turns": 12, "steps": 6, "length": 1800, "tokens": 640, "trained": 64, "share": 10.0,
    "dropped": True, "reason": "too_long",
}  # fmt: skip
TEXT = "merge-004 merge\nwc -l notes\nno such file\nfoo=bar http://x -v"


def passes(text: str, row: dict[str, Value] = ROW) -> bool:
    return matches(parse(text), lambda name: row[name], lambda: TEXT)


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "merge", "NOTES wc", '"no such file"', "archetype:merge", "arch:mer",
        "outcome:panic", "outcome:p", "outcome:cap,panic", "keep:yes", "keep:y verified:no",
        "channel:motd", "announcement:motd", "turns>=12", "turns:12", "turns=12 turns>11",
        "length<2k", "length<1.81k", "tokens>500 tokens<1k", "dropped:yes reason:too_long",
        "-outcome:exit", "-nothing", '-"no such thing"', "-turns>12",
        "foo=bar", '"http://x"', '"-v"', "share<=10", "id:004 -id:005", "-", '"no such',
    ],
)  # fmt: skip
def test_the_row_passes(text: str) -> None:
    assert passes(text)


@pytest.mark.parametrize(
    "text",
    [
        "cut", "-merge", "archetype:count", "outcome:exit", "outcome:exit,cap", "keep:no",
        "-keep:yes", "turns>12", "turns<12", "length>2k", "tokens<500", "-dropped:yes",
        "merge turns>100", '"file no"',
    ],
)  # fmt: skip
def test_the_row_does_not_pass(text: str) -> None:
    assert not passes(text)


def test_what_is_not_known_yet_passes_no_condition_on_it() -> None:
    row = ROW | {"tokens": None}
    assert not passes("tokens>1", row)
    assert not passes("tokens<1", row)
    assert passes("-tokens>1", row)


@pytest.mark.parametrize("text", ["keep:", "outcome: merge", "turns<", "-turns>"])
def test_a_term_without_a_value_holds_up_nothing_while_it_is_typed(text: str) -> None:
    assert matches(parse(text, typing=True), lambda name: ROW[name], lambda: TEXT)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("turns<", r"turns< is without a value \(as turns>9\)"),
        ("outcome: merge", r"outcome: is without a value \(as outcome:exit\)"),
        ("colour:red", r"no field 'colour' \(\? in the workbench and docs/filters.md list all"),
        ("archtype:x", "no field 'archtype', but archetype"),
        ("lenght>3", "no field 'lenght', but length"),
        ("s:x", "s could be"),
        ("outcome:done", "outcome is exit, panic, cap or error, not 'done'"),
        ("keep:maybe", "keep is yes or no, not 'maybe'"),
        ("turns>many", "turns is a number, not 'many'"),
        ("turns>3,4", "takes one number"),
        ("archetype>3", "archetype is no number"),
        ("http://x", "no field 'http'"),
    ],
)
def test_a_wrong_filter_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(BadFilter) as caught:
        parse(text)
    assert re.search(says, str(caught.value))


@pytest.mark.parametrize("known", [TRAJECTORY, EPISODE], ids=["trajectory", "episode"])
def test_the_manual_lists_every_field(known: Mapping[str, FilterField]) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "filters.md").read_text(encoding="utf-8")
    for how, what in SYNTAX:
        assert f"| `{how}` | {what} |" in manual
    for field in known.values():
        assert f"| `{field.usage}` | {field.says}" in manual
        assert parse(field.usage.replace("…", "x"), known)
        for alias in field.aliases:
            assert f"also `{alias}`" in manual


def test_the_text_is_not_read_where_the_facts_decide() -> None:
    def text() -> str:
        raise AssertionError("read")

    assert not matches(parse("notes outcome:exit"), lambda name: ROW[name], text)


WORDS = st.text(
    st.characters(exclude_characters='"', exclude_categories=["Cs"]), min_size=1
).filter(lambda word: word == word.lower() and word.strip() == word and word)
NUMBERS = st.one_of(
    st.integers(0, 10**9).map(str),
    st.tuples(st.integers(0, 999), st.sampled_from(["k", "m", ".5k", ".25"])).map(
        lambda pair: f"{pair[0]}{pair[1]}"
    ),
)


@st.composite
def terms(draw: st.DrawFn) -> Term:
    field = draw(st.sampled_from([None, *sorted({f.name for f in TRAJECTORY.values()})]))
    negated = draw(st.booleans())
    if field is None:
        return Term("", "", (draw(WORDS),), negated)
    kind = TRAJECTORY[field]
    if kind.kind == "number":
        op = draw(st.sampled_from(["=", ">", ">=", "<", "<="]))
        many = draw(st.lists(NUMBERS, min_size=1, max_size=3 if op == "=" else 1))
        return Term(field, op, tuple(many), negated)
    choices: Any = ("yes", "no") if kind.kind == "yes" else kind.choices
    values = st.sampled_from(choices) if choices else WORDS
    return Term(field, ":", tuple(draw(st.lists(values, min_size=1, max_size=3))), negated)


FILTERS = st.lists(terms(), max_size=5).map(lambda found: Filter(tuple(found)))


@given(FILTERS)
def test_a_filter_written_out_is_read_back_the_same(wanted: Filter) -> None:
    assert parse(str(wanted)) == wanted


@given(st.text())
def test_any_text_is_a_filter_or_a_plain_refusal(text: str) -> None:
    try:
        found = parse(text)
    except BadFilter:
        return
    assert parse(str(found)) == found


@given(FILTERS, st.data())
def test_not_turns_every_answer_round(wanted: Filter, data: st.DataObject) -> None:
    for term in wanted.terms:
        other = Term(term.field, term.op, term.values, not term.negated)
        answers = [
            matches(Filter((one,)), lambda name: ROW[name], lambda: TEXT) for one in (term, other)
        ]
        assert sorted(answers) == [False, True]


@given(FILTERS)
def test_all_terms_hold_together(wanted: Filter) -> None:
    each = [matches(Filter((t,)), lambda name: ROW[name], lambda: TEXT) for t in wanted.terms]
    assert matches(wanted, lambda name: ROW[name], lambda: TEXT) is all(each)


@given(NUMBERS, st.integers(0, 10**6))
def test_numbers_compare_as_numbers(limit: str, value: int) -> None:
    row = ROW | {"turns": value}
    assert passes(f"turns>{limit}", row) is (value > number(limit))
    assert passes(f"turns<={limit}", row) is (value <= number(limit))
