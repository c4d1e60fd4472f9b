"""Parse JSON, so that whatever is wrong with it is said with the file's name and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.errors import BadInput, SekftError, Unavailable

#: Lists and objects in each other, at most.
DEEPEST = 100
_BOM = b"\xef\xbb\xbf"


def parse(data: bytes, where: str) -> Any:
    """One JSON value, or :class:`BadInput` naming ``where`` and the line within."""
    value = _parsed(data.removeprefix(_BOM), where)
    # What is nested deeper could be read here, and not be written again there.
    if data.count(b"[") + data.count(b"{") > DEEPEST and nested_deeper(value, DEEPEST):
        raise BadInput(
            f"nested more than {DEEPEST} levels deep", where=where, mend="flatten or remove it"
        )
    return value


def nested_deeper(value: object, levels: int) -> bool:
    """Whether lists and objects stand in each other more than ``levels`` deep."""
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not layer:
            return False
    return any(isinstance(one, dict | list) for one in layer)


def _parsed(data: bytes, where: str) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        # The tolerant reader decides: it takes lone surrogates, and tells line and column.
        pass
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start)
        raise BadInput(
            f"not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}",
            where=_deeper(where, line),
            mend="convert the file, as with iconv -t UTF-8",
        ) from error
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(
            f"broken JSON: {error.msg} at column {error.colno}",
            where=_deeper(where, error.lineno - 1),
            mend="mend or remove it",
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"broken JSON: {error}", where=where, mend="mend or remove it") from error


def is_utf8(data: bytes) -> bool:
    """Whether ``data`` is UTF-8; for ASCII that is quick."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _deeper(where: str, lines: int) -> str:
    """``where`` with a line: a ``.jsonl`` place has one already and its values are one line."""
    head, _, tail = where.rpartition(":")
    return where if head and tail.isdigit() else f"{where}:{lines + 1}"


def unreadable(path: Path, error: OSError) -> SekftError:
    """What to tell of a file that the operating system does not let us read."""
    return Unavailable(
        f"cannot read: {error.strerror or error}",
        where=str(error.filename or path),
        mend="check its permissions",
    )
