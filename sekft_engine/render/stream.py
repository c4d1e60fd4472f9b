"""Messages that are handed out one after the other, and what cannot be known before their end.

A run of a template over *n* messages does what a run over the first *t* of them does, until it
asks for message *t*, if nothing before depended on how many there are. :class:`Stream` stands for
the list of messages and sees to that: whatever depends on their number is :class:`Unknown`, and
an Unknown that would decide something or be shown raises :class:`Unstreamable`.

After the last message the run over *t* goes on in the state in which message *t - 1* left it.
Names that are set in a loop end with it, so only namespaces carry state out of one. ``kept``
follows them: what a pass over the messages wrote is known after it only if it was the same after
each message whose role is that of the last one; else it is Unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import jinja2.utils


class Unstreamable(Exception):
    """A template's render of a session cannot be read off that of a longer one."""


def _refuse(*_: object, **__: object) -> NoReturn:
    raise Unstreamable


class Unknown:
    """A value that depends on how many messages there are."""

    def _same(self, *_: object) -> Unknown:
        return self

    def __bool__(self) -> bool:
        raise Unstreamable

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _same  # type: ignore[assignment]
    __hash__ = __str__ = __repr__ = __iter__ = __len__ = _refuse
    __contains__ = __int__ = __index__ = __float__ = __call__ = __format__ = _refuse
    __html__ = __neg__ = __pos__ = _refuse

    def __getitem__(self, _key: object) -> Unknown:
        return UNKNOWN


class _Half(Unknown):
    """A value of which is known only whether it is true."""

    def __init__(self, truth: bool) -> None:
        self._truth = truth

    def __bool__(self) -> bool:
        return self._truth


UNKNOWN = Unknown()
TRUE, FALSE = _Half(True), _Half(False)


_PLAIN = (bool, int, str, type(None))
#: More attributes than templates have; namespaces made anew for each message add up.
_MANY = 1000


class _Kept:
    """What boundaries after messages of each parity saw in one attribute; UNKNOWN = various."""

    def __init__(self, before: object, boundaries: int, number: int) -> None:
        self.number = number
        # Boundaries 1 to `boundaries` of this pass were passed with the value of before.
        self.seen = {number % 2: before for number in range(1, boundaries + 1)[-2:]}

    def see(self, boundary: int, value: object) -> None:
        parity = boundary % 2
        if type(value) not in _PLAIN:
            value = UNKNOWN
        if parity in self.seen:
            before = self.seen[parity]
            if before is UNKNOWN or type(before) is not type(value) or before != value:
                value = UNKNOWN
        self.seen[parity] = value


class Stream:
    """Stands for the list ``messages`` in one run.

    ``written`` is set by who reads the run: the number of pieces it has written so far. For each
    pass over the messages ``passes`` holds these numbers, as they were when each message was
    asked for and when the end was found.
    """

    def __init__(self, messages: Sequence[dict[str, str]]) -> None:
        self._messages = messages
        self.written = 0
        self.passes: list[list[int]] = []
        self.active = False
        #: Whether what runs now runs only for some numbers of messages.
        self.perhaps = False
        self._kept: dict[tuple[int, str], tuple[Namespace, _Kept]] = {}

    def __len__(self) -> NoReturn:
        raise Unstreamable

    def __iter__(self) -> Iterator[dict[str, str]]:
        if self.active or self.perhaps:
            raise Unstreamable
        self.active = True
        self.passes.append([])
        return self._hand_out(self.passes[-1])

    def _hand_out(self, cuts: list[int]) -> Iterator[dict[str, str]]:
        for number, message in enumerate(self._messages):
            self._boundary(number)
            cuts.append(self.written)
            yield message
        self._boundary(len(self._messages))
        cuts.append(self.written)
        self.active = False

    def __getitem__(self, key: object) -> Any:
        # Every session has a first message, and the last one's role is its turn's.
        if type(key) is int and key in (0, -1):
            return self._messages[key]
        if isinstance(key, str):
            raise TypeError("list indices must be integers")  # as any list says
        return UNKNOWN

    def __bool__(self) -> bool:
        return True

    __contains__ = __str__ = __repr__ = __eq__ = __ne__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __hash__ = _refuse

    # --- namespaces -----------------------------------------------------------------------------

    def _boundary(self, number: int) -> None:
        if number == 0:
            return
        for (_, name), (space, kept) in self._kept.items():
            if kept.number == len(self.passes):
                kept.see(number, raw(space).get(name, UNKNOWN))

    def wrote(self, space: Namespace, name: str) -> None:
        """Is told before ``name`` in ``space`` is written."""
        key = (id(space), name)
        if self.perhaps or len(self._kept) > _MANY:
            raise Unstreamable
        if not self.active:
            self._kept.pop(key, None)
            return
        kept = self._kept.get(key)
        if kept is None or kept[1].number != len(self.passes):
            before = raw(space).get(name, UNKNOWN) if kept is None else self.read(space, name)
            boundaries = len(self.passes[-1]) - 1
            self._kept[key] = (space, _Kept(before, boundaries, len(self.passes)))

    def read(self, space: Namespace, name: str) -> Any:
        """What ``name`` in ``space`` is, as far as that is known."""
        found = self._kept.get((id(space), name))
        if found is None or (self.active and found[1].number == len(self.passes)):
            return raw(space).get(name, UNKNOWN)
        return found[1].seen.get(len(self._messages) % 2, UNKNOWN)


class Namespace(jinja2.utils.Namespace):
    """A template's namespace whose values can be had in one piece."""


def raw(space: Namespace) -> dict[str, Any]:
    values: dict[str, Any] = object.__getattribute__(space, "_Namespace__attrs")
    return values
