"""From bytes to a JSON value or a trajectory; every error names the file and the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.core.errors import BadInput, SekftError, Unavailable
from sekft_engine.data.trajectory import Trajectory

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


def trajectory_in(data: bytes, where: str, name: str) -> Trajectory:
    """The trajectory in a JSON text.

    Args:
        data: the text.
        where: file, or file and line.
        name: the id if it has none.

    Raises:
        BadInput: it is no trajectory; says why, naming ``where`` and the line within.
    """
    return trajectory_of(parse(data, where), where, name)


def trajectory_of(raw: object, where: str, name: str) -> Trajectory:
    """As :func:`trajectory_in`, of a value that is parsed already."""
    if isinstance(raw, dict):
        if "reference_solution" in raw and "checker" in raw:
            raise BadInput(
                "a scenario bundle where a trajectory belongs",
                where=where,
                mend="give bundles with --scenarios, or roll them out with sekft factory rollout",
            )
        number = raw.get("id")
        if number is None or number == "":
            raw = raw | {"id": name}
        elif isinstance(number, int):
            raw = raw | {"id": str(number)}
    return Trajectory.from_json(raw, where)


def duplicate_id(identity: str, first: str, where: str) -> BadInput:
    """The error that the id ``identity`` is at ``first`` and again at ``where``."""
    return BadInput(
        f"the id {identity!r} stands in {first} already",
        where=where,
        mend="give each trajectory its own id, or remove one of the two",
    )


def unreadable(path: Path, error: OSError) -> SekftError:
    """The error of a file that the operating system refuses to read."""
    return Unavailable(
        f"cannot read: {error.strerror or error}",
        where=str(error.filename or path),
        mend="check its permissions",
    )
