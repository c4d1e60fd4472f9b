"""Whether a chat template prints the date, and the line that pins it."""

from __future__ import annotations

from collections.abc import Iterator

import jinja2
import jinja2.nodes
import msgspec

from sekft_engine.data.clock import Clock
from sekft_engine.render.template.normalise import Refused
from sekft_engine.render.template.sandbox.environment import environment
from sekft_engine.render.template.scaffold import messages, placeholders
from sekft_engine.render.template.template import ChatTemplate

#: The sessions that a template is tried with: their turns, and whether to add the prompt.
_TRIED = ((1, True), (2, False), (3, True), (4, False))


class Dating(msgspec.Struct, frozen=True, kw_only=True):
    """What a template prints of the clock.

    Attributes:
        clock: the time that renders show.
        printed: what the template printed of it.
        pin: a line of template code that, put before the template, keeps it at this date; '' = none
            was found.
        variable: the template's own variable that ``pin`` sets; '' = none.
    """

    clock: Clock
    printed: tuple[str, ...]
    pin: str
    variable: str

    @property
    def fact(self) -> str:
        """What is so, in a sentence without a full stop."""
        shown = ", ".join(repr(text) for text in self.printed)
        return f"the chat template prints the date ({shown}), so what is served changes daily"

    @property
    def mend(self) -> str:
        """The way out."""
        if not self.pin:
            return "put a chat_template.jinja without the date into the base's folder"
        return (
            f"to pin it, put {self.pin} as the first line into the base's chat_template.jinja, "
            "train with that and serve that"
        )

    @property
    def sentence(self) -> str:
        """Both."""
        return f"{self.fact}; {self.mend}"


def dating_of(template: ChatTemplate) -> Dating | None:
    """What ``template`` prints of its clock; None if it prints nothing of it."""
    if not template.may_read_clock:
        return None
    fresh = _renders(template, template.clock)
    if not fresh.asked:
        return None
    # Each of these changes what any pattern of a date or time prints.
    other = _renders(template, template.clock.later(days=400, hours=13, minutes=7, seconds=9))
    if fresh.texts == other.texts:
        return None
    printed = tuple(dict.fromkeys(told for told in fresh.asked.values() if told.strip()))
    pin, variable = _pin(template, fresh)
    return Dating(clock=template.clock, printed=printed, pin=pin, variable=variable)


class _Renders(msgspec.Struct, frozen=True):
    """A template's renders of some sessions, and what it asked the clock for them."""

    texts: tuple[str, ...]
    asked: dict[str, str]


def _renders(template: ChatTemplate, clock: Clock, before: str = "") -> _Renders:
    anew = ChatTemplate(before + template.source, template.tokens, template.where, clock)
    texts = []
    for turns, prompt in _TRIED:
        try:
            texts.append(anew.render(messages(placeholders(turns)), add_generation_prompt=prompt))
        except Refused:
            texts.append("")
    return _Renders(tuple(texts), anew.asked)


def _pin(template: ChatTemplate, fresh: _Renders) -> tuple[str, str]:
    """The first line that keeps the template at what it prints now, and the variable that it sets.

    Each line is tried: with it the template must print the same, and not ask the clock.
    """
    for line, variable in _lines(template, fresh.asked):
        try:
            pinned = _renders(template, template.clock, f"{line}\n")
        except Refused:
            continue
        if pinned.texts == fresh.texts and not pinned.asked:
            return line, variable
    return "", ""


def _lines(template: ChatTemplate, asked: dict[str, str]) -> Iterator[tuple[str, str]]:
    if len(asked) == 1:
        (told,) = asked.values()
        for variable in _dated_variables(template.source):
            yield f"{{% set {variable} = {_quoted(told)} %}}", variable
        yield f"{{% macro strftime_now(pattern) %}}{told}{{% endmacro %}}", ""
    table = ", ".join(f"{_quoted(pattern)}: {_quoted(told)}" for pattern, told in asked.items())
    yield f"{{% macro strftime_now(pattern) %}}{{{{ {{{table}}}[pattern] }}}}{{% endmacro %}}", ""


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _dated_variables(source: str) -> list[str]:
    """The names that the template sets to what the clock says."""
    tree: jinja2.nodes.Template = environment().parse(source)
    found = []
    for assignment in tree.find_all(jinja2.nodes.Assign):
        calls = assignment.node.find_all(jinja2.nodes.Call)
        reads = any(getattr(call.node, "name", "") == "strftime_now" for call in calls)
        direct = getattr(getattr(assignment.node, "node", None), "name", "") == "strftime_now"
        if (reads or direct) and isinstance(assignment.target, jinja2.nodes.Name):
            found.append(assignment.target.name)
    return list(dict.fromkeys(found))
