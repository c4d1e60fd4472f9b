"""The facts of many rows of a table at once, by columns; unusual rows go the strict way."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sekft_engine.core.errors import SekftError
from sekft_engine.data.read_report import Rejected
from sekft_engine.data.reading import COMMON_ALIASES, TURN_KEYS
from sekft_engine.sources.index.facts import (
    CLEAN,
    CODES,
    KEEP,
    VERIFIED,
    FactTuple,
    clip,
    facts_of,
)
from sekft_engine.sources.read.parse import trajectory_of
from sekft_engine.sources.read.tables import row_of

_TEXTS = ("scenario", "archetype", "provider", "announcement")
#: What the facts are made of; other columns are not read.
COLUMNS = (
    "id",
    *_TEXTS,
    *TURN_KEYS,
    "steps",
    "outcome",
    "verified",
    "keep",
    "meta",
    "checker",
    "reference_solution",
)


class Odd(Exception):
    """Columns of types that only the strict reader sorts out."""


def skim_batch(batch: Any, first: int, path: str, stem: str) -> list[FactTuple | SekftError]:
    """The facts of each row of a record batch whose first row has the number ``first``."""
    try:
        found = _by_columns(batch, first, stem)
    except Odd:
        found = [None] * len(batch)
    return [
        facts if facts is not None else _strictly(batch, n, f"{path}:row {first + n}", stem, first)
        for n, facts in enumerate(found)
    ]


def _strictly(batch: Any, n: int, where: str, stem: str, first: int) -> FactTuple | SekftError:
    row = row_of(batch, n, where)
    if isinstance(row, Rejected):
        return row
    try:
        return facts_of(trajectory_of(row, where, f"{stem}:{first + n}"))
    except SekftError as error:
        return error


def _by_columns(batch: Any, first: int, stem: str) -> list[FactTuple | None]:
    columns = {  # a column of nothing but nulls is as good as none
        name: column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
        if not _is_nothing(column.type)
    }
    if "checker" in columns and "reference_solution" in columns:
        raise Odd
    lengths, characters, commands, good = _turns(columns)
    ids = _ids(columns.get("id"), len(batch), first, stem)
    scenarios, archetypes, providers, announcements = (
        _text(columns.get(name), len(batch)) for name in _TEXTS
    )
    outcomes = _outcomes(columns.get("outcome"), len(batch))
    steps = _steps(columns.get("steps"), commands)
    flags = (
        _flag(columns.get("verified"), len(batch)) * VERIFIED
        + _flag(columns.get("keep"), len(batch)) * KEEP
        + _clean(columns.get("meta"), len(batch)) * CLEAN
    ).tolist()
    return [
        FactTuple(*values) if fine and values[5] >= 0 else None
        for fine, *values in zip(
            good.tolist(),
            ids,
            scenarios,
            archetypes,
            providers,
            announcements,
            outcomes,
            map(clip, steps),
            lengths.tolist(),
            characters.tolist(),
            flags,
            strict=True,
        )
    ]


def _turns(
    columns: dict[str, Any],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Per row: turns, characters, commands, and whether all of it is as it should be."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = [columns[key] for key in TURN_KEYS if key in columns]
    if len(found) != 1:
        raise Odd
    (column,) = found
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or column.null_count:
        raise Odd
    if not pa.types.is_struct(kind.value_type):
        raise Odd
    flat = column.flatten()
    names = {field.name: field.type for field in kind.value_type if not _is_nothing(field.type)}
    _expect(names)
    role = flat.field("role" if "role" in names else "from")
    content = flat.field("content" if "content" in names else "value")
    if flat.null_count or any(
        flat.field(name).flatten().null_count for name in ("ids", "logprobs") if name in names
    ):  # a null turn's fields hold anything; a null in a list is for the strict reader
        raise Odd
    wrong = pc.invert(pc.is_in(role, value_set=pa.array([*_ROLES], role.type)))
    wrong = pc.or_(wrong, pc.is_null(content))
    ends = np.cumsum(np.asarray(pc.list_value_length(column)).astype(np.int64))

    def per_row(values: Any) -> NDArray[np.int64]:
        total = np.concatenate(([0], np.cumsum(np.asarray(values).astype(np.int64))))
        sums: NDArray[np.int64] = np.diff(total[np.concatenate(([0], ends))])
        return sums

    lengths = np.diff(np.concatenate(([0], ends)))
    good = (per_row(wrong) == 0) & (lengths > 0)
    commands = pc.is_in(role, value_set=pa.array(["assistant", "gpt"], role.type))
    characters = per_row(pc.fill_null(pc.utf8_length(content), 0))
    return lengths, characters, per_row(commands), good


_ROLES = ("system", "user", "assistant", *sorted(COMMON_ALIASES))


def _expect(names: dict[str, Any]) -> None:
    """Take turns only whose fields have the types of a turn's, under one name each."""
    import pyarrow.types as pt

    for either in (("role", "from"), ("content", "value")):
        here = [name for name in either if name in names]
        # Under two names, a null means that the other one counts.
        if len(here) != 1 or not _is_text(names[here[0]]):
            raise Odd
    right = {
        "ids": lambda kind: _is_list(kind) and pt.is_integer(kind.value_type),
        "logprobs": lambda kind: _is_list(kind) and pt.is_floating(kind.value_type),
        "t": lambda kind: pt.is_floating(kind) or pt.is_integer(kind),
        "exit_status": pt.is_integer,
    }
    for name, test in right.items():
        if name in names and not test(names[name]):
            raise Odd
    if any(name in names for name in _DECIDING):
        raise Odd


#: Fields of a turn for whose sake the strict reader may reject a session.
_DECIDING = ("tool_calls", "function_call", "weight", "train")


def _is_nothing(kind: Any) -> bool:
    import pyarrow.types as pt

    return bool(pt.is_null(kind))


def _is_list(kind: Any) -> bool:
    import pyarrow.types as pt

    return bool(pt.is_list(kind) or pt.is_large_list(kind))


def _is_text(kind: Any) -> bool:
    import pyarrow.types as pt

    return bool(pt.is_string(kind) or pt.is_large_string(kind))


def _text(column: Any, count: int) -> list[str]:
    if column is None:
        return [""] * count
    if not _is_text(column.type):
        raise Odd
    return [value or "" for value in column.to_pylist()]


def _ids(column: Any, count: int, first: int, stem: str) -> list[str]:
    import pyarrow.types as pt

    names = [f"{stem}:{first + n}" for n in range(count)]
    if column is None:
        return names
    if pt.is_integer(column.type):
        return [
            name if value is None else str(value)
            for name, value in zip(names, column.to_pylist(), strict=True)
        ]
    return [value or name for name, value in zip(names, _text(column, count), strict=True)]


def _outcomes(column: Any, count: int) -> list[int]:
    if column is None:
        return [CODES["error"]] * count
    return [CODES.get(word or "error", -1) for word in _text(column, count)]


def _steps(column: Any, commands: NDArray[np.int64]) -> list[int]:
    import pyarrow.types as pt

    if column is None:
        return [*commands.tolist()]
    if not pt.is_integer(column.type):
        raise Odd
    return [
        own if value is None else value
        for own, value in zip(commands.tolist(), column.to_pylist(), strict=True)
    ]


def _flag(column: Any, count: int) -> NDArray[np.int64]:
    import pyarrow.types as pt

    if column is None:
        return np.zeros(count, np.int64)
    if not pt.is_boolean(column.type):
        raise Odd
    return np.array([value is True for value in column.to_pylist()], np.int64)


def _clean(column: Any, count: int) -> NDArray[np.int64]:
    import pyarrow.compute as pc
    import pyarrow.types as pt

    if column is None:
        return np.zeros(count, np.int64)
    if not pt.is_struct(column.type):
        raise Odd
    if "clean" not in [field.name for field in column.type]:
        return np.zeros(count, np.int64)
    return _flag(pc.struct_field(column, "clean"), count)
