"""A command turn, and its bounds: its size, and text that a terminal and a UTF-8 file can hold."""

from __future__ import annotations

import re

import msgspec

from sekft_engine.data.trajectory import Turn

#: Most bytes (UTF-8) and lines of a command turn. The bytes of a single line are bounded by the
#: terminal, see :data:`sekft_engine.worlds.shell.driver.LONGEST_LINE`.
MAX_BYTES = 64 * 1024
MAX_LINES = 1024
#: Characters that are recorded of a longer turn: half from its beginning, half from its end.
KEPT = 4096

#: Most characters that are stored of what is said of an excess.
_EXCESS = 100
#: Most characters of the mark that stands for what was cut.
_MARK_ROOM = 100
_SURROGATE = re.compile("[\ud800-\udfff]")


class CommandTurn(msgspec.Struct, frozen=True, kw_only=True):
    """One command turn of an operator, or why there is none.

    The text is bounded when the object is made, whoever it is from: a model, a server, a person, a
    recorded session. A turn over a bound is neither typed nor judged: it is cut, and the
    environment answers that it was too long.

    Attributes:
        text: what is typed; cut where it was over a bound.
        ids: the token ids as sampled, end-of-turn id included; None = the turn was not sampled.
        logprobs: the log-probability of each id, where there are ids.
        cut: the limit on tokens ended the turn before the model closed it.
        exhausted: the context had no room for a turn, so nothing is typed.
        broken: why the operator could not answer (its server is gone, say). That is no failure of
            the model, so the episode does not count. Empty where it answered.
        by: the operator's name, where several share a session.
        too_long: which bound the text exceeded, such as ``1100 lines, at most 1024``; empty = none.
    """

    text: str
    ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    cut: bool = False
    exhausted: bool = False
    broken: str = ""
    by: str = ""
    too_long: str = ""

    def __post_init__(self) -> None:
        # A file from elsewhere may hold anything here.
        too_long = well_formed(self.too_long[:_EXCESS]) or excess(self.text)
        text = cut(self.text) if too_long else self.text
        msgspec.structs.force_setattr(self, "too_long", too_long)
        msgspec.structs.force_setattr(self, "text", well_formed(text))

    @classmethod
    def again(cls, turn: Turn) -> CommandTurn:
        """What a recorded command turn says, to be typed once more."""
        return cls(
            text=turn.content,
            ids=turn.ids,
            logprobs=turn.logprobs,
            cut=bool(turn.extra.get("cut")),
            by=str(turn.extra.get("by") or ""),
            too_long=str(turn.extra.get("too_long") or ""),
        )


def excess(turn: str) -> str:
    """Which bound ``turn`` exceeds, such as ``70000 bytes, at most 65536``; empty = none."""
    # A character has at least one byte, so a huge turn need not be encoded to be refused.
    if len(turn) > MAX_BYTES or len(turn.encode("utf-8", "replace")) > MAX_BYTES:
        size = len(turn.encode("utf-8", "replace"))
        return f"{size} bytes, at most {MAX_BYTES}"
    lines = turn.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
    return f"{lines} lines, at most {MAX_LINES}" if lines > MAX_LINES else ""


def cut(turn: str) -> str:
    """``turn`` with a mark in place of its middle; a turn that was cut before stays as it is."""
    if len(turn) <= KEPT + _MARK_ROOM:
        return turn
    half = KEPT // 2
    left_out = len(turn) - 2 * half
    return f"{turn[:half]}\n[... {left_out} characters left out ...]\n{turn[-half:]}"


def well_formed(text: str) -> str:
    """``text`` with U+FFFD for every lone surrogate, which no terminal and no UTF-8 file holds."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
