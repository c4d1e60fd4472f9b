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

from sekft_engine.render.template.normalise import Refused


class ChatTemplate:
    """A compiled chat template.

    Args:
        source: Jinja source.
        tokens: named special tokens (``bos_token``, ...) that it may print.
        where: what errors name.

    Raises:
        Refused: it is no valid template.
    """

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
        """The text of a session.

        Args:
            messages: dictionaries with ``role`` and ``content``.
            add_generation_prompt: whether to add what asks the model for its turn.

        Raises:
            Refused: the template raises an exception; its text is in the error.
        """
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
        """The variables of a render, besides the environment's own names."""
        variables: dict[str, Any] = {"messages": messages, "tools": None, "documents": None}
        variables["strftime_now"] = self._today
        return variables | {"add_generation_prompt": add_generation_prompt} | self.tokens


class _GenerationTag(jinja2.ext.Extension):
    """``{% generation %}`` marks what the model wrote; here its body is rendered as it is."""

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


#: Attributes of ``loop`` that templates use at each message; none of them is unsafe.
_LOOP_ATTRIBUTES = frozenset(("index", "index0", "first", "last", "length"))


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """The sandbox, with a fast path for what templates look up at each message."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is dict:
            if attribute in obj and not hasattr(dict, attribute):
                return obj[attribute]
        elif type(obj) is jinja2.runtime.LoopContext and attribute in _LOOP_ATTRIBUTES:
            return getattr(obj, attribute)
        elif type(obj) is jinja2.utils.Namespace and attribute[:1] != "_":
            value = object.__getattribute__(obj, "_Namespace__attrs").get(attribute)
            if isinstance(value, str | int | list):
                return value
        return super().getattr(obj, attribute)


_Kind = TypeVar("_Kind", bound=jinja2.sandbox.ImmutableSandboxedEnvironment)


def environment(kind: type[_Kind] = _Sandbox) -> _Kind:  # type: ignore[assignment]
    """The environment in which transformers renders a template, sandboxed: a template is foreign
    code.

    Args:
        kind: the class to make it of.
    """
    created = kind(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_GenerationTag, jinja2.ext.loopcontrols],
    )
    created.filters["tojson"] = _tojson
    created.globals["raise_exception"] = raise_exception
    created.globals["dict"] = TemplateDict()
    return created


def raise_exception(message: str) -> str:
    raise jinja2.TemplateError(message)


def _calendar() -> Callable[[str], str]:
    """``strftime_now``: the local date, as the serving side prints it.

    Each pattern is evaluated once. A session must not be rendered with another date than the
    scaffold it is compared with, nor the last row of a data set with another than the first.
    """

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
