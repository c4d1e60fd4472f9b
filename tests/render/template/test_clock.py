"""Templates that print the date: one date for all renders of a run, said and pinned."""

from __future__ import annotations

import msgspec
import pytest

from sekft_engine.data.clock import Clock
from sekft_engine.render import Row, build_row, build_rows
from sekft_engine.render.rows.audit import audit
from sekft_engine.render.template.prompt import encode_prompt
from tests.render import templates
from tests.render.conftest import Base, MakeBase
from tests.render.families import trl_template
from tests.render.sessions import PLAIN, session
from tests.render.test_equals_transformers import row

EVE = Clock("2027-03-31T23:59:58.500000", "+12:00")
#: Mistral Small 3's way, and Granite's: the clock's answer in a variable, or printed at once.
IN_A_VARIABLE = (
    "{%- set today = strftime_now('%Y-%m-%d') %}{{ '<|im_start|>system\nToday is ' + today + "
    "'.<|im_end|>\n' }}" + templates.CHATML
)
OF_TWO_PATTERNS = (
    "{{ '<|im_start|>system\nIt is ' + strftime_now('%d %b') + ' of ' + strftime_now('%Y') + "
    "'<|im_end|>\n' }}" + templates.CHATML
)


def test_a_clock_prints_what_it_printed_in_any_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = EVE.strftime("%d %b %Y %H:%M:%S.%f %s %%s")
    assert shown == "31 Mar 2027 23:59:58.500000 1806494398 %s"
    monkeypatch.setenv("TZ", "Etc/GMT-14")
    assert EVE.strftime("%d %b %Y %H:%M:%S.%f %s %%s") == shown
    assert msgspec.json.decode(msgspec.json.encode(EVE), type=Clock) == EVE
    assert str(EVE) == "2027-03-31 23:59:58 +12:00"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"time": "soon"}, Clock)
    assert Clock.read({"time": "soon"}) is None


@pytest.mark.parametrize(
    "source",
    [IN_A_VARIABLE, OF_TWO_PATTERNS, trl_template("llama3_2")],
    ids=["variable", "two patterns", "llama"],
)
def test_a_date_is_named_and_the_line_that_pins_it_works(source: str, families: MakeBase) -> None:
    base = families("llama3.2" if "start_header_id" in source else "chatml").ours
    dated = base.with_template(source).with_clock(EVE)
    dating = dated.dating
    assert dating is not None
    assert dating.pin in dating.sentence
    assert "changes daily" in dating.sentence
    assert dated.notes == (dating.sentence,)
    # With that line it prints the same for ever, and there is nothing to say any more.
    pinned = base.with_template(f"{dating.pin}\n{source}").with_clock(Clock("2031-07-01T08:00:00"))
    assert row(PLAIN, pinned).text == row(PLAIN, dated).text
    assert pinned.dating is None
    assert pinned.notes == ()


def test_the_templates_own_variable_is_set_where_it_has_one(families: MakeBase) -> None:
    dating = families("llama3.2").ours.with_clock(EVE).dating
    assert dating is not None
    assert (dating.variable, dating.pin) == (
        "date_string",
        '{% set date_string = "31 Mar 2027" %}',
    )


@pytest.mark.parametrize(
    "source",
    [
        templates.CHATML,
        "{% set unused = strftime_now('%d') %}" + templates.CHATML,
        "{% if tools %}{{ strftime_now('%d') }}{% endif %}" + templates.CHATML,
    ],
)
def test_nothing_is_said_of_a_template_that_prints_no_date(source: str, smol: Base) -> None:
    tokenizer = smol.ours.with_template(source)
    assert tokenizer.dating is None
    assert tokenizer.notes == ()
    assert row(PLAIN, tokenizer).clock is None


def test_a_template_without_a_clock_is_the_same_one_at_any_time(smol: Base) -> None:
    assert smol.ours.with_clock(EVE) is smol.ours
    assert smol.ours.recorded_clock is None


def test_rows_and_prompts_of_one_clock_are_the_same_on_any_day_and_in_any_process(
    smol: Base,
) -> None:
    dated = smol.ours.with_template(IN_A_VARIABLE).with_clock(EVE)
    later = smol.ours.with_template(IN_A_VARIABLE).with_clock(Clock("2027-04-01T00:00:00"))
    built = row(PLAIN, dated)
    assert "Today is 2027-03-31." in built.text
    assert built.clock == EVE
    assert audit(built, dated).ok
    assert row(PLAIN, later).ids.tolist() != built.ids.tolist()
    again = later.with_clock(EVE)
    assert row(PLAIN, again).ids.tolist() == built.ids.tolist()
    assert encode_prompt(again, PLAIN.turns[:1]) == built.ids[: built.spans[0].start].tolist()
    assert again.render_digest == later.render_digest == dated.render_digest
    sessions = [PLAIN, session("$", "id", "root\n$", "exit")]
    elsewhere = list(build_rows(sessions, dated, processes=2))
    for one, found in zip(sessions, elsewhere, strict=True):
        here = build_row(one, dated)
        assert isinstance(found, Row)
        assert isinstance(here, Row)
        assert found.ids.tolist() == here.ids.tolist()
        assert found.clock == EVE
