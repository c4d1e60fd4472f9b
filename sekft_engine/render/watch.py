"""The environment of chat templates with a hook in every operation that could ask something.

A template can do no more than print, join, compare, test, filter, call, reach into values and set
names. Strings and streams (:mod:`.opaque`, :mod:`.stream`) watch what Python lets them watch; the
rest goes through here. What is not followed is refused, so that a run to the end means something.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NoReturn

import jinja2.compiler
import jinja2.nodes
import jinja2.runtime
import jinja2.sandbox

from sekft_engine.render.opaque import METHODS, Inspected, Length, Opaque, Tainted, held, join
from sekft_engine.render.stream import (
    FALSE,
    TRUE,
    UNKNOWN,
    Namespace,
    Stream,
    Unknown,
    Unstreamable,
    raw,
)
from sekft_engine.render.template import TemplateDict, raise_exception

#: Tests whose answer is the same for every string that is not looked into.
_ANSWERS = {"string": True, "defined": True, "iterable": True, "sequence": True} | dict.fromkeys(
    ("undefined", "none", "mapping", "number", "boolean", "true", "false", "integer", "float"),
    False,
)
_KINDS = frozenset(("defined", "undefined", "none", "string", "mapping"))
_COMPARES = frozenset(("eq", "equalto", "==", "ne", "!="))
#: Filters that go through other filters, tests and `getitem` for each item.
_PICKS = frozenset(("select", "reject", "selectattr", "rejectattr", "map"))
_LOOKS_AHEAD = frozenset(("last", "length", "revindex", "revindex0", "nextitem"))


def unwatchable(node: jinja2.nodes.Node, reached: bool = False) -> bool:
    """Whether a template holds what the hooks do not follow: escaping, blocks, and a ``loop``
    that is used but to reach something in it (another loop could go through it)."""
    if isinstance(node, jinja2.nodes.ScopedEvalContextModifier | jinja2.nodes.Block):
        return True
    if isinstance(node, jinja2.nodes.Name):
        return node.name == "loop" and not reached
    inside = isinstance(node, jinja2.nodes.Getattr)
    return any(unwatchable(child, inside) for child in node.iter_child_nodes())


class _CodeGenerator(jinja2.compiler.CodeGenerator):
    """Joins, ``in``, ``and`` and ``or`` have no hooks of their own."""

    def _call(self, name: str, *values: jinja2.nodes.Node, frame: Any, late: str = "") -> None:
        self.write(f"environment.{name}(")
        for value in values:
            self.write(late)
            self.visit(value, frame)
            self.write(", ")
        self.write(")")

    def visit_Concat(self, node: jinja2.nodes.Concat, frame: Any) -> None:  # noqa: N802
        self._call("concat_all", *node.nodes, frame=frame)

    def visit_And(self, node: jinja2.nodes.BinExpr, frame: Any) -> None:  # noqa: N802
        self._call("both", node.left, node.right, frame=frame, late="lambda: ")

    def visit_Or(self, node: jinja2.nodes.BinExpr, frame: Any) -> None:  # noqa: N802
        self._call("either", node.left, node.right, frame=frame, late="lambda: ")

    def visit_Compare(self, node: jinja2.nodes.Compare, frame: Any) -> None:  # noqa: N802
        if not any(operand.op in ("in", "notin") for operand in node.ops):
            super().visit_Compare(node, frame)
            return
        if len(node.ops) != 1:
            raise Inspected("a chain of comparisons")
        name = "lacks" if node.ops[0].op == "notin" else "holds"
        self._call(name, node.expr, node.ops[0].expr, frame=frame)


class WatchedEnvironment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    code_generator_class = _CodeGenerator
    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))
    concat = staticmethod(join)
    #: The stream of the run that is under way, if it is one over a stream.
    stream: Stream | None = None
    _space: type[Namespace] = Namespace

    def watch(self) -> None:
        """Put the hooks in, once all filters, tests and names are there."""
        for name, function in self.filters.items():
            self.filters[name] = self._filter(name, function)
        tests: dict[str, Any] = dict(self.tests)
        self.tests = {name: self._test(name, function) for name, function in tests.items()}
        for name in ("cycler", "joiner", "lipsum"):
            self.globals[name] = self._refuse
        holder = self

        class Space(Namespace):
            def __setitem__(self, name: str, value: Any) -> None:
                if holder.stream is not None:
                    holder.stream.wrote(self, name)
                raw(self)[name] = value

        self.globals["namespace"] = self._space = Space

    def _refuse(self, *_args: Any, **_named: Any) -> NoReturn:
        """Refuse what has a state of its own."""
        raise Unstreamable if self.stream is not None else Inspected

    def _check(self, *values: object) -> None:
        """Refuse a use of contents, or of the stream, that nothing here follows."""
        for value in values:
            if isinstance(value, Stream | Unknown):
                raise Unstreamable
            if held(value):
                raise Inspected

    # --- filters and tests ----------------------------------------------------------------------

    def _filter(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        special = getattr(self, f"_filter_{name}", None)
        # Some filters get a context or the environment before the value.
        given = 1 if hasattr(function, "jinja_pass_arg") else 0

        @wraps(function)
        def watched(*args: Any, **named: Any) -> Any:
            own = args[given:]
            if any(isinstance(value, Stream | Unknown) for value in own):
                return UNKNOWN
            if special is not None:
                found = special(*own, **named)
                if found is not NotImplemented:
                    return found
            picks = name in _PICKS and isinstance(own[0], list | tuple)
            self._check(*own[picks:], *named.values())
            return self._settled(function(*args, **named))

        return watched

    def _settled(self, made: Any) -> Any:
        """``made``, unless it is used up by looking at it."""
        return list(made) if hasattr(made, "__next__") else made

    def _filter_trim(self, value: Any, chars: str | None = None) -> Any:
        return value.strip(chars) if isinstance(value, Opaque) else NotImplemented

    def _filter_string(self, value: Any) -> Any:
        return value if isinstance(value, Tainted) else NotImplemented

    def _filter_length(self, value: Any) -> Any:
        if isinstance(value, Opaque):
            return Length(value)
        return len(value) if isinstance(value, list | tuple | dict) else NotImplemented

    _filter_count = _filter_length

    def _filter_list(self, value: Any) -> Any:
        return list(value) if isinstance(value, list | tuple) else NotImplemented

    def _filter_join(self, value: Any, d: str = "", attribute: object = None) -> Any:
        if attribute is not None or not isinstance(value, list | tuple) or held(d):
            return NotImplemented
        return str(value[0]) if len(value) == 1 else _between(value, str(d))

    def _test(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        given = 1 if hasattr(function, "jinja_pass_arg") else 0

        @wraps(function)
        def watched(*args: Any, **named: Any) -> Any:
            own = args[given:]
            if any(isinstance(value, Unknown) for value in own):
                return UNKNOWN
            if len(own) == 1:
                if isinstance(own[0], Tainted) and name in _ANSWERS:
                    return _ANSWERS[name]
                if name in _KINDS:
                    return function(*args)
            if name in _COMPARES and len(own) == 2:
                return (own[0] == own[1]) == (name in ("eq", "equalto", "=="))
            self._check(*own, *named.values())
            return function(*args, **named)

        return watched

    # --- operators ------------------------------------------------------------------------------

    def concat_all(self, *values: Any) -> Any:
        """``a ~ b``"""
        return join(values)

    def both(self, left: Callable[[], Any], right: Callable[[], Any]) -> Any:
        """``left and right``: false where either is known to be."""
        one = left()
        if type(one) is not Unknown:
            return one and right()
        other = self._perhaps(right)
        return UNKNOWN if type(other) is Unknown or other else FALSE

    def either(self, left: Callable[[], Any], right: Callable[[], Any]) -> Any:
        """``left or right``: true where either is known to be."""
        one = left()
        if type(one) is not Unknown:
            return one or right()
        other = self._perhaps(right)
        return TRUE if type(other) is not Unknown and other else UNKNOWN

    def _perhaps(self, value: Callable[[], Any]) -> Any:
        """A value that is worked out for some numbers of messages only, so without a trace."""
        if self.stream is None:
            raise Unstreamable
        before, self.stream.perhaps = self.stream.perhaps, True
        try:
            return value()
        finally:
            self.stream.perhaps = before

    def holds(self, part: Any, whole: Any) -> Any:
        """``part in whole``"""
        if isinstance(part, Unknown) or isinstance(whole, Unknown):
            return UNKNOWN
        if isinstance(whole, str) and not isinstance(whole, Tainted):
            self._check(part)
        return part in whole

    def lacks(self, part: Any, whole: Any) -> Any:
        """``part not in whole``"""
        found = self.holds(part, whole)
        return found if found is UNKNOWN else not found

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if isinstance(left, Stream | Unknown) or isinstance(right, Stream | Unknown):
            return UNKNOWN
        if operator != "+":
            self._check(left, right)
        return super().call_binop(context, operator, left, right)

    # --- calls and attributes -------------------------------------------------------------------

    def call(self, context: Any, called: Any, /, *args: Any, **named: Any) -> Any:
        if isinstance(called, Unknown) or (self.stream is not None and self.stream.perhaps):
            raise Unstreamable
        if not self._follows(called):
            own = {name: value for name, value in named.items() if name[:1] != "_"}
            self._check(*args, *own.values())
        return self._settled(super().call(context, called, *args, **named))

    def _follows(self, called: Any) -> bool:
        """Whether what a function does with contents is followed here, or nothing."""
        return (
            isinstance(called, jinja2.runtime.Macro | TemplateDict)
            or called is raise_exception
            or called is self.globals["namespace"]
            or isinstance(getattr(called, "__self__", None), Opaque)
        )

    def getattr(self, obj: Any, attribute: str) -> Any:
        found = self._reach(obj, attribute)
        return super().getattr(obj, attribute) if found is NotImplemented else found

    def getitem(self, obj: Any, argument: Any) -> Any:
        found = self._reach(obj, argument)
        return super().getitem(obj, argument) if found is NotImplemented else found

    def _reach(self, obj: Any, name: Any) -> Any:
        if isinstance(name, Stream | Unknown):
            return UNKNOWN
        if isinstance(name, Tainted | Length):
            raise Inspected
        if isinstance(obj, Unknown):
            return UNKNOWN
        if isinstance(obj, Tainted) and isinstance(name, str) and hasattr(str, name):
            self._check_method(obj, name)
        if type(obj) is self._space:
            if name not in raw(obj) or name[:1] == "_":
                return NotImplemented
            value = raw(obj)[name] if self.stream is None else self.stream.read(obj, name)
            plain = isinstance(value, Unknown) or not callable(value)
            return value if plain else NotImplemented
        if self.stream is None:
            return NotImplemented
        if isinstance(obj, jinja2.runtime.LoopContext) and name in _LOOKS_AHEAD:
            return UNKNOWN
        if isinstance(obj, Stream) and not isinstance(name, int):
            raise Unstreamable
        return NotImplemented

    def _check_method(self, text: Tainted, name: str) -> None:
        if not (isinstance(text, Opaque) and name in METHODS):
            raise Inspected(name)


def _between(values: Sequence[Any], separator: str) -> Any:
    pieces: list[Any] = []
    for value in values:
        pieces += (separator, value)
    return join(pieces[1:])
