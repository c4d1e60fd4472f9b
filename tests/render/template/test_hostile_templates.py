"""A template is foreign code: whatever it does, the session is refused with its words."""

from __future__ import annotations

import threading

import pytest

from sekft_engine.data.clock import Clock
from sekft_engine.render import ChatTokenizer, Dropped, Refused, build_row
from sekft_engine.render.template.sandbox import limits
from sekft_engine.render.template.template import ChatTemplate
from tests.render import templates
from tests.render.conftest import Base
from tests.render.sessions import PLAIN, session
from tests.render.test_equals_transformers import row

_DOUBLES = (
    "{% set ns = namespace(x='abcdefgh') %}{% for _ in range(60) %}{% set ns.x = ns.x + ns.x %}"
    "{% endfor %}"
)
_HUGE = "{% set x = 'ab' * 500000 %}"

#: name -> (template, what the refusal says).
RAISES = {
    "division": ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero"),
    "overflow": ("{{ 10.0 ** 400 }}", "OverflowError"),
    "attribute": ("{{ messages[0].nothing.more }}", "no attribute 'nothing'"),
    "own words": ("{{ raise_exception('no\nshells') }}", "no shells"),
    "no such filter": ("{{ 1 | no_such_filter }}", "no_such_filter"),
    "argument of a filter": ("{{ {} | dictsort(by='x') }}", "You can only sort by"),
    "half a character": ("{{ strftime_now('\ud800') }}", "UnicodeEncodeError"),
    "recursion": ("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}", "too deep"),
    "private": ("{{ messages.__class__.__mro__ }}", "unsafe"),
    "nested": ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "too deep"),
    "long chain": ("{{ " + "+".join("1" * 3000) + " }}", "too deep"),
    "source": ("{# " + "x" * 5_000_000 + " #}", "longer than"),
}
#: Each of these would take hours or terabytes.
BLOATS = {
    "times": "{{ 'x' * 10 ** 12 }}",
    "power": "{{ 9 ** (9 ** 9) }}",
    "digits": "{% set ns = namespace(x=3) %}{% for _ in range(60) %}{% set ns.x = ns.x * ns.x %}"
    "{% endfor %}",
    "doubles": _DOUBLES,
    "doubles by joining": _DOUBLES.replace("ns.x + ns.x", "ns.x ~ ns.x"),
    "filter center": "{{ 'x' | center(10 ** 12) }}",
    "method center": "{{ 'x'.center(10 ** 12) }}",
    "method of markup": "{{ ('x' | escape).ljust(10 ** 12) }}",
    "percent": "{{ '%1000000000000d' % 3 }}",
    "open width": "{{ '%*d' | format(10 ** 9, 3) }}",
    "braces": "{{ '{:1000000000000d}'.format(3) }}",
    "nested braces": "{{ '{:{}}'.format(3, 10 ** 9) }}",
    "filter replace": _HUGE + "{{ x | replace('a', x) }}",
    "method replace": _HUGE + "{{ x.replace('a', x) }}",
    "filter join": _HUGE + "{{ range(5000) | join(x) }}",
    "method join": _HUGE + "{{ x.join(x) }}",
    "many operands": _HUGE + "{{ " + " ~ ".join(["x"] * 300) + " }}",
    "written": _HUGE + "{% for _ in range(3000) %}{{ x }}{% endfor %}",
    "written in a macro": _HUGE
    + "{% macro f() %}{% for _ in range(3000) %}{{ x }}{% endfor %}{% endmacro %}{{ f() }}",
    "indent": "{{ 'x' | indent(10 ** 12, true) }}",
    "round": "{{ 1.5 | round(10 ** 9, 'floor') }}",
    "lipsum": "{{ lipsum(10 ** 9) }}",
    "json": "{{ [[1]] | tojson(indent=10 ** 12) }}",
    "batch": "{{ [1] | batch(10 ** 12, 'x') | list }}",
}
_TWICE = "{% for _ in range(99999) %}{% for _ in range(99999) %}BODY{% endfor %}{% endfor %}"
ENDLESS = {
    "loops": _TWICE.replace("BODY", ""),
    "writes": _TWICE.replace("BODY", "and so on"),
    "macros": "{% macro f(n) %}{{ f(n - 1) ~ f(n - 1) if n else '' }}{% endmacro %}{{ f(80) }}",
    "filters": _TWICE.replace("BODY", "{% set x = range(99999) | map('string') | list %}"),
}


def refused(source: str, base: Base) -> Dropped:
    """Why a session is refused under a template, as commands say it."""
    try:
        built = build_row(PLAIN, base.ours.with_template(source + templates.CHATML))
    except Refused as error:  # when it is loaded
        return Dropped(PLAIN.id, error.reason, error.what)
    assert isinstance(built, Dropped), "it was rendered"
    return built


@pytest.mark.parametrize("name", RAISES)
def test_any_error_of_a_template_is_a_refusal_with_its_words(name: str, smol: Base) -> None:
    source, says = RAISES[name]
    found = refused(source, smol)
    assert found.reason == "template_error"
    assert says in found.detail


@pytest.mark.parametrize("name", BLOATS)
def test_a_template_that_makes_a_huge_value_is_refused_before_it_does(
    name: str, smol: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SECONDS", 1.0)
    assert refused(BLOATS[name], smol).reason == "template_error"


@pytest.mark.parametrize("name", ENDLESS)
def test_a_template_that_does_not_end_is_ended(
    name: str, smol: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SECONDS", 0.2)
    found = refused(ENDLESS[name], smol)
    assert found.reason == "template_error"
    assert "does not end" in found.detail


def test_a_template_that_does_not_end_is_not_tried_for_each_session(
    smol: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SECONDS", 0.1)
    tokenizer = smol.ours.with_template(ENDLESS["loops"] + templates.CHATML)
    for _ in range(4):
        assert isinstance(build_row(PLAIN, tokenizer), Dropped)
    monkeypatch.setattr(limits, "SECONDS", 3600.0)  # a fifth try would take that long
    found = build_row(PLAIN, tokenizer)
    assert isinstance(found, Dropped)
    assert "does not end" in found.detail


def test_a_thread_that_was_interrupted_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renders of several threads at once: only the endless one ends, and its thread lives."""
    monkeypatch.setattr(limits, "SECONDS", 0.2)
    endless, plain = (ChatTemplate(source, {}, "here") for source in (ENDLESS["loops"], "fine"))
    texts: list[str] = []

    def work() -> None:
        with pytest.raises(Refused, match="does not end"):
            endless.render([])
        texts.append(plain.render([]))

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        assert plain.render([]) == "fine"
    thread.join()
    assert texts == ["fine"]


def test_the_turn_that_a_template_cannot_take_is_named(smol: Base) -> None:
    source = (
        "{% for message in messages %}{% if 'zero' in message.content %}{{ 1 / 0 }}{% endif %}"
        "{% endfor %}" + templates.CHATML
    )
    tokenizer = smol.ours.with_template(source)
    assert row(PLAIN, tokenizer).certificate.ok
    found = build_row(session("$", "ls", "zero\n$", "exit"), tokenizer)
    assert isinstance(found, Dropped)
    assert found.reason == "template_error"
    assert "ZeroDivisionError" in found.detail
    assert "(for turn 2)" in found.detail


def test_what_ordinary_templates_do_is_within_the_limits(smol: Base) -> None:
    source = (
        "{% set rule = '-' * 20 %}{% set ns = namespace(n=0, said='') %}"
        "{% for message in messages %}{% set ns.n = ns.n + 1 %}{% set ns.said = ns.said ~ ns.n %}"
        "{% endfor %}{{ rule ~ '%03d' % 7 ~ ('a b'.split() | join(', ')) ~ 'x'.center(5) ~ ns.said "
        "~ ('ab' | replace('a', 'c')) ~ ({'a': 1} | tojson(indent=2)) ~ 2 ** 10 ~ 7 % 4 "
        "~ '{:>4}'.format('y') ~ strftime_now('%Y') }}"
    )
    template = ChatTemplate(source, {}, "here", Clock("2027-01-01T00:00:00"))
    messages = [{"role": "user", "content": "$"}, {"role": "assistant", "content": "ls"}]
    assert template.render(messages) == (
        '--------------------007a, b  x  12cb{\n  "a": 1\n}10243   y2027'
    )


def test_a_command_says_it_in_a_line(smol: Base) -> None:
    with pytest.raises(Refused) as caught:
        ChatTokenizer(smol.ours.spec, "{% if %}", smol.ours.tokens, where="b/chat_template.jinja")
    assert caught.value.where == "b/chat_template.jinja"
    assert "broken chat template" in str(caught.value)
    assert "\n" not in str(caught.value)
