"""What reading comes to: why sessions are rejected, and what was noted of those that are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from sekft_engine.core.errors import BadInput, SekftError

#: Why a reader rejects a session, or what should be one: names to be counted, and their meanings.
REJECTIONS: Mapping[str, str] = {
    "bad_content": "What a turn says is neither text nor a list of text parts.",
    "bad_weight": "A command has a weight other than 0 and 1, or two that contradict each other.",
    "broken_json": "It is not JSON.",
    "broken_row": "The row of the table cannot be read.",
    "damaged_file": "The file is damaged from there on, and what follows cannot be read.",
    "duplicate_id": "Another session has its id; the first one is used.",
    "half_line": "The last line of the file is not complete.",
    "not_a_session": "It is JSON, but no session: it has no list of turns.",
    "not_utf8": "It is not UTF-8.",
    "too_deep": "Lists and objects are nested too deeply in it.",
    "tool_calls": "A command is given as a call of a tool, so how it is typed at a shell is not "
    "known.",
    "unknown_role": "A turn has a role of which it is not known who speaks.",
    "unreadable": "The file could not be read, or it has changed while it was read.",
    "zero_bytes": "Zero bytes stand where text should be, as a lost disk cache leaves them.",
}
#: Those that are known sessions all the same. Where there is nothing but other reasons, that is an
#: error: the whole is something else, or damaged.
KNOWN_SESSIONS = frozenset({"bad_content", "bad_weight", "tool_calls"})

#: Kinds of notes; the part after the colon says which field, key or role.
NOTES: Mapping[str, str] = {
    "unused": "a field that is not used",
    "unused_turn": "a field of a turn that is not used",
    "unused_part": "a part of a turn that is not used",
    "beside": "a second list of turns that is not used",
    "duplicate": "a key that stands twice in one object; the last one counts",
    "foreign": "a field of another type, which is kept but not used",
    "foreign_turn": "a field of a turn of another type, which is kept but not used",
    "role": "a role that is read as another",
    "parts": "contents given in parts, which are joined",
    "no_content": "a turn without content, which is read as an empty one",
    "bare": "a list of turns without a session around it",
}
#: Different notes that are counted; further ones are counted together.
MAX_NOTES = 200
_MORE = "more"


class Rejected(BadInput):
    """A session that is not read.

    Args:
        reason: the name it is counted under.

    Attributes:
        id: the session's, where it is known.
    """

    def __init__(
        self, reason: str, what: str, *, where: str | None = None, mend: str | None = None
    ) -> None:
        super().__init__(what, where=where, mend=mend)
        self.reason = reason
        self.id = ""


def reason_of(error: SekftError) -> str:
    """The name under which an error of reading is counted."""
    return error.reason if isinstance(error, Rejected) else "unreadable"


def add_notes(counts: Counter[str], notes: Iterable[str]) -> None:
    """Count one trajectory's notes."""
    for note in notes:
        counts[note if note in counts or len(counts) < MAX_NOTES else _MORE] += 1


def note_text(note: str) -> str:
    """A note as a person reads it."""
    kind, _, about = note.partition(":")
    said = NOTES.get(kind, "another note")
    return f"{said}: {about}" if about else said


def note_lines(notes: Mapping[str, int], most: int = 10) -> list[str]:
    """Notes with their numbers, one a line, the first ``most`` of them."""
    lines = [
        f"{count:,} {'trajectory' if count == 1 else 'trajectories'}: {note_text(note)}"
        for note, count in list(notes.items())[:most]
    ]
    return lines if len(notes) <= most else [*lines, f"and {len(notes) - most:,} more notes"]


def passed_over_text(passed_over: Mapping[str, int]) -> str:
    """The files of a folder that are not read, in a few words; '' = none."""
    return ", ".join(f"{count:,} {ending}" for ending, count in passed_over.items())
