"""Templates that look at what is said, at the neighbours or at the number of turns, in every way
that the template language offers: a row is what transformers renders, or the session is refused.

Rendering once for many sessions is sound only if no such look goes unnoticed.
"""

from __future__ import annotations

import pytest

from sekft_engine.render import Dropped, Row, build_row
from sekft_engine.render.rows.audit import audit
from tests.render.conftest import Base
from tests.render.families import FamilyBase
from tests.render.modes.oracle import appends, render, shown_whole
from tests.render.sessions import session
from tests.render.test_equals_transformers import messages

_HEAD = "{{ '<|im_start|>' + message['role'] + '\\n' }}"
_END = "{{ '<|im_end|>\\n' }}"
_PROMPT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"


def loop(body: str, before: str = "", over: str = "messages") -> str:
    return f"{before}{{% for message in {over} %}}{_HEAD}{body}{_END}{{% endfor %}}{_PROMPT}"


CURIOUS = {
    "plain": loop("{{ message.content }}"),
    "by key": loop("{{ message['content'] }}"),
    "by get": loop("{{ message.get('content') }}"),
    "by items": loop("{% for k, v in message.items() %}{% if k == 'content' %}{{ v }}{% endif %}"
                     "{% endfor %}"),
    "length": loop("{{ 'long' if message.content | length > 9 else message.content }}"),
    "slice": loop("{{ message.content[:3] }}{{ message.content[3:] }}"),
    "first letter": loop("{{ '' if message.content[0] == 'l' else '' }}{{ message.content }}"),
    "cuts": loop("{{ message.content[:8] }}"),
    "contains": loop("{{ '> ' if 'ls' in message.content else '' }}{{ message.content }}"),
    "lacks": loop("{{ '' if 'zz' not in message.content else '> ' }}{{ message.content }}"),
    "equals": loop("{{ '> ' if message.content == 'exit' else '' }}{{ message.content }}"),
    "compares": loop("{{ '> ' if message.content < 'f' else '' }}{{ message.content }}"),
    "is one of": loop("{{ '> ' if message.content in ['exit', 'ls'] }}{{ message.content }}"),
    "empty": loop("{{ message.content or '(silence)' }}"),
    "truth": loop("{% if message.content %}{{ message.content }}{% else %}-{% endif %}"),
    "negation": loop("{% if not message.content %}-{% endif %}{{ message.content }}"),
    "default": loop("{{ message.content | default('x', true) }}"),
    "is string": loop("{% if message.content is string %}{{ message.content }}{% endif %}"),
    "is upper": loop("{{ '> ' if message.content is upper else '' }}{{ message.content }}"),
    "starts": loop("{{ '> ' if message.content.startswith('l') else '' }}{{ message.content }}"),
    "splits": loop("{{ message.content.split('</think>')[-1] }}"),
    "lines": loop("{{ message.content.splitlines() | join('\\n') }}"),
    "strips": loop("{{ message.content.strip() }}"),
    "trims": loop("{{ message.content | trim }}"),
    "trims a block": loop("{% filter trim %}{{ message.content }}{% endfilter %}"),
    "block": loop("{% set said %}{{ message.content }}{% endset %}{{ said }}"),
    "trimmed block": loop("{% set said | trim %}{{ message.content }}{% endset %}{{ said }}"),
    "upper": loop("{{ message.content | upper }}"),
    "replaces": loop("{{ message.content | replace('exit', 'quit') }}"),
    "escapes": loop("{{ message.content | e }}"),
    "quotes": loop("{{ message.content | tojson }}"),
    "formats": loop("{{ '%s' % message.content }}"),
    "formats more": loop("{{ '{}'.format(message.content) }}"),
    "joins": loop("{{ ['', message.content] | join }}"),
    "concatenates": loop("{{ '' ~ message.content ~ '' }}"),
    "as a list": loop("{% for letter in message.content %}{{ letter }}{% endfor %}"),
    "counts": loop("{{ message.content.count('x') * ' ' }}{{ message.content }}"),
    "reverses": loop("{{ message.content | reverse | reverse }}"),
    "a number": loop("{{ message.content | int(7) }}"),
    "macro": loop("{{ say(message) }}",
                  "{% macro say(m) %}{{ m.content }}{% endmacro %}"),
    "macro that looks": loop("{{ say(message.content) }}",
                             "{% macro say(t) %}{{ t if 'ls' in t else t | trim }}{% endmacro %}"),
    "remembers": loop("{% if message.content == 'ls' %}{% set ns.seen = true %}{% endif %}"
                      "{{ message.content }}{{ '!' if ns.seen and message.role == 'user' }}",
                      "{% set ns = namespace(seen=false) %}"),
    "remembers the last": loop("{{ '' if ns.last == message.content else message.content }}"
                               "{% set ns.last = message.content %}",
                               "{% set ns = namespace(last='-') %}"),
    "changed": loop("{{ message.content if loop.changed(message.content) else '(again)' }}"),
    "first": loop("{{ '> ' if loop.first else '' }}{{ message.content }}"),
    "last": loop("{{ '> ' if loop.last else '' }}{{ message.content }}"),
    "last command": loop("{{ '> ' if loop.last and message.role == 'assistant' else '' }}"
                         "{{ message.content }}"),
    "index": loop("{{ loop.index }} {{ message.content }}"),
    "from the end": loop("{{ loop.revindex }} {{ message.content }}"),
    "loop length": loop("{{ loop.length }} {{ message.content }}"),
    "all": loop("{{ messages | length }} {{ message.content }}"),
    "next": loop("{{ message.content }}{{ '+' if loop.nextitem is defined else '' }}"),
    "what is next": loop("{{ message.content }}{{ '+' if loop.nextitem is defined and "
                         "loop.nextitem.content == 'exit' else '' }}"),
    "before": loop("{{ '+' if loop.previtem is defined and 'x' in loop.previtem.content else '' }}"
                   "{{ message.content }}"),
    "the first one": loop("{{ message.content }}", "{{ messages[0].content | length }}\n"),
    "the last one": loop("{{ message.content }}{{ '' if messages[-1].content else '?' }}"),
    "backwards": loop("{{ message.content }}", over="messages[::-1] | reverse"),
    "chosen": loop("{{ message.content }}",
                   over="messages | selectattr('content', 'ne', 'exit')"),
    "chosen by role": loop("{{ message.content }}",
                           over="messages | rejectattr('role', 'equalto', 'tool')"),
    "chosen in place": loop("{{ message.content }}", over="messages if message.content"),
    "sorted": loop("{{ message.content }}", over="messages | sort(attribute='content')"),
    "mapped": loop("{{ (messages | map(attribute='content') | list)[loop.index0] }}"),
    "summed": loop("{{ message.content }}",
                   "{{ messages | map(attribute='content') | join | length }}\n"),
    "whole message": loop("{{ message.content }}{{ '' if message | string | length else '' }}"),
    "sliced": loop("{{ message.content }}", over="messages[:4]"),
    "raises": loop("{% if 'motd' in message.content %}{{ raise_exception('no') }}{% endif %}"
                   "{{ message.content }}"),
}  # fmt: skip

SESSIONS = (
    session("$", "ls"),
    session("motd\n$", "ls -la", "x y\n$", "exit"),
    session("", "ls", "", "exit"),
    session("$", "ls", "$", "ls", "$", "exit"),
    session(" $ ", "ls", "a</think>b\n", "exit", "bye\n"),
    session("ABC", "exit", "<&>\"'{{ x }}", "zz", "$", "EXIT", "$"),
    session("7", "12", "exit", "exit", "x", "a long command with x", "exit", "exit"),
)
BY_TOKENS = {"boundary_merge", "decode_mismatch"}


@pytest.mark.parametrize("name", CURIOUS)
@pytest.mark.filterwarnings("ignore")
def test_no_look_goes_unnoticed(name: str, smol: Base) -> None:
    base = FamilyBase(smol, CURIOUS[name])
    # Twice and in both orders: what was found out on one session must not mislead on another.
    for one in (*SESSIONS, *reversed(SESSIONS)):
        built = build_row(one, base.ours)
        try:
            faithful = shown_whole(base.theirs, one) and appends(base.theirs, one)
        except Exception:  # noqa: BLE001  # whatever a template raises in transformers
            assert isinstance(built, Dropped)
            continue
        if isinstance(built, Row):
            assert faithful, "a session was taken that the template changes"
            assert built.text == render(base.theirs, messages(one))
            assert audit(built, base.ours).ok
        else:
            assert not faithful or built.reason in BY_TOKENS, built
