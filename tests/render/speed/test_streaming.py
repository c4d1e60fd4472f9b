"""The scaffolds derived from a traced template are those that rendering each prompt gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import trl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekft_engine.render import Refused
from sekft_engine.render.template.scaffold import Scaffolds, messages
from sekft_engine.render.template.streaming import SessionScaffold, TemplateAnalysis
from sekft_engine.render.template.taint_stream import NotStreamable
from sekft_engine.render.template.taint_string import ContentInspected
from sekft_engine.render.template.taint_trace import Tracer
from sekft_engine.render.template.template import ChatTemplate
from tests.fuzzing import examples
from tests.render import templates

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
TRL = sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
OURS = {
    name: text for name, text in vars(templates).items() if isinstance(text, str) and "{%" in text
} | templates.MISTRAL

NEEDS_NAMESPACE = "{% set ns = namespace(a=0, flag=false, last='', seen=[]) %}"
PREAMBLES = (
    "{{ bos_token }}",
    "{% if messages[0]['role'] == 'user' %}{{ bos_token }}{% endif %}",
    "{% set n = messages | length %}",
    "{% if messages | length > 4 %}{{ 'long' }}{% endif %}",
    "{% for m in messages %}{% set ns.a = ns.a + (m.role == 'user') %}{% endfor %}",
    "{% for m in messages %}{% set ns.last = m.content %}{% endfor %}",
    "{% for m in messages %}{% set ns.seen = ns.seen + [m] %}{% endfor %}",
    "{% for m in messages %}{% set ns.flag = (m.role == 'assistant') %}{% endfor %}",
    "{% set users = messages | selectattr('role', 'equalto', 'user') | list %}",
    "{% for m in messages %}{% if loop.index == 7 %}{% break %}{% endif %}{% endfor %}",
    "{% macro say(x) %}{{ x }}{% endmacro %}",
    "{% macro bump() %}{% set ns.a = ns.a + 1 %}{% endmacro %}",
)
CONTENTS = (
    "{{ message['content'] }}",
    "{{ message.content | trim }}",
    "{{ message.content.split('</think>')[-1] }}",
    "{{ message.content.strip('\\n') }}",
    "{{ '' ~ message.content }}",
    "{{ [message.content] | join('') }}",
    "{% set x = message.content %}{{ x }}",
    "{% set x %}{{ message.content }}{% endset %}{{ x }}",
    "{{ message.content if message.content else 'nothing' }}",
    "{{ message.content | replace('a', 'b') }}",
    "{{ message.content.lower() if message.content | length > 7 else message.content }}",
)
BODIES = (
    "{% if loop.last %}!{% endif %}",
    "{% if loop.last and add_generation_prompt %}?{% endif %}",
    "{% if loop.last and tools %}t{% endif %}",
    "{% if not tools or loop.last %}o{% endif %}",
    "{% if loop.last and bump() %}b{% endif %}",
    "{{ loop.index0 % 2 }}",
    "{{ loop.index }}",
    "{{ loop.revindex }}",
    "{% if loop.nextitem is defined %},{% endif %}",
    "{% if loop.previtem is defined %}{{ loop.previtem.role }}{% endif %}",
    "{% if loop.previtem is defined and loop.previtem.content == 'same' %}p{% endif %}",
    "{{ loop.cycle('a', 'b') }}",
    "{% if loop.changed(message.role) %}c{% endif %}",
    "{% if ns.flag %}f{% endif %}",
    "{% set ns.flag = (message.role == 'user') %}",
    "{% set ns.flag = not ns.flag %}",
    "{% set ns.a = ns.a + 1 %}",
    "{% set ns.last = message.content %}",
    "{{ ns.a }}",
    "{% if '</think>' in message.content %}T{% endif %}",
    "{% if message.content in 'a same b' %}i{% endif %}",
    "{% if message.content == messages[0].content %}s{% endif %}",
    "{% if message == messages[-1] %}L{% endif %}",
    "{% if messages[loop.index0 - 1].role == 'user' %}u{% endif %}",
    "{% if messages[loop.index0 + 1] is defined %}+{% endif %}",
    "{% if (ns.a == messages | length) and tools %}t{% endif %}",
    "{% if message.content ~ 'z' == 'samez' %}z{% endif %}",
    "{% if message.content is string %}s{% endif %}",
    "{% if message.content | length > 3 %}l{% endif %}",
    "{% if message.content > 'b' %}g{% endif %}",
    "{{ '%s' % message.role }}",
    "{% if add_generation_prompt %}.{% endif %}",
    "{% if loop.index0 == 8 and message.content.startswith('x') %}8{% endif %}",
    "{% if n is defined and n == 5 %}5{% endif %}",
    "{% if loop.index0 > 5 %}{% continue %}{% endif %}",
)
ENDINGS = (
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "{{ ns.a }}",
    "{% if ns.flag %}F{% endif %}",
    "{{ messages[-1].role }}",
    "{% if messages[-1]['role'] == 'assistant' %}{{ eos_token }}{% endif %}",
    "{% if messages[-1].content == 'same' %}S{% endif %}",
    "{{ messages | length }}",
    "{% if messages | length > 2 %}more{% endif %}",
    "{{ ns.last }}",
    "{{ ns.seen | length }}",
)
some_contents = st.lists(
    st.sampled_from(("", "x", " x", "x\n", "same", "a</think>b", "</think>", "banana", "A")),
    min_size=9,
    max_size=9,
)


@st.composite
def random_templates(draw: st.DrawFn) -> str:
    """A loop over the messages, with anything before, in and after it."""

    def some(choices: tuple[str, ...], most: int) -> str:
        return "".join(draw(st.lists(st.sampled_from(choices), max_size=most)))

    body = some(BODIES, 2) + draw(st.sampled_from(CONTENTS)) + some(BODIES, 1)
    return (
        NEEDS_NAMESPACE
        + some(PREAMBLES, 2)
        + "{% for message in messages %}{{ '<|im_start|>' ~ message.role ~ '\n' }}"
        + body
        + "{{ '<|im_end|>\n' }}{% endfor %}"
        + some(ENDINGS, 2)
    )


def shown(analysis: TemplateAnalysis, turns: int) -> SessionScaffold | str:
    try:
        return analysis.session(turns)
    except Refused as error:
        return error.reason


def rendered(scaffolds: Scaffolds, turns: int) -> tuple[object, ...] | str:
    """Parts, headers and closings, each from a render of its own."""
    try:
        parts = scaffolds.get(turns).parts
        headers, closings = [], []
        for turn in range(1, turns, 2):
            prompt = scaffolds.get(turn, prompt=True).parts
            headers.append(prompt[turn] if prompt[:turn] == parts[:turn] else None)
            closings.append(scaffolds.get(turn + 1).parts[turn + 1])
    except Refused as error:
        return error.reason
    return parts, tuple(headers), tuple(closings)


def check(template: ChatTemplate, contents: list[str]) -> bool:
    """Compare; returns whether the template is proven to render these contents by its scaffold."""
    scaffolds = Scaffolds(template)
    analysis = TemplateAnalysis(template, scaffolds)
    for turns in (9, 2, 1, 6, 32, 33):
        found, slow = shown(analysis, turns), rendered(scaffolds, turns)
        if isinstance(found, str):
            assert found == slow
        else:
            assert (found.parts, found.headers, found.closings) == slow
    found = shown(analysis, len(contents))
    if isinstance(found, str) or not found.covers(contents):
        return False
    for turn in range(1, len(contents), 2):
        before = contents[:turn]
        text = template.render(messages(before), add_generation_prompt=True)
        assert text == scaffolds.get(turn, prompt=True).fill(before)
    assert template.render(messages(contents)) == scaffolds.get(len(contents)).fill(contents)
    return True


@settings(max_examples=examples(250), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(random_templates(), some_contents)
def test_whatever_a_template_does(source: str, contents: list[str]) -> None:
    check(ChatTemplate(source, TOKENS, "here"), contents)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("ending", [0, 1])
def test_each_question_alone(body: str, ending: int) -> None:
    source = (
        NEEDS_NAMESPACE
        + PREAMBLES[-1]
        + "{% for message in messages %}{{ '<|im_start|>' ~ message.role ~ '\n' }}"
        + body
        + "{{ message.content ~ '<|im_end|>\n' }}{% endfor %}"
        + (ENDINGS[0] if ending else "".join(ENDINGS[:3]))
    )
    for contents in (["x"] * 9, ["same"] * 9, ["b", "", "same"] * 3, ["x", "</think>", "A"] * 3):
        check(ChatTemplate(source, TOKENS, "here"), contents)


@pytest.mark.parametrize("path", TRL, ids=lambda path: path.stem)
def test_templates_of_the_world(path: Path) -> None:
    template = ChatTemplate(path.read_text(encoding="utf-8"), TOKENS, path.stem)
    for contents in (["motd\n$", "ls -la", "x y\n$"] * 3, ["", " a", "b</think>c"] * 3):
        check(template, contents)


@pytest.mark.parametrize("name", OURS)
def test_templates_of_the_tests(name: str) -> None:
    template = ChatTemplate(OURS[name], TOKENS, name)
    for contents in (["motd\n$", "ls -la", "x y\n$"] * 3, ["", " a", "b</think>c"] * 3):
        check(template, contents)


@pytest.mark.parametrize("name", ["CHATML", "TRIMS", "v0.1", "v0.2", "v0.2-spaced", "v0.3", "nemo"])
def test_common_templates_are_proven_and_not_compared(name: str) -> None:
    template = ChatTemplate(OURS[name], TOKENS, name)
    analysis = TemplateAnalysis(template, Scaffolds(template))
    assert analysis.session(8).covers(["$", "ls"] * 4)
    assert analysis.streams


@pytest.mark.parametrize(
    "name", ["llama3", "llama3_1", "gemma", "gemma3", "phi3", "qwen2_5", "qwen3_instruct_2507"]
)
def test_public_templates_are_proven_and_not_compared(name: str) -> None:
    path = next(path for path in TRL if path.stem == name)
    template = ChatTemplate(path.read_text(encoding="utf-8"), TOKENS, name)
    analysis = TemplateAnalysis(template, Scaffolds(template))
    assert analysis.session(8).covers(["$", "ls"] * 4)
    assert analysis.streams
    # What they trim is compared.
    trims = name.startswith(("llama", "gemma"))
    assert analysis.session(8).covers(["$", "ls\n"] * 4) != trims


def test_tracing_alone_finds_what_depends_on_the_number_of_turns() -> None:
    """Without the renders that it is compared with afterwards."""
    for question in (
        "{% if loop.last %}!{% endif %}",
        "{{ loop.revindex }}",
        "{% if loop.nextitem is defined %},{% endif %}",
        "{% if messages[loop.index0 + 1] is defined %}+{% endif %}",
        "{% if loop.index0 == messages | length - 1 %}.{% endif %}",
        "{% if loop.last and bump() %}b{% endif %}",
        "{% if not (loop.last or false) %}b{% endif %}",
    ):
        assert not streams(body=question), question
    for ending in (
        "{{ ns.a }}",
        "{{ ns['a'] }}",
        "{% if ns.a > 40 %}many{% endif %}",
        "{{ ns.seen | length }}",
        "{% for m in ns.seen %}{{ m.role }}{% endfor %}",
        "{{ messages | length }}",
        "{{ messages[5].role }}",
        "{{ (messages | last).role }}",
        "{{ messages[1:] }}",
        "{% for m in messages[::-1] %}{{ m.role }}{% endfor %}",
    ):
        assert not streams(ending=ending), ending
    assert streams()
    assert streams(body="{% if loop.last and tools %}t{% endif %}", ending="{{ ns.role }}")
    assert streams(ending="{{ messages[-1].role }}")


def streams(body: str = "", ending: str = "") -> bool:
    counts = (
        "{% set ns.a = ns.a + 1 %}{% set ns.seen = ns.seen + [message] %}"
        "{% set ns.role = message.role %}"
    )
    source = (
        "{% macro bump() %}{% set ns.a = ns.a + 1 %}{% endmacro %}"
        + NEEDS_NAMESPACE
        + "{% for message in messages %}{{ message.role ~ ': ' }}"
        + body
        + "{{ message.content ~ '\n' }}"
        + counts
        + "{% endfor %}"
        + ending
    )
    tracer = Tracer(ChatTemplate(source, TOKENS, "here"))
    try:
        tracer.stream(64, prompt=False)
    except NotStreamable:
        return False
    return True


def test_tracing_alone_finds_what_depends_on_contents() -> None:
    for question in (
        "{{ message.content | upper }}",
        "{{ message.content[0] }}",
        "{{ message.content[:3] }}",
        "{{ 'y' if message.content in 'x y z' }}",
        "{{ 'y' if 'x' in [message.content] | join('-') ~ '-' }}",
        "{% set x %}<{{ message.content }}>{% endset %}{{ x | length }}",
        "{{ '%s' | format(message.content) | length }}",
        "{{ '%s' % message.content }}",
        "{{ '{}'.format(message.content) }}",
        "{{ ' '.join([message.content]) }}",
        "{{ message.content * 2 }}",
        "{{ 'y' if message.content < 'x' }}",
        "{{ 'y' if message.content == messages[0].content }}",
        "{{ 'y' if message in messages[:1] }}",
        "{{ {message.content: 1} | length }}",
        "{{ message | tojson }}",
        "{{ message }}",
        "{{ message.content | tojson }}",
        "{% filter upper %}{{ message.content }}{% endfilter %}",
        "{% autoescape true %}{{ message.content }}{% endautoescape %}",
        "{% for c in message.content %}{{ c }}{% endfor %}",
        "{{ (message.content | list)[0] }}",
        "{{ message.content | length }}",
        "{{ 'y' if message.content | length == 7 }}",
        "{{ message.content.find('x') }}",
        "{{ 'y' if 'xyz'.startswith(message.content) }}",
        "{{ messages | map(attribute='content') | map('length') | list }}",
        "{{ messages | groupby('content') | length }}",
        "{{ 'y' if loop.changed(message.content) }}",
        "{{ message.content is lower }}",
        "{{ ns.a ~ message.content is sameas 'x' }}",
    ):
        source = (
            NEEDS_NAMESPACE
            + "{% for message in messages %}"
            + question
            + "{{ message.content ~ '\n' }}{% endfor %}"
        )
        tracer = Tracer(ChatTemplate(source, TOKENS, "here"))
        with pytest.raises(ContentInspected):
            tracer.render(6, prompt=False)


def test_asking_whether_a_length_was_compared_changes_nothing() -> None:
    template = ChatTemplate(OURS["CHATML"], TOKENS, "CHATML")
    analysis = TemplateAnalysis(template, Scaffolds(template))
    assert not analysis.was_compared(4)
    assert not analysis.was_compared(4)
    analysis.note_compared(4)
    assert analysis.was_compared(4)
    assert not analysis.was_compared(6)
