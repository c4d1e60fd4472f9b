"""A Jinja environment with a hook in every operation that could inspect contents or their number.

A template can only print, join, compare, test, filter, call, look up values and set names. The
tainted strings (:mod:`~sekft_engine.render.template.taint_string`) and the message stream
(:mod:`~sekft_engine.render.template.taint_stream`) intercept what Python's own methods let them
intercept; the rest goes through the hooks here. An operation that is not traced raises, so a run
that ends proves something.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NoReturn

import jinja2.compiler
import jinja2.nodes
import jinja2.runtime

from sekft_engine.render.template.sandbox.environment import (
    LimitedEnvironment,
    TemplateDict,
    raise_exception,
)
from sekft_engine.render.template.taint_stream import (
    FALSE,
    TRUE,
    UNKNOWN,
    MessageStream,
    Namespace,
    NotStreamable,
    Unknown,
    attributes,
)
from sekft_engine.render.template.taint_string import (
    METHODS,
    ContentInspected,
    ContentLength,
    Placeholder,
    Tainted,
    has_content,
    join,
)

#: Jinja tests whose answer is the same for every string.
_STRING_ANSWERS = {
    "string": True,
    "defined": True,
    "iterable": True,
    "sequence": True,
} | dict.fromkeys(
    ("undefined", "none", "mapping", "number", "boolean", "true", "false", "integer", "float"),
    False,
)
#: Jinja tests that ask for a type and not for a value.
_TYPE_TESTS = frozenset(("defined", "undefined", "none", "string", "mapping"))
#: Jinja tests that compare two values.
_COMPARISONS = frozenset(("eq", "equalto", "==", "ne", "!="))
#: Filters that call other filters, tests and `getitem` for each item, which are traced.
_ITEM_FILTERS = frozenset(("select", "reject", "selectattr", "rejectattr", "map"))
#: What a loop knows only if it knows how many items follow.
_LOOKAHEAD = frozenset(("last", "length", "revindex", "revindex0", "nextitem"))


def untraceable(node: jinja2.nodes.Node, attribute: bool = False) -> bool:
    """Whether a template uses something that no hook traces.

    That is escaping, blocks, and the variable ``loop`` other than for one of its attributes (passed
    on, another loop could consume it).

    Args:
        node: the parsed template, or a part of it.
        attribute: whether an attribute of this part is what is used.
    """
    if isinstance(node, jinja2.nodes.ScopedEvalContextModifier | jinja2.nodes.Block):
        return True
    if isinstance(node, jinja2.nodes.Name):
        return node.name == "loop" and not attribute
    inside = isinstance(node, jinja2.nodes.Getattr)
    return any(untraceable(child, inside) for child in node.iter_child_nodes())


class _CodeGenerator(jinja2.compiler.CodeGenerator):
    """Compiles ``~``, ``in``, ``and`` and ``or`` to calls of the environment: Jinja has no hooks
    for them."""

    def _call(self, name: str, *values: jinja2.nodes.Node, frame: Any, prefix: str = "") -> None:
        self.write(f"environment.{name}(")
        for value in values:
            self.write(prefix)
            self.visit(value, frame)
            self.write(", ")
        self.write(")")

    def visit_Concat(self, node: jinja2.nodes.Concat, frame: Any) -> None:  # noqa: N802
        self._call("concat_values", *node.nodes, frame=frame)

    def visit_And(self, node: jinja2.nodes.BinExpr, frame: Any) -> None:  # noqa: N802
        self._call("logical_and", node.left, node.right, frame=frame, prefix="lambda: ")

    def visit_Or(self, node: jinja2.nodes.BinExpr, frame: Any) -> None:  # noqa: N802
        self._call("logical_or", node.left, node.right, frame=frame, prefix="lambda: ")

    def visit_Compare(self, node: jinja2.nodes.Compare, frame: Any) -> None:  # noqa: N802
        if not any(operand.op in ("in", "notin") for operand in node.ops):
            super().visit_Compare(node, frame)
            return
        if len(node.ops) != 1:
            raise ContentInspected("a chain of comparisons")
        name = "not_in" if node.ops[0].op == "notin" else "is_in"
        self._call(name, node.expr, node.ops[0].expr, frame=frame)


class TaintEnvironment(LimitedEnvironment):
    """The environment of :func:`~sekft_engine.render.template.sandbox.environment.environment`,
    traced.

    Attributes:
        stream: the message stream of the current run; None where the run gets a plain list.
    """

    code_generator_class = _CodeGenerator
    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))
    concat = staticmethod(join)
    stream: MessageStream | None = None
    _namespace: type[Namespace] = Namespace

    def install_hooks(self) -> None:
        """Wrap all filters, tests and global names; to be called when all of them are set."""
        for name, function in self.filters.items():
            self.filters[name] = self._filter(name, function)
        tests: dict[str, Any] = dict(self.tests)
        self.tests = {name: self._test(name, function) for name, function in tests.items()}
        for name in ("cycler", "joiner", "lipsum"):
            self.globals[name] = self._refuse
        environment = self

        class TracedNamespace(Namespace):
            def __setitem__(self, name: str, value: Any) -> None:
                if environment.stream is not None:
                    environment.stream.before_write(self, name)
                attributes(self)[name] = value

        self.globals["namespace"] = self._namespace = TracedNamespace

    def _refuse(self, *_args: Any, **_named: Any) -> NoReturn:
        """Stands for functions with a state of their own, which no hook traces."""
        raise NotStreamable if self.stream is not None else ContentInspected

    def _check(self, *values: object) -> None:
        """Refuse an untraced operation on contents or on the message stream."""
        for value in values:
            if isinstance(value, MessageStream | Unknown):
                raise NotStreamable
            if has_content(value):
                raise ContentInspected

    # --- filters and tests ----------------------------------------------------------------------

    def _filter(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        special = getattr(self, f"_filter_{name}", None)
        # Some filters get a context or the environment before the value.
        first = 1 if hasattr(function, "jinja_pass_arg") else 0

        @wraps(function)
        def traced(*args: Any, **named: Any) -> Any:
            own = args[first:]
            if any(isinstance(value, MessageStream | Unknown) for value in own):
                return UNKNOWN
            if special is not None:
                result = special(*own, **named)
                if result is not NotImplemented:
                    return result
            by_item = name in _ITEM_FILTERS and isinstance(own[0], list | tuple)
            self._check(*own[by_item:], *named.values())
            return self._materialised(function(*args, **named))

        return traced

    def _materialised(self, value: Any) -> Any:
        """``value``, or a list of its items where it is an iterator: checks must not consume it."""
        return list(value) if hasattr(value, "__next__") else value

    def _filter_trim(self, value: Any, chars: str | None = None) -> Any:
        return value.strip(chars) if isinstance(value, Placeholder) else NotImplemented

    def _filter_string(self, value: Any) -> Any:
        return value if isinstance(value, Tainted) else NotImplemented

    def _filter_length(self, value: Any) -> Any:
        if isinstance(value, Placeholder):
            return ContentLength(value)
        return len(value) if isinstance(value, list | tuple | dict) else NotImplemented

    _filter_count = _filter_length

    def _filter_list(self, value: Any) -> Any:
        return list(value) if isinstance(value, list | tuple) else NotImplemented

    def _filter_join(self, value: Any, d: str = "", attribute: object = None) -> Any:
        if attribute is not None or not isinstance(value, list | tuple) or has_content(d):
            return NotImplemented
        return str(value[0]) if len(value) == 1 else _joined(value, str(d))

    def _test(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        first = 1 if hasattr(function, "jinja_pass_arg") else 0

        @wraps(function)
        def traced(*args: Any, **named: Any) -> Any:
            own = args[first:]
            if any(isinstance(value, Unknown) for value in own):
                return UNKNOWN
            if len(own) == 1:
                if isinstance(own[0], Tainted) and name in _STRING_ANSWERS:
                    return _STRING_ANSWERS[name]
                if name in _TYPE_TESTS:
                    return function(*args)
            if name in _COMPARISONS and len(own) == 2:
                return (own[0] == own[1]) == (name in ("eq", "equalto", "=="))
            self._check(*own, *named.values())
            return function(*args, **named)

        return traced

    # --- operators ------------------------------------------------------------------------------

    def concat_values(self, *values: Any) -> Any:
        """``a ~ b``"""
        return join(values)

    def logical_and(self, left: Callable[[], Any], right: Callable[[], Any]) -> Any:
        """``left and right``: false where either is known to be."""
        first = left()
        if type(first) is not Unknown:
            return first and right()
        second = self._conditionally(right)
        return UNKNOWN if type(second) is Unknown or second else FALSE

    def logical_or(self, left: Callable[[], Any], right: Callable[[], Any]) -> Any:
        """``left or right``: true where either is known to be."""
        first = left()
        if type(first) is not Unknown:
            return first or right()
        second = self._conditionally(right)
        return TRUE if type(second) is not Unknown and second else UNKNOWN

    def _conditionally(self, value: Callable[[], Any]) -> Any:
        """A value that is computed for some numbers of messages only: it may have no effects."""
        if self.stream is None:
            raise NotStreamable
        before, self.stream.conditional = self.stream.conditional, True
        try:
            return value()
        finally:
            self.stream.conditional = before

    def is_in(self, part: Any, whole: Any) -> Any:
        """``part in whole``"""
        if isinstance(part, Unknown) or isinstance(whole, Unknown):
            return UNKNOWN
        if isinstance(whole, str) and not isinstance(whole, Tainted):
            self._check(part)
        return part in whole

    def not_in(self, part: Any, whole: Any) -> Any:
        """``part not in whole``"""
        found = self.is_in(part, whole)
        return found if found is UNKNOWN else not found

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if isinstance(left, MessageStream | Unknown) or isinstance(right, MessageStream | Unknown):
            return UNKNOWN
        if operator != "+":
            self._check(left, right)
        return super().call_binop(context, operator, left, right)

    # --- calls and attributes -------------------------------------------------------------------

    def call(self, context: Any, called: Any, /, *args: Any, **named: Any) -> Any:
        if isinstance(called, Unknown) or (self.stream is not None and self.stream.conditional):
            raise NotStreamable
        if not self._is_traced(called):
            own = {name: value for name, value in named.items() if name[:1] != "_"}
            self._check(*args, *own.values())
        return self._materialised(super().call(context, called, *args, **named))

    def _is_traced(self, called: Any) -> bool:
        """Whether what a function does with contents is traced, or harmless."""
        return (
            isinstance(called, jinja2.runtime.Macro | TemplateDict)
            or called is raise_exception
            or called is self.globals["namespace"]
            or isinstance(getattr(called, "__self__", None), Placeholder)
        )

    def getattr(self, obj: Any, attribute: str) -> Any:
        found = self._look_up(obj, attribute)
        return super().getattr(obj, attribute) if found is NotImplemented else found

    def getitem(self, obj: Any, argument: Any) -> Any:
        found = self._look_up(obj, argument)
        return super().getitem(obj, argument) if found is NotImplemented else found

    def _look_up(self, obj: Any, name: Any) -> Any:
        if isinstance(name, MessageStream | Unknown):
            return UNKNOWN
        if isinstance(name, Tainted | ContentLength):
            raise ContentInspected
        if isinstance(obj, Unknown):
            return UNKNOWN
        if isinstance(obj, Tainted) and isinstance(name, str) and hasattr(str, name):
            self._check_method(obj, name)
        if type(obj) is self._namespace:
            if name not in attributes(obj) or name[:1] == "_":
                return NotImplemented
            value = attributes(obj)[name] if self.stream is None else self.stream.read(obj, name)
            plain = isinstance(value, Unknown) or not callable(value)
            return value if plain else NotImplemented
        if self.stream is None:
            return NotImplemented
        if isinstance(obj, jinja2.runtime.LoopContext) and name in _LOOKAHEAD:
            return UNKNOWN
        if isinstance(obj, MessageStream) and not isinstance(name, int):
            raise NotStreamable
        return NotImplemented

    def _check_method(self, text: Tainted, name: str) -> None:
        if not (isinstance(text, Placeholder) and name in METHODS):
            raise ContentInspected(name)


def _joined(values: Sequence[Any], separator: str) -> Any:
    pieces: list[Any] = []
    for value in values:
        pieces += (separator, value)
    return join(pieces[1:])
