"""A tokenizer's chat template, rendered as transformers renders it but without transformers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.runtime
import jinja2.sandbox
import jinja2.utils

from sekft_engine.render.normalise import Refused


class ChatTemplate:
    """A compiled chat template. ``tokens`` are the named special tokens that it may print."""

    def __init__(self, source: str, tokens: Mapping[str, str], where: str) -> None:
        self.source = source
        self.where = where
        self.tokens = dict(tokens)
        self._today = _calendar()
        try:
            sandbox: jinja2.Environment = environment()
            self._compiled = sandbox.from_string(source)
        except jinja2.TemplateError as error:
            raise Refused(
                "template_error",
                f"broken chat template: {error}",
                where=where,
                mend="take the template from the base's own repository",
            ) from error

    def render(
        self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = False
    ) -> str:
        """The text of ``messages``, or :class:`Refused` with what the template objects to."""
        try:
            return self._compiled.render(
                self.variables([dict(message) for message in messages], add_generation_prompt)
            )
        except (jinja2.TemplateError, TypeError, ValueError, LookupError) as error:
            raise Refused(
                "template_error",
                f"the chat template refuses the session: {error}",
                where=self.where,
            ) from error

    def variables(self, messages: object, add_generation_prompt: bool) -> dict[str, Any]:
        """All that the template is given besides the environment's own names."""
        given: dict[str, Any] = {"messages": messages, "tools": None, "documents": None}
        given["strftime_now"] = self._today
        return given | {"add_generation_prompt": add_generation_prompt} | self.tokens


class _GenerationTag(jinja2.ext.Extension):
    """``{% generation %}`` marks what a model said; here it only passes its body through."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class TemplateDict:
    """``dict(...)`` for templates, without the attributes of the real class."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args, **kwargs)


#: What every loop asks for; none of it is unsafe.
_OF_LOOPS = frozenset(("index", "index0", "first", "last", "length"))


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """The sandbox, with short ways to what templates reach for at each message."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is dict:
            if attribute in obj and not hasattr(dict, attribute):
                return obj[attribute]
        elif type(obj) is jinja2.runtime.LoopContext and attribute in _OF_LOOPS:
            return getattr(obj, attribute)
        elif type(obj) is jinja2.utils.Namespace and attribute[:1] != "_":
            value = object.__getattribute__(obj, "_Namespace__attrs").get(attribute)
            if isinstance(value, str | int | list):
                return value
        return super().getattr(obj, attribute)


_Kind = TypeVar("_Kind", bound=jinja2.sandbox.ImmutableSandboxedEnvironment)


def environment(kind: type[_Kind] = _Sandbox) -> _Kind:  # type: ignore[assignment]
    """The environment that transformers gives a template: a template is code from outside."""
    made = kind(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_GenerationTag, jinja2.ext.loopcontrols],
    )
    made.filters["tojson"] = _tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["dict"] = TemplateDict()
    return made


def raise_exception(message: str) -> str:
    raise jinja2.TemplateError(message)


def _calendar() -> Callable[[str], str]:
    """``strftime_now``: the local date, as the serving side prints it. It is kept as first asked
    for: a session must not be rendered under another date than the scaffold it is held against,
    nor the last row of a data set under another than the first."""

    @cache
    def strftime_now(pattern: str) -> str:
        return datetime.now().strftime(pattern)  # noqa: DTZ005

    return strftime_now


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON without jinja's HTML escapes."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )
