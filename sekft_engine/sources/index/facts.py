"""Facts: what a list, a filter or a count needs to know of a trajectory, without its contents.

They are read by decoders that skip what is not needed and accept no more than the strict reader
does; what they reject, the strict reader decides.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from sekft_engine.core.errors import BadInput, SekftError
from sekft_engine.data.read_report import Rejected, reason_of
from sekft_engine.data.reading import label
from sekft_engine.data.reasons import place_shown
from sekft_engine.data.trajectory import OUTCOMES, Outcome, Role, Trajectory

#: Codes of outcomes in an index, by which :data:`OUTCOMES` has them.
CODES: dict[str, int] = {outcome: code for code, outcome in enumerate(OUTCOMES)}

VERIFIED, KEEP, CLEAN = 1, 2, 4
_STEPS = 0x7FFFFFFF


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """One trajectory as a list shows it.

    Attributes:
        where: ``file``, ``file:line`` or ``file:row number``.
        characters: of the contents of all turns.
        raw: whether it is a recording that nobody has selected yet.
    """

    id: str
    where: str
    scenario: str = ""
    archetype: str = ""
    provider: str = ""
    announcement: str = ""
    outcome: str = "error"
    steps: int = 0
    turns: int = 0
    characters: int = 0
    verified: bool = False
    keep: bool = False
    clean: bool = False
    raw: bool = False

    @property
    def left_out(self) -> bool:
        """Whether training leaves it out: a raw recording whose ``keep`` is not true."""
        return self.raw and not self.keep


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something in the data that is no trajectory, or cannot be read.

    ``reason`` is the name it is counted under: ``broken``, ``twice`` (an id that stands elsewhere),
    ``unfinished`` (the last line of a file that no longer grows) or ``unreadable``. ``dropped`` is
    the name under which training counts it, and ``name`` what stands for the id of what it was.
    """

    where: str
    what: str
    reason: str
    mend: str = ""
    dropped: str = "unreadable"
    name: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} ({self.mend})" if self.mend else text

    def error(self) -> BadInput:
        """The same as an error, for a caller that stops at the first one."""
        return BadInput(self.what, where=place_shown(self.where), mend=self.mend or None)

    @classmethod
    def of(cls, error: SekftError, reason: str, name: str = "") -> Problem:
        dropped = reason_of(error)
        half = reason == "unfinished" and dropped == "broken_json"
        return cls(
            where=error.where or "",
            what=error.what,
            reason=reason,
            mend=error.mend or "",
            dropped="half_line" if half else dropped,
            name=(error.id if isinstance(error, Rejected) else "") or name,
        )


class FactTuple(NamedTuple):
    """The facts of one trajectory as the columns store them."""

    id: str
    scenario: str
    archetype: str
    provider: str
    announcement: str
    outcome: int
    steps: int
    turns: int
    characters: int
    flags: int


def facts_of(trajectory: Trajectory) -> FactTuple:
    """The facts of a parsed trajectory."""
    return FactTuple(
        trajectory.id,
        trajectory.scenario,
        trajectory.archetype,
        trajectory.provider,
        trajectory.announcement,
        CODES[trajectory.outcome],
        clip(trajectory.steps),
        len(trajectory.turns),
        sum([len(turn.content) for turn in trajectory.turns]),
        trajectory.verified * VERIFIED + trajectory.keep * KEEP + trajectory.clean * CLEAN,
    )


def clip(steps: int) -> int:
    """``steps`` in the range of its column."""
    return max(-_STEPS, min(steps, _STEPS))


def skim(line: bytes | memoryview, name: str) -> FactTuple | None:
    """The facts in one JSON object, without parsing its contents.

    It accepts one thing that the strict reader refuses: a number of thousands of digits in an
    unknown field.

    Args:
        line: UTF-8.
        name: the id if the object has none.

    Returns:
        None if the strict reader has to decide.
    """
    read = _decode(line)
    if read is None or (read.checker is not UNSET and read.reference_solution is not UNSET):
        return None
    turns = _turns(read)
    if not turns:
        return None
    meta = read.meta
    steps = read.steps
    if isinstance(read, _OtherSession):
        roles, contents = _unify(turns)
        if UNSET in roles or UNSET in contents:
            return None
        characters = sum(map(len, contents))
    else:
        characters = sum([len(turn.content) for turn in turns])
        roles = [turn.role for turn in turns] if steps is None else []
    if steps is None:
        steps = roles.count("assistant") + roles.count("gpt")
    return FactTuple(
        name if read.id is None or read.id == "" else str(read.id),
        label(read.scenario),
        label(read.archetype),
        label(read.provider),
        label(read.announcement),
        CODES[read.outcome or "error"],
        clip(steps),
        len(turns),
        characters,
        (read.verified is True) * VERIFIED
        + (read.keep is True) * KEEP
        + (meta is not None and bool(meta.clean)) * CLEAN,
    )


def contents(line: bytes, name: str) -> tuple[str, list[str]] | None:
    """The id and the contents of all turns; otherwise as :func:`skim`."""
    read = _decode(line)
    if read is None:
        return None
    turns = _turns(read)
    texts = (
        _unify(turns)[1] if isinstance(read, _OtherSession) else [each.content for each in turns]
    )
    if not texts or UNSET in texts:
        return None
    return name if read.id is None or read.id == "" else str(read.id), texts


def _decode(line: bytes | memoryview) -> _Session | _OtherSession | None:
    try:
        return _PLAIN.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    try:
        return _OTHER.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def _turns(read: _Session | _OtherSession) -> Any:
    """The turns under the first of their names that has any; none if there is none."""
    for turns in (read.turns, read.messages, read.conversations):
        if turns:
            return turns
    return []


def _unify(turns: list[_OtherTurn]) -> tuple[list[Any], list[Any]]:
    """The roles and the contents, each under the first name that a turn has for it."""
    roles = [turn.from_ if turn.role is UNSET else turn.role for turn in turns]
    contents = [turn.value if turn.content is UNSET else turn.content for turn in turns]
    return roles, contents


class _Meta(msgspec.Struct, gc=False):
    clean: Any = None


class _AnyTurn(msgspec.Struct, gc=False, kw_only=True):
    """What a turn may have besides; the types are those of :class:`Turn`. What may make the strict
    reader reject it has no type here that would let it pass."""

    ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    t: float | None = None
    exit_status: int | None = None
    train: bool | None = None
    weight: None = None
    tool_calls: None = None
    function_call: None = None


class _Turn(_AnyTurn, gc=False, kw_only=True):
    """A turn under its own names."""

    role: Literal[Role, "human", "gpt"]
    content: str


class _OtherTurn(_AnyTurn, gc=False, kw_only=True, rename={"from_": "from"}):
    """A turn under any of the names that a reader takes."""

    role: Literal[Role, "human", "gpt"] | UnsetType = UNSET
    from_: Literal[Role, "human", "gpt"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    value: str | UnsetType = UNSET


class _Common(msgspec.Struct, gc=False, kw_only=True):
    id: str | int | None = None
    scenario: str | dict[str, Any] | None = None
    archetype: str | dict[str, Any] | None = None
    provider: str | dict[str, Any] | None = None
    announcement: str | dict[str, Any] | None = None
    steps: int | None = None
    outcome: Outcome | None = None
    verified: bool | None = None
    keep: bool | None = None
    meta: _Meta | None = None
    checker: msgspec.Raw | UnsetType = UNSET
    reference_solution: msgspec.Raw | UnsetType = UNSET


class _Session(_Common, gc=False, kw_only=True):
    turns: list[_Turn] | None = None
    messages: list[_Turn] | None = None
    conversations: list[_Turn] | None = None


class _OtherSession(_Common, gc=False, kw_only=True):
    turns: list[_OtherTurn] | None = None
    messages: list[_OtherTurn] | None = None
    conversations: list[_OtherTurn] | None = None


_PLAIN = msgspec.json.Decoder(_Session)
_OTHER = msgspec.json.Decoder(_OtherSession)
