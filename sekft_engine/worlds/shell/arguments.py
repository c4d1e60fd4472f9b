"""Joins lists of arguments that other programs split again.

A part with its list's separator in it would be split into several parts there, so it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable

from sekft_engine.core.errors import BadInput
from sekft_engine.data.world_paths import encode_text


def terminated(parts: Iterable[str]) -> bytes:
    """``parts`` as bubblewrap's ``--args`` reads them: each ended by a NUL byte.

    Raises:
        BadInput: a part holds a NUL, or half a surrogate pair.
    """
    return b"".join(_part(part, "\0") + b"\0" for part in parts)


def separated(separator: str, parts: Iterable[str]) -> str:
    """``parts`` with ``separator`` between them, as the program that reads them splits them.

    Raises:
        BadInput: a part holds the separator or a NUL.
    """
    listed = list(parts)
    for part in listed:
        _part(part, separator)
    return separator.join(listed)


def mount(path: str, *options: str) -> str:
    """``PATH:OPTION,OPTION`` as podman and docker read it after ``--tmpfs``."""
    return separated(":", [separated(",", [path]), separated(",", options)])


def _part(part: str, separator: str) -> bytes:
    if separator in part or "\0" in part:
        raise BadInput(
            f"{part[:80]!r} holds {separator!r}, which separates arguments",
            where="a world's arguments",
            mend="leave that character out of the bundle",
        )
    try:
        return encode_text(part)
    except UnicodeEncodeError:
        raise BadInput(
            f"{part[:80]!r} holds half a surrogate pair",
            where="a world's arguments",
            mend="write the whole character",
        ) from None
