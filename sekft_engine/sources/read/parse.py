"""From bytes to a JSON value or a trajectory; every error names the file and the line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.core.errors import SekftError, Unavailable
from sekft_engine.data import reading
from sekft_engine.data.read_report import Rejected
from sekft_engine.data.trajectory import Trajectory

#: Lists and objects in each other, at most.
DEEPEST = 100
_BOM = b"\xef\xbb\xbf"
_MEND = "mend or remove it"
_WITH_LINE = re.compile(r".:\d+(?: item \d+)?$")


def parse(data: bytes, where: str) -> Any:
    """One JSON value, or :class:`Rejected` naming ``where`` and the line within."""
    value = _parsed(data.removeprefix(_BOM), where)
    if is_bracketed(data):
        refuse_deep(value, where)
    return value


def is_bracketed(data: bytes) -> bool:
    """Whether a JSON text has so many brackets that it may be nested too deeply."""
    return data.count(b"[") + data.count(b"{") > DEEPEST


def refuse_deep(value: object, where: str) -> None:
    """Raise :class:`Rejected` if ``value`` is nested too deeply: it could be read here, and not be
    written again there."""
    if nested_deeper(value, DEEPEST):
        raise Rejected(
            "too_deep",
            f"nested more than {DEEPEST} levels deep",
            where=where,
            mend="flatten or remove it",
        )


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
    return any(isinstance(inner, dict | list) for inner in layer)


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
        raise Rejected(
            "not_utf8",
            f"not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}",
            where=_deeper(where, line),
            mend="convert the file, as with iconv -t UTF-8",
        ) from error
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = _deeper(where, error.lineno - 1)
        if "\0" in text:
            raise Rejected(
                "zero_bytes", "zero bytes where JSON should be", where=place, mend=_MEND
            ) from error
        what = f"broken JSON: {error.msg.removesuffix(' at')} at column {error.colno}"
        raise Rejected("broken_json", what, where=place, mend=_MEND) from error
    except RecursionError as error:
        what = f"nested more than {DEEPEST} levels deep"
        raise Rejected("too_deep", what, where=where, mend="flatten or remove it") from error
    except ValueError as error:
        raise Rejected("broken_json", f"broken JSON: {error}", where=where, mend=_MEND) from error


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
    return where if _WITH_LINE.search(where) else f"{where}:{lines + 1}"


def duplicate_keys(data: bytes, value: object) -> list[str]:
    """The keys that stand twice in one object of a JSON text.

    Args:
        data: the text.
        value: what it was parsed to. Where it has as many keys as the text, there are none.
    """
    if text_keys(data) == count_keys(value):
        return []
    found: dict[str, None] = {}

    def pairs(items: list[tuple[str, Any]]) -> None:
        if len({key for key, _ in items}) < len(items):
            names: set[str] = set()
            for key, _ in items:
                if key in names:
                    found[key] = None
                names.add(key)

    json.loads(data.removeprefix(_BOM), object_pairs_hook=pairs)
    return list(found)


def text_keys(data: bytes) -> int:
    """How many keys a JSON text has, where they are written in the usual way; -1 = it is not known
    without parsing it."""
    keys = data.count(b'":')
    if data.find(b'" :') >= 0:
        return -1
    return keys - data.count(b'\\":') if data.find(b"\\") >= 0 else keys


def count_keys(value: object) -> int:
    """The keys of all objects in a JSON value."""
    keys = 0
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            keys += len(each)
            left += [inner for inner in each.values() if type(inner) in _NESTING]
        elif isinstance(each, list):
            left += [inner for inner in each if type(inner) in _NESTING]
    return keys


_NESTING = frozenset({dict, list})


def trajectory_in(data: bytes, where: str, name: str) -> Trajectory:
    """The trajectory in a JSON text.

    Args:
        data: the text.
        where: file, or file and line.
        name: the id if it has none.

    Raises:
        Rejected: it is no trajectory; says why, naming ``where`` and the line within.
    """
    value = parse(data, where)
    return trajectory_of(value, where, name, duplicate_keys(data, value))


def trajectory_of(raw: object, where: str, name: str, duplicates: Iterable[str] = ()) -> Trajectory:
    """As :func:`trajectory_in`, of a value that is parsed already.

    Args:
        raw: the value.
        where: its place.
        name: the id if it has none.
        duplicates: keys that stood twice, to be noted.
    """
    return reading.trajectory_of(raw, where, name, duplicates)


def duplicate_id(identity: str, first: str, where: str) -> Rejected:
    """The error that the id ``identity`` is at ``first`` and again at ``where``."""
    error = Rejected(
        "duplicate_id",
        f"the id {identity!r} stands in {first} already",
        where=where,
        mend="give each trajectory its own id, or remove one of the two",
    )
    error.id = identity
    return error


def unreadable(path: Path, error: OSError) -> SekftError:
    """The error of a file that the operating system refuses to read."""
    return Unavailable(
        f"cannot read: {error.strerror or error}",
        where=str(error.filename or path),
        mend="check its permissions",
    )
