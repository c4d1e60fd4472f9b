"""One render and one tokenisation per session, however many turns it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from sekft_engine.render import ChatTokenizer, Row, build_row
from sekft_engine.render.rows.audit import audit
from sekft_engine.render.template.cut import Cutter
from sekft_engine.render.template.taint_trace import Tracer
from sekft_engine.render.template.template import ChatTemplate
from tests.render import templates
from tests.render.conftest import Base, MakeBase
from tests.render.sessions import session
from tests.render.speed.same import assert_same


class Work:
    """Messages that templates went through, and characters that were tokenised."""

    messages = characters = renders = 0


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    work = Work()
    render, run, cut = ChatTemplate.render, Tracer._run, Cutter.cut

    def counting(self: ChatTemplate, messages: Sequence[Mapping[str, Any]], **named: Any) -> str:
        work.messages += len(messages)
        work.renders += 1
        return render(self, messages, **named)

    def tracing(self: Tracer, given: Any, stream: Any, prompt: bool) -> Iterator[str]:
        work.messages += len(given if stream is None else stream._messages)
        return run(self, given, stream, prompt)

    def cutting(self: Cutter, texts: Sequence[str]) -> Any:
        work.characters += sum(map(len, texts))
        return cut(self, texts)

    with monkeypatch.context() as patch:
        patch.setattr(ChatTemplate, "render", counting)
        patch.setattr(Tracer, "_run", tracing)
        patch.setattr(Cutter, "cut", cutting)
        yield work


def long(turns: int) -> Any:
    return session(*(f"echo {n}" if n % 2 else f"line {n}\n$" for n in range(turns)))


@pytest.mark.parametrize("name", ["smollm2", "v1", "v3", "v3/legacy", "tekken-v3"])
@pytest.mark.parametrize("turns", [100, 1000])
def test_the_first_session_costs_a_few_renders_and_the_next_one_one(
    name: str, turns: int, bases: MakeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = bases(name).ours
    tokenizer = known.with_template(known.template.source)
    with counted(monkeypatch) as first:
        one = build_row(long(turns), tokenizer)
    assert isinstance(one, Row)
    assert first.messages <= 12 * turns
    with counted(monkeypatch) as next_one:
        assert_same(build_row(long(turns), tokenizer), one)
    assert next_one.renders == 1
    assert next_one.messages == turns
    # Where no control token stands between a prompt and its command, the prompts once more.
    assert next_one.characters <= 3 * len(one.text) + 30 * turns


def test_a_template_that_counts_is_watched_once_and_then_costs_one_render(
    smol: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zephyr's writes its prompt inside the loop: each prompt is rendered, but not per session."""
    tokenizer = smol.ours.with_template(templates.ZEPHYR)
    build_row(long(70), tokenizer)
    with counted(monkeypatch) as work:
        build_row(long(70), tokenizer)
    assert work.renders == 1


def test_contents_that_a_template_asks_about_are_compared_prompt_by_prompt(
    smol: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = smol.ours.with_template(templates.CUTS_THOUGHTS)
    build_row(long(80), tokenizer)
    with counted(monkeypatch) as work:
        build_row(long(80), tokenizer)
    assert work.renders == 1
    thoughtful = session(*("$</think>" if n == 79 else "ls" if n % 2 else "$" for n in range(80)))
    with counted(monkeypatch) as work:
        build_row(thoughtful, tokenizer)
    assert work.renders > 40


@pytest.mark.parametrize("name", ["smollm2", "v1", "v3"])
def test_a_long_session_passes_the_audit_that_compares_everything(
    name: str, bases: MakeBase
) -> None:
    tokenizer: ChatTokenizer = bases(name).ours
    built = build_row(long(301), tokenizer)
    assert isinstance(built, Row)
    assert audit(built, tokenizer) == built.certificate


def test_a_million_tokens_in_one_session(smol: Base) -> None:
    output = "drwxr-xr-x 2 root root 4096 Nov 23 10:22 notes.txt Permission denied\n" * 60
    many = session(*("cat notes.txt" if n % 2 else output for n in range(1200)))
    built = build_row(many, smol.ours)
    assert isinstance(built, Row)
    assert len(built) > 1_000_000
    assert len(built.spans) == 600
    assert built.certificate.ok
