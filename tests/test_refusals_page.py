"""docs/refusals.md is held to the code: each reason, each template, each line that pins a date."""

from __future__ import annotations

import re
from pathlib import Path

from sekft_engine.data.clock import Clock
from sekft_engine.data.reasons import LINES, MEANINGS, WAYS
from sekft_engine.render.template.remarks.dating import dating_of
from sekft_engine.render.template.remarks.families import FAMILY_TEMPLATES
from sekft_engine.render.template.template import ChatTemplate

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/refusals.md").read_text(encoding="utf-8")
#: A reason as the engine's code writes it when it drops or refuses a session.
_NAMED = re.compile(
    r'(?:Refused|Dropped|_OtherEnding)\(\s*(?:[\w.]+,\s*)?"([a-z0-9_]+)"|return "([a-z0-9_]+)", '
)


def test_every_reason_is_listed_with_its_meaning_and_its_way_out() -> None:
    rows = dict(re.findall(r"^\| `([a-z0-9_]+)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert list(rows) == sorted(MEANINGS), "a reason is missing, or is not known any more"
    for reason, meaning in MEANINGS.items():
        way = WAYS[reason]
        line = f"`{LINES[reason]}`" if reason in LINES else "none"
        assert rows[reason] == f"{line} | {meaning} | {way[:1].upper()}{way[1:]}."


def test_no_session_is_refused_for_a_reason_that_is_not_listed() -> None:
    found: set[str] = set()
    folders = (ROOT / "sekft_engine" / name for name in ("data", "render", "sources"))
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        for names in _NAMED.findall(path.read_text(encoding="utf-8")):
            found.update(name for name in names if name)
    assert set(WAYS) == set(MEANINGS)
    assert {"not_additive", "no_command", "unknown_token", "bad_input"} <= found
    assert found - set(MEANINGS) == set()


def test_every_way_out_is_an_instruction_that_counts_no_turns() -> None:
    """Turns are counted anew where details are shown, and a way out has none."""
    for way in WAYS.values():
        assert not re.search(r"turn \d", way)
        assert way[:1].islower()
        assert not way.endswith(".")


def test_the_templates_on_the_page_are_those_that_refusals_name() -> None:
    blocks = re.findall(r"^(\S[^\n]*):\n\n```jinja\n(.*?)\n```", PAGE, re.DOTALL | re.MULTILINE)
    assert {family.title: family.source for family in FAMILY_TEMPLATES}.items() <= dict(
        blocks
    ).items()


def test_the_lines_that_pin_a_date_pin_it() -> None:
    lines = re.findall(r"```jinja\n(\{% (?:set date_string|macro strftime_now).*?)\n```", PAGE)
    assert len(lines) == 2
    dated = (
        "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}"
        "{% endif %}{{ date_string }}"
    )
    assert dating_of(ChatTemplate(dated, {}, "here")) is not None
    for line in lines:
        pinned = ChatTemplate(f"{line}\n{dated}", {}, "here", Clock("2027-01-01T00:00:00"))
        assert dating_of(pinned) is None
        assert "2024" in pinned.render([])
