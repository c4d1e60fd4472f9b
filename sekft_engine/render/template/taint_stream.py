"""A list of messages of unknown length: it records what a template writes for each message.

A run of a template over *n* messages does what a run over the first *t* of them does until it asks
for message *t*, if nothing before depended on the number of messages. :class:`MessageStream` stands
for the list of messages and makes sure of that: a value that depends on their number is
:class:`Unknown`, and an Unknown that would decide a branch or be printed raises
:class:`NotStreamable`.

After its last message, the run over *t* messages goes on in the state in which message *t - 1* left
it. Names set in a loop end with the loop, so only namespaces carry state out of it. An attribute
that a loop over the messages wrote is known after the loop only if it had the same value after each
message with the role of the last one (roles alternate, so: after each message of one parity).
Otherwise it is Unknown.

docs/render.md explains the method with a worked example.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import jinja2.utils


class NotStreamable(Exception):
    """The render of a short session cannot be derived from that of a longer one."""


def _refuse(*_: object, **__: object) -> NoReturn:
    raise NotStreamable


class Unknown:
    """A value that depends on the number of messages. Comparing it gives another unknown value."""

    def _unknown(self, *_: object) -> Unknown:
        return self

    def __bool__(self) -> bool:
        raise NotStreamable

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _unknown  # type: ignore[assignment]
    __hash__ = __str__ = __repr__ = __iter__ = __len__ = _refuse
    __contains__ = __int__ = __index__ = __float__ = __call__ = __format__ = _refuse
    __html__ = __neg__ = __pos__ = _refuse

    def __getitem__(self, _key: object) -> Unknown:
        return UNKNOWN


class _KnownTruth(Unknown):
    """An unknown value of which one thing is known: whether it is true."""

    def __init__(self, truth: bool) -> None:
        self._truth = truth

    def __bool__(self) -> bool:
        return self._truth


UNKNOWN = Unknown()
TRUE, FALSE = _KnownTruth(True), _KnownTruth(False)


#: Types whose values can be compared safely from one message to the next.
_COMPARABLE = (bool, int, str, type(None))
#: More attributes than templates have. Namespaces created anew for each message add up.
_MAX_ATTRIBUTES = 1000


class _AttributeHistory:
    """The values of one namespace attribute during a loop, per parity of the messages handed out.

    Args:
        before: the value when the loop began.
        unchanged: how many messages were finished before the first write.
        loop: the number of the loop that writes it.
    """

    def __init__(self, before: object, unchanged: int, loop: int) -> None:
        self.loop = loop
        #: number of messages % 2 -> the value after so many; UNKNOWN where it varied.
        self.values = {number % 2: before for number in range(1, unchanged + 1)[-2:]}

    def add(self, count: int, value: object) -> None:
        """Record the value after ``count`` messages."""
        parity = count % 2
        if type(value) not in _COMPARABLE:
            value = UNKNOWN
        if parity in self.values:
            before = self.values[parity]
            if before is UNKNOWN or type(before) is not type(value) or before != value:
                value = UNKNOWN
        self.values[parity] = value


class MessageStream:
    """Stands for the list ``messages`` during one traced run.

    Args:
        messages: handed out one by one.

    Attributes:
        written: number of pieces of text written so far; set by the caller, which reads the run.
        loops: for each loop over the messages, ``written`` at the moment when each message was
            asked for and when the end was found.
        in_loop: whether a loop over the messages is running.
        conditional: whether the code that runs now would run for some numbers of messages only.
    """

    def __init__(self, messages: Sequence[dict[str, str]]) -> None:
        self._messages = messages
        self.written = 0
        self.loops: list[list[int]] = []
        self.in_loop = False
        self.conditional = False
        self._attributes: dict[tuple[int, str], tuple[Namespace, _AttributeHistory]] = {}

    def __len__(self) -> NoReturn:
        raise NotStreamable

    def __iter__(self) -> Iterator[dict[str, str]]:
        if self.in_loop or self.conditional:
            raise NotStreamable
        self.in_loop = True
        self.loops.append([])
        return self._hand_out(self.loops[-1])

    def _hand_out(self, cuts: list[int]) -> Iterator[dict[str, str]]:
        for number, message in enumerate(self._messages):
            self._end_message(number)
            cuts.append(self.written)
            yield message
        self._end_message(len(self._messages))
        cuts.append(self.written)
        self.in_loop = False

    def __getitem__(self, key: object) -> Any:
        # Every session has a first message, and the role of the last one follows from the run.
        if type(key) is int and key in (0, -1):
            return self._messages[key]
        if isinstance(key, str):
            raise TypeError("list indices must be integers")  # as for any list
        return UNKNOWN

    def __bool__(self) -> bool:
        return True

    __contains__ = __str__ = __repr__ = __eq__ = __ne__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __hash__ = _refuse

    # --- namespaces -----------------------------------------------------------------------------

    def _end_message(self, count: int) -> None:
        """Record what the loop's attributes are after ``count`` messages."""
        if count == 0:
            return
        for (_, name), (space, history) in self._attributes.items():
            if history.loop == len(self.loops):
                history.add(count, attributes(space).get(name, UNKNOWN))

    def before_write(self, space: Namespace, name: str) -> None:
        """To be called before the attribute ``name`` of ``space`` is written.

        Raises:
            NotStreamable: the write would happen for some numbers of messages only.
        """
        key = (id(space), name)
        if self.conditional or len(self._attributes) > _MAX_ATTRIBUTES:
            raise NotStreamable
        if not self.in_loop:
            self._attributes.pop(key, None)
            return
        known = self._attributes.get(key)
        if known is None or known[1].loop != len(self.loops):
            if known is None:
                before = attributes(space).get(name, UNKNOWN)
            else:
                before = self.read(space, name)
            finished = len(self.loops[-1]) - 1
            history = _AttributeHistory(before, finished, len(self.loops))
            self._attributes[key] = (space, history)

    def read(self, space: Namespace, name: str) -> Any:
        """The attribute ``name`` of ``space``; UNKNOWN where it depends on the messages' number."""
        known = self._attributes.get((id(space), name))
        if known is None or (self.in_loop and known[1].loop == len(self.loops)):
            return attributes(space).get(name, UNKNOWN)
        return known[1].values.get(len(self._messages) % 2, UNKNOWN)


class Namespace(jinja2.utils.Namespace):
    """A template's namespace; :func:`attributes` gives its values."""


def attributes(space: Namespace) -> dict[str, Any]:
    """The attributes of a namespace by name; changing the dictionary changes them."""
    values: dict[str, Any] = object.__getattribute__(space, "_Namespace__attrs")
    return values
