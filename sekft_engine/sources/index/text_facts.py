"""The facts in JSON texts, by skimming them, or else by the strict reader."""

from __future__ import annotations

from sekft_engine.core.errors import SekftError
from sekft_engine.sources.index.facts import FactTuple, facts_of, skim
from sekft_engine.sources.index.session_table import Place
from sekft_engine.sources.read.parse import is_utf8, trajectory_in
from sekft_engine.sources.read.pieces import pieces
from sekft_engine.sources.read.source import RecordFile


def line_facts(
    line: bytes, place: Place, record: RecordFile
) -> list[tuple[Place, FactTuple | SekftError]]:
    """What is on a line, as a rule one value."""
    found: list[tuple[Place, FactTuple | SekftError]] = []
    for piece in pieces(line):
        text = piece.of(line)
        where = record.where(place.line, piece.item)
        name = record.name(place.line, piece.item)
        inner = place._replace(
            offset=place.offset + piece.offset, length=piece.length, item=piece.item
        )
        found.append((inner, facts_in(text, where, name, safe=is_utf8(text))))
    return found


def facts_in(data: bytes, where: str, name: str, *, safe: bool) -> FactTuple | SekftError:
    """The facts in a JSON text, or what is wrong with it.

    Args:
        data: the text.
        where: its place, for the error.
        name: the id if it has none.
        safe: whether it is known to be UTF-8.
    """
    found = skim(data, name) if safe else None
    if found is not None:
        return found
    try:
        return facts_of(trajectory_in(data, where, name))
    except SekftError as error:
        return error
