"""What people write about a run: another title, a note, tags. Kept beside its manifest."""

from __future__ import annotations

from pathlib import Path

import msgspec

from sekft_engine.core.documents import NOT_JSON
from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.core.files import read_regular, write_whole
from sekft_engine.core.text import quiet_json

NOTES = "notes.json"
#: The longest title, and the longest tag.
MOST_TITLE, MOST_TAG = 80, 32


class RunNotes(msgspec.Struct, frozen=True, omit_defaults=True):
    """``title`` is shown in place of the run's id."""

    title: str = ""
    note: str = ""
    tags: tuple[str, ...] = ()


def read_notes(run: Path) -> RunNotes:
    """The notes on the run in the folder ``run``; none where there are none, or broken ones."""
    try:
        return msgspec.json.decode(read_regular(run / NOTES), type=RunNotes)
    except (OSError, *NOT_JSON):
        return RunNotes()


def write_notes(run: Path, notes: RunNotes) -> None:
    """Write the notes on the run in the folder ``run``.

    Raises:
        BadInput: the title or a tag is too long or not of one line.
        Unavailable: the folder cannot be written to.
    """
    if len(notes.title) > MOST_TITLE or "\n" in notes.title:
        raise BadInput(f"a title is one line of at most {MOST_TITLE} characters")
    for tag in notes.tags:
        if not 0 < len(tag) <= MOST_TAG or tags_in(tag) != (tag,):
            raise BadInput(f"{tag!r}: a tag is one word of at most {MOST_TAG} characters")
    try:
        write_whole(run / NOTES, quiet_json(msgspec.json.encode(notes)) + b"\n")
    except OSError as error:
        raise Unavailable(f"cannot be written: {error.strerror}", where=str(run)) from error


def tags_in(text: str) -> tuple[str, ...]:
    """The tags in a text, each once, in order; commas and blanks are between them. A ``#`` before
    one is how it is shown, and no part of it."""
    words = (word.lstrip("#") for word in text.replace(",", " ").split())
    return tuple(dict.fromkeys(word for word in words if word))
