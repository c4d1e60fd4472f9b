"""The Jinja environment of chat templates: sandboxed as transformers has it, and limited.

:mod:`sekft_engine.render.template.sandbox.limits` interrupts a template that takes too long. It
cannot interrupt one operation of Python's, such as ``'x' * 10**10``, so the few operations that
make a huge value of small ones are checked here before they are done.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from typing import Any, TypeVar

import jinja2
import jinja2.compiler
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.runtime
import jinja2.sandbox
import jinja2.utils
import markupsafe

from sekft_engine.render.template.sandbox.limits import LimitReached, check_size

#: Largest number that may say how wide, how deep or how many.
_LARGEST_COUNT = 100_000
#: Most binary digits of a whole number.
_LARGEST_BITS = 100_000
#: Most characters for filters whose work grows faster than their input.
_SLOW_INPUT = 1_000_000
#: So many joins in one printed expression need no check.
_FEW_JOINS = 16

_WIDTH = re.compile(r"\d{6,}|\*")


class TemplateDict:
    """``dict(...)`` for templates, without the attributes of the real class."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args, **kwargs)


class _GenerationTag(jinja2.ext.Extension):
    """``{% generation %}`` marks what the model wrote; here its body is rendered as it is."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _CodeGenerator(jinja2.compiler.CodeGenerator):
    """Joins texts by calls of the environment, which check their size.

    A text that is joined from few parts and printed at once, as ordinary templates do at each
    message, needs no check: it cannot be joined with itself again and again.
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._printed: set[int] = set()

    def visit_Output(self, node: jinja2.nodes.Output, frame: Any) -> None:  # noqa: N802
        if frame.buffer is None:  # not within a macro, whose output is a value
            for child in node.nodes:
                joins = list(_joins(child))
                if len(joins) <= _FEW_JOINS:
                    self._printed.update(map(id, joins))
        super().visit_Output(node, frame)

    def visit_Add(self, node: jinja2.nodes.BinExpr, frame: Any) -> None:  # noqa: N802
        counts = any(
            isinstance(side, jinja2.nodes.Const) and isinstance(side.value, int)
            for side in (node.left, node.right)
        )
        if counts or id(node) in self._printed:
            super().visit_Add(node, frame)
            return
        self.write("environment.call_binop(context, '+', ")
        self.visit(node.left, frame)
        self.write(", ")
        self.visit(node.right, frame)
        self.write(")")

    def visit_Concat(self, node: jinja2.nodes.Concat, frame: Any) -> None:  # noqa: N802
        if id(node) in self._printed and len(node.nodes) <= _FEW_JOINS:
            super().visit_Concat(node, frame)
            return
        self.write("environment.join_many(")
        for value in node.nodes:
            self.visit(value, frame)
            self.write(", ")
        self.write(")")


def _joins(node: jinja2.nodes.Node) -> Iterator[jinja2.nodes.Node]:
    """The ``+`` and ``~`` of an expression whose results are parts of its value."""
    if isinstance(node, jinja2.nodes.Add):
        yield node
        parts = [node.left, node.right]
    elif isinstance(node, jinja2.nodes.Concat):
        yield node
        parts = node.nodes
    elif isinstance(node, jinja2.nodes.CondExpr):
        parts = [node.expr1, *([] if node.expr2 is None else [node.expr2])]
    else:
        return
    for part in parts:
        yield from _joins(part)


def joined(pieces: Iterable[str]) -> str:
    """``"".join``, limited. Jinja joins with it whatever a template or a macro writes."""
    texts = pieces if isinstance(pieces, list) else list(pieces)
    check_size(sum(map(len, texts)))
    return "".join(texts)


class LimitedEnvironment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """The sandbox, in which no single operation makes a huge value."""

    code_generator_class: type[jinja2.compiler.CodeGenerator] = _CodeGenerator
    # Also, these are not computed when a template is compiled.
    intercepted_binops = frozenset(("*", "**", "%"))
    concat = staticmethod(joined)

    def join_many(self, *values: Any) -> str:
        """``a ~ b ~ c ...``"""
        return joined([str(value) for value in values])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator in _CHECKS:
            _CHECKS[operator](left, right)
        return super().call_binop(context, operator, left, right)

    def getattr(self, obj: Any, attribute: str) -> Any:
        return _limited_method(obj, attribute, super().getattr(obj, attribute))

    def getitem(self, obj: Any, argument: Any) -> Any:
        return _limited_method(obj, argument, super().getitem(obj, argument))


#: Attributes of ``loop`` that templates use at each message; none of them is unsafe.
_LOOP_ATTRIBUTES = frozenset(("index", "index0", "first", "last", "length"))


class Sandbox(LimitedEnvironment):
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

    def getitem(self, obj: Any, argument: Any) -> Any:
        if type(obj) is dict:
            try:
                return obj[argument]
            except (LookupError, TypeError):
                pass  # an attribute, or undefined
        return super().getitem(obj, argument)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and type(left) is int:
            return left % right
        return super().call_binop(context, operator, left, right)


_Kind = TypeVar("_Kind", bound=LimitedEnvironment)


def environment(kind: type[_Kind] = Sandbox) -> _Kind:  # type: ignore[assignment]
    """The environment in which transformers renders a template, sandboxed and limited.

    Args:
        kind: the class to make it of.
    """
    created = kind(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_GenerationTag, jinja2.ext.loopcontrols],
    )
    created.filters["tojson"] = _tojson
    for name, check in _FILTER_CHECKS.items():
        function = created.filters[name]
        # Some filters get a context or the environment before the value.
        created.filters[name] = _checked(function, check, int(hasattr(function, "jinja_pass_arg")))
    created.globals["raise_exception"] = raise_exception
    created.globals["dict"] = TemplateDict()
    created.globals["lipsum"] = _checked(jinja2.utils.generate_lorem_ipsum, _check_counts)
    return created


def raise_exception(message: str) -> str:
    raise jinja2.TemplateError(message)


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


# --- checks before an operation ------------------------------------------------------------------

#: Not their subclasses: those of :mod:`~sekft_engine.render.template.taint_string` do not tell
#: their length.
_TEXTS = (str, markupsafe.Markup)
_SEQUENCES = (*_TEXTS, list, tuple)


def _check_counts(*values: object, **named: object) -> None:
    """Refuse a number that says how wide, how deep or how many, where it is huge."""
    for value in (*values, *named.values()):
        if isinstance(value, int | float) and abs(value) > _LARGEST_COUNT:
            raise LimitReached(f"it asks for {value} of something")


def _check_times(left: object, right: object) -> None:
    for sequence, count in ((left, right), (right, left)):
        if type(sequence) in _SEQUENCES and isinstance(count, int):
            check_size(len(sequence) * count)  # type: ignore[arg-type]
    if isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() + right.bit_length())


def _check_power(left: object, right: object) -> None:
    if isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() * right)


def _check_bits(bits: int) -> None:
    if bits > _LARGEST_BITS:
        raise LimitReached("it computes a number of too many digits")


def _check_format(pattern: object, *_values: object, **_named: object) -> None:
    if isinstance(pattern, str) and "%" in pattern and _WIDTH.search(pattern):
        raise LimitReached("it formats a value with a huge or open width")


def _check_add(left: object, right: object) -> None:
    if type(left) in _SEQUENCES and type(right) in _SEQUENCES:
        check_size(len(left) + len(right))  # type: ignore[arg-type]


_CHECKS: dict[str, Callable[[Any, Any], None]] = {
    "*": _check_times,
    "**": _check_power,
    "%": _check_format,
    "+": _check_add,
}


def _check_replace(text: object, old: object = "", new: object = "", *_more: object) -> None:
    if isinstance(text, str) and isinstance(old, str) and isinstance(new, str):
        growth = len(new) - len(old)
        if growth > 0 and (len(text) + 1) * (growth + 1) > _SLOW_INPUT:
            check_size(len(text) + text.count(old) * growth)


def _check_join(items: object, separator: object = "", *_more: object, **_named: object) -> None:
    if isinstance(items, Sequence):
        length = len(separator) if isinstance(separator, str) else 0
        check_size(len(items) * length + sum(len(each) for each in items if isinstance(each, str)))


def _check_indent(text: object, width: object = 4, *_more: object, **_named: object) -> None:
    _check_counts(width)
    size = width if isinstance(width, int) else len(str(width))
    if isinstance(text, str):
        check_size(len(text) + (text.count("\n") + 1) * size)


def _check_wide(_text: object, *counts: object, **named: object) -> None:
    _check_counts(*counts, **named)


def _check_slow(text: object, *counts: object, **named: object) -> None:
    """For filters whose work grows faster than their input."""
    _check_counts(*counts, **named)
    if isinstance(text, str) and len(text) > _SLOW_INPUT:
        raise LimitReached("it puts too long a text through a slow filter")


def _check_sum(items: object, *_more: object, start: object = 0, **_named: object) -> None:
    if isinstance(start, list | tuple) and isinstance(items, Sequence):
        check_size(len(items) * sum(len(each) for each in items if isinstance(each, list | tuple)))


def _check_round(_value: object, precision: object = 0, *_more: object, **_named: object) -> None:
    if isinstance(precision, int) and abs(precision) > 300:
        raise LimitReached(f"it rounds to {precision} digits")


Check = Callable[..., None]

_FILTER_CHECKS: dict[str, Check] = {
    "batch": _check_wide,
    "center": _check_wide,
    "format": _check_format,
    "indent": _check_indent,
    "join": _check_join,
    "pprint": _check_slow,
    "replace": _check_replace,
    "round": _check_round,
    "slice": _check_wide,
    "striptags": _check_slow,
    "sum": _check_sum,
    "tojson": _check_wide,
    "truncate": _check_wide,
    "urlize": _check_slow,
    "wordwrap": _check_slow,
    "xmlattr": _check_slow,
}
_METHOD_CHECKS: dict[str, Callable[[str], Check]] = {
    "center": lambda _: _check_counts,
    "expandtabs": lambda _: _check_counts,
    "join": lambda text: lambda items=(), *_: _check_join(items, text),
    "ljust": lambda _: _check_counts,
    "replace": lambda text: lambda *args: _check_replace(text, *args),
    "rjust": lambda _: _check_counts,
    "zfill": lambda _: _check_counts,
    "format": lambda text: lambda *_, **__: _check_braces(text),
    "format_map": lambda text: lambda *_: _check_braces(text),
    "translate": lambda text: lambda *_: _check_slow(text),
}


def _check_braces(pattern: str) -> None:
    if re.search(r"\{[^{}]*\d{6,}|\{[^{}]+\{", pattern):
        raise LimitReached("it formats a value with a huge or open width")


def _limited_method(obj: object, name: object, found: Any) -> Any:
    """``found``, a method of ``obj`` called ``name``; checked where it can make a huge value."""
    if type(obj) in _TEXTS and name in _METHOD_CHECKS and callable(found):
        return _checked(found, _METHOD_CHECKS[str(name)](str(obj)))
    return found


def _checked(function: Callable[..., Any], check: Check, first: int = 0) -> Callable[..., Any]:
    """``function`` with a check of its arguments from number ``first`` on."""

    @wraps(function)
    def checked(*args: Any, **named: Any) -> Any:
        # A check must not use up what the function reads.
        own = [list(value) if hasattr(value, "__next__") else value for value in args[first:]]
        check(*own, **named)
        return function(*args[:first], *own, **named)

    return checked
