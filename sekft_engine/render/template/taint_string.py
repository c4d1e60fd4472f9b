"""Tainted strings: placeholders that record what a template asks about contents.

A chat template is a program. If it only prints the contents of the turns, then its render of *any*
contents is its render of placeholders with the contents filled in: no branch can differ. A
:class:`Placeholder` stands for one content. It may be printed and joined. A question that has a
usual answer (does the content contain ``</think>``? is it empty? what is left after trimming?) gets
that answer, and the answer is recorded as a :class:`Condition` that real contents must meet. Every
other operation on it raises :class:`ContentInspected`.

docs/render.md explains the method with a worked example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

import msgspec


class ContentInspected(Exception):
    """A template asked something about a content that a placeholder cannot answer."""


class Condition(msgspec.Struct, frozen=True):
    """An assumption that a traced run made about the contents of one role.

    Args:
        role: 0 = environment turns, 1 = command turns.
        kind: the name of the check, a key of :data:`_CHECKS`.
        argument: what the content is compared with; None where the check needs nothing.
    """

    role: int
    kind: str
    argument: str | None = None

    def holds_for(self, content: str) -> bool:
        """Whether a real content is as assumed."""
        return _CHECKS[self.kind](content, self.argument)


_CHECKS: dict[str, Callable[[str, Any], bool]] = {
    "not empty": lambda content, _: bool(content),
    "differs": lambda content, other: content != other,
    "lacks": lambda content, part: part not in content,
    "no prefix": lambda content, start: not content.startswith(start),
    "no suffix": lambda content, end: not content.endswith(end),
    "strip": lambda content, characters: content.strip(characters) == content,
    "lstrip": lambda content, characters: content.lstrip(characters) == content,
    "rstrip": lambda content, characters: content.rstrip(characters) == content,
}


def all_hold(conditions: Iterable[Condition], contents: Sequence[str]) -> bool:
    """Whether every content meets every condition of its role.

    Args:
        conditions: what a traced run assumed.
        contents: those of alternating turns, the environment's first.
    """
    return all(
        condition.holds_for(content)
        for condition in conditions
        for content in contents[condition.role :: 2]
    )


class Tainted(str):
    """Text with a content in it: it may be printed and joined, and nothing else."""

    def __add__(self, other: Any) -> Tainted:
        return join((self, other)) if isinstance(other, str) else NotImplemented

    def __radd__(self, other: Any) -> Tainted:
        return join((other, self)) if isinstance(other, str) else NotImplemented

    def __str__(self) -> str:
        return self

    def __getitem__(self, key: Any) -> NoReturn:
        if isinstance(key, str):
            raise TypeError("string indices must be integers")  # as any string says
        raise ContentInspected


def _refusing(name: str) -> Callable[..., Any]:
    def method(*_args: Any, **_named: Any) -> NoReturn:
        raise ContentInspected(name)

    return method


_HARMLESS = frozenset(
    """
    __add__ __class__ __delattr__ __dict__ __dir__ __doc__ __getattribute__ __getitem__
    __getnewargs__ __init__ __init_subclass__ __module__ __new__ __radd__ __reduce__
    __reduce_ex__ __setattr__ __sizeof__ __str__ __subclasshook__
    """.split()  # noqa: SIM905
)
for _name in {*dir(str), "__bool__", "__html__", "__rmod__", "__rmul__"} - _HARMLESS:
    setattr(Tainted, _name, _refusing(_name))


def join(pieces: Iterable[Any]) -> Any:
    """``"".join`` that keeps the taint."""
    texts = [str(piece) for piece in pieces]
    if any(isinstance(text, Tainted) for text in texts):
        return Tainted("".join(str.__str__(text) for text in texts))
    return "".join(texts)


class Placeholder(Tainted):
    """The placeholder of one content. Each answer that it gives is recorded as a condition."""

    _record: Callable[[Condition], None]
    _role: int

    @classmethod
    def make(cls, text: str, role: int, record: Callable[[Condition], None]) -> Placeholder:
        """A placeholder that prints as ``text``.

        Args:
            text: unique within the session.
            role: 0 = environment turn, 1 = command turn.
            record: called with each condition that an answer assumes.
        """
        made = cls(text)
        made._role, made._record = role, record
        return made

    def _assume(self, kind: str, argument: object = None) -> None:
        if isinstance(argument, Tainted) or not (argument is None or isinstance(argument, str)):
            raise ContentInspected(kind)
        self._record(Condition(self._role, kind, argument))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, str):
            self._assume("differs", other)
        return False

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = Tainted.__hash__

    def __bool__(self) -> bool:
        self._assume("not empty")
        return True

    def __contains__(self, part: object) -> bool:
        self._assume("lacks", part)
        return False

    def strip(self, chars: str | None = None, /) -> Placeholder:
        self._assume("strip", chars)
        return self

    def lstrip(self, chars: str | None = None, /) -> Placeholder:
        self._assume("lstrip", chars)
        return self

    def rstrip(self, chars: str | None = None, /) -> Placeholder:
        self._assume("rstrip", chars)
        return self

    def startswith(self, start: Any, /) -> bool:  # type: ignore[override]
        self._assume("no prefix", _nonempty(start))
        return False

    def endswith(self, end: Any, /) -> bool:  # type: ignore[override]
        self._assume("no suffix", _nonempty(end))
        return False

    def split(self, separator: Any = None, /) -> list[str]:  # type: ignore[override]
        self._assume("lacks", _nonempty(separator))
        return [self]

    def replace(self, old: str, new: str, /) -> Placeholder:  # type: ignore[override]
        if isinstance(new, Tainted):
            raise ContentInspected("replace")
        self._assume("lacks", _nonempty(old))
        return self


def _nonempty(argument: Any) -> str:
    """``argument`` if it is plain and not empty (every content contains the empty string)."""
    if isinstance(argument, str) and not isinstance(argument, Tainted) and argument:
        return argument
    raise ContentInspected


#: The methods of a content that a template may call: those above.
METHODS = frozenset(("strip", "lstrip", "rstrip", "startswith", "endswith", "split", "replace"))


class ContentLength:
    """The length of a content: known to be more than 0, and nothing else."""

    def __init__(self, content: Placeholder) -> None:
        self._content = content

    def _is_positive(self) -> bool:
        return bool(self._content)

    def __bool__(self) -> bool:
        return self._is_positive()

    def __eq__(self, other: object) -> bool:
        return not self._is_positive_by(other, 0)

    def __ne__(self, other: object) -> bool:
        return self._is_positive_by(other, 0)

    def __gt__(self, other: object) -> bool:
        return self._is_positive_by(other, 0)

    def __ge__(self, other: object) -> bool:
        return self._is_positive_by(other, 1)

    def __lt__(self, other: object) -> bool:
        return not self._is_positive_by(other, 1)

    def __le__(self, other: object) -> bool:
        return not self._is_positive_by(other, 0)

    def __hash__(self) -> int:
        raise ContentInspected

    def __str__(self) -> str:
        raise ContentInspected

    __repr__ = __str__

    def _is_positive_by(self, other: object, bound: int) -> bool:
        if type(other) is not int or other != bound:
            raise ContentInspected
        return self._is_positive()


def has_content(value: object, depth: int = 4) -> bool:
    """Whether ``value`` is a content or may contain one.

    Args:
        value: anything that a template handles.
        depth: how many levels of lists and dictionaries to search; what is nested deeper counts
            as a content.
    """
    if isinstance(value, Tainted | ContentLength):
        return True
    if value is None or isinstance(value, str | int | float):
        return False
    if depth == 0:
        return True
    inner: Iterator[object]
    if isinstance(value, dict):
        inner = iter((*value.keys(), *value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        inner = iter(value)
    else:
        return True
    return any(has_content(item, depth - 1) for item in inner)
