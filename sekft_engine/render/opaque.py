"""Strings that show what a template asks about contents.

A chat template is a program. Where it only prints the contents of the turns, its render of *any*
contents is its render of placeholders with the contents put in their places: nothing in it could
go another way. An :class:`Opaque` is such a placeholder. It may be printed and joined. A question
that has one usual answer (does the content hold ``</think>``? is it empty? what is left when it
is trimmed?) gets that answer, and the answer is written down as a :class:`Condition`, which real
contents must then meet. Any other look at it raises :class:`Inspected`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

import msgspec


class Inspected(Exception):
    """A template looked at a content in a way that placeholders cannot answer for."""


class Condition(msgspec.Struct, frozen=True):
    """What a template took for granted of the contents of one role (0 environment, 1 command).

    ``kind`` is one of :data:`_MEETS`; ``argument`` is what the content was held against.
    """

    role: int
    kind: str
    argument: str | None = None

    def met(self, content: str) -> bool:
        return _MEETS[self.kind](content, self.argument)


_MEETS: dict[str, Callable[[str, Any], bool]] = {
    "not empty": lambda content, _: bool(content),
    "differs": lambda content, other: content != other,
    "lacks": lambda content, part: part not in content,
    "no prefix": lambda content, start: not content.startswith(start),
    "no suffix": lambda content, end: not content.endswith(end),
    "strip": lambda content, characters: content.strip(characters) == content,
    "lstrip": lambda content, characters: content.lstrip(characters) == content,
    "rstrip": lambda content, characters: content.rstrip(characters) == content,
}


def unmet(conditions: Iterable[Condition], contents: Sequence[str]) -> bool:
    """Whether some content does not meet a condition. Contents alternate, the environment first."""
    return any(
        not condition.met(content)
        for condition in conditions
        for content in contents[condition.role :: 2]
    )


class Tainted(str):
    """Text that holds a content: it may be printed and joined, and nothing else."""

    def __add__(self, other: Any) -> Tainted:
        return join((self, other)) if isinstance(other, str) else NotImplemented

    def __radd__(self, other: Any) -> Tainted:
        return join((other, self)) if isinstance(other, str) else NotImplemented

    def __str__(self) -> str:
        return self

    def __getitem__(self, key: Any) -> NoReturn:
        if isinstance(key, str):
            raise TypeError("string indices must be integers")  # as any string says
        raise Inspected


def _inspects(name: str) -> Callable[..., Any]:
    def method(*_args: Any, **_named: Any) -> NoReturn:
        raise Inspected(name)

    return method


_KEPT = frozenset(
    """
    __add__ __class__ __delattr__ __dict__ __dir__ __doc__ __getattribute__ __getitem__
    __getnewargs__ __init__ __init_subclass__ __module__ __new__ __radd__ __reduce__
    __reduce_ex__ __setattr__ __sizeof__ __str__ __subclasshook__
    """.split()  # noqa: SIM905
)
for _name in {*dir(str), "__bool__", "__html__", "__rmod__", "__rmul__"} - _KEPT:
    setattr(Tainted, _name, _inspects(_name))


def join(pieces: Iterable[Any]) -> Any:
    """``"".join`` that keeps the taint."""
    texts = [str(piece) for piece in pieces]
    if any(isinstance(text, Tainted) for text in texts):
        return Tainted("".join(str.__str__(text) for text in texts))
    return "".join(texts)


class Opaque(Tainted):
    """The placeholder of one content; ``note`` takes down the conditions."""

    note: Callable[[Condition], None]
    role: int

    @classmethod
    def make(cls, name: str, role: int, note: Callable[[Condition], None]) -> Opaque:
        made = cls(name)
        made.role, made.note = role, note
        return made

    def _assume(self, kind: str, argument: object = None) -> None:
        if isinstance(argument, Tainted) or not (argument is None or isinstance(argument, str)):
            raise Inspected(kind)
        self.note(Condition(self.role, kind, argument))

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

    def strip(self, chars: str | None = None, /) -> Opaque:
        self._assume("strip", chars)
        return self

    def lstrip(self, chars: str | None = None, /) -> Opaque:
        self._assume("lstrip", chars)
        return self

    def rstrip(self, chars: str | None = None, /) -> Opaque:
        self._assume("rstrip", chars)
        return self

    def startswith(self, start: Any, /) -> bool:  # type: ignore[override]
        self._assume("no prefix", _some(start))
        return False

    def endswith(self, end: Any, /) -> bool:  # type: ignore[override]
        self._assume("no suffix", _some(end))
        return False

    def split(self, separator: Any = None, /) -> list[str]:  # type: ignore[override]
        self._assume("lacks", _some(separator))
        return [self]

    def replace(self, old: str, new: str, /) -> Opaque:  # type: ignore[override]
        if isinstance(new, Tainted):
            raise Inspected("replace")
        self._assume("lacks", _some(old))
        return self


def _some(argument: Any) -> str:
    """``argument`` where it is a string that is not empty: the empty one is found in any."""
    if isinstance(argument, str) and not isinstance(argument, Tainted) and argument:
        return argument
    raise Inspected


#: What a template may reach of a content: the methods above.
METHODS = frozenset(("strip", "lstrip", "rstrip", "startswith", "endswith", "split", "replace"))


class Length:
    """The length of a content: known not to be 0, and nothing else."""

    def __init__(self, content: Opaque) -> None:
        self._content = content

    def _is_some(self) -> bool:
        return bool(self._content)

    def __bool__(self) -> bool:
        return self._is_some()

    def __eq__(self, other: object) -> bool:
        return not self._against(other, 0)

    def __ne__(self, other: object) -> bool:
        return self._against(other, 0)

    def __gt__(self, other: object) -> bool:
        return self._against(other, 0)

    def __ge__(self, other: object) -> bool:
        return self._against(other, 1)

    def __lt__(self, other: object) -> bool:
        return not self._against(other, 1)

    def __le__(self, other: object) -> bool:
        return not self._against(other, 0)

    def __hash__(self) -> int:
        raise Inspected

    def __str__(self) -> str:
        raise Inspected

    __repr__ = __str__

    def _against(self, other: object, bound: int) -> bool:
        if type(other) is not int or other != bound:
            raise Inspected
        return self._is_some()


def held(value: object, depth: int = 4) -> bool:
    """Whether ``value`` is, or may hold, a content."""
    if isinstance(value, Tainted | Length):
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
    return any(held(one, depth - 1) for one in inner)
