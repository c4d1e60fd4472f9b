"""JSON from outside as typed values, so that whatever does not fit is an error for a person."""

from __future__ import annotations

import json
import threading
from typing import Any, Literal, TypeVar

import msgspec

from sekft_engine.core.errors import BadInput

T = TypeVar("T")

#: What reading JSON may raise, nesting without end included.
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
#: The types whose plan msgspec has made, and who may make one.
_planned: set[object] = set()
_planning = threading.RLock()


def decode(
    data: bytes | str, *, where: str, what: str = "", mend: str = "restore the file"
) -> dict[str, Any]:
    """A JSON object.

    Args:
        what: how an error begins where the file holds no such object, as in "broken manifest".

    Raises:
        BadInput: it is not JSON, or JSON of another kind; names ``where``.
    """
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.ValidationError as error:
        fault = f"{what}: not a JSON object" if what else "not a JSON object"
        raise BadInput(fault, where=where, mend=mend) from error
    except NOT_JSON as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else error
        raise BadInput(f"{what or 'broken JSON'}: {reason}", where=where, mend=mend) from error


def encode(value: Any, order: Literal["deterministic"] | None = None) -> bytes:
    """JSON, also of text that holds half of a surrogate pair."""
    try:
        return msgspec.json.encode(value, order=order)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value, order=order)).encode()


def converted(value: object, kind: type[T]) -> T:
    """As ``msgspec.convert``, for any thread. msgspec plans a type at its first use, and two
    threads that do so at once end the interpreter (a segmentation fault, with msgspec 0.22)."""
    if kind in _planned:
        return msgspec.convert(value, kind)
    with _planning:
        try:
            return msgspec.convert(value, kind)
        finally:
            _planned.add(kind)


def convert(value: object, kind: type[T], *, what: str, where: str, mend: str) -> T:
    """A value that is parsed already, as a ``kind``.

    Args:
        what: what is wrong with one that does not fit, as in "broken bundle".

    Raises:
        BadInput: it does not fit; names ``where`` and the field.
    """
    try:
        return converted(value, kind)
    except msgspec.ValidationError as error:
        raise BadInput(f"{what}: {error}", where=where, mend=mend) from error
    except UnicodeEncodeError as error:  # half a surrogate pair where no text belongs
        raise BadInput(f"{what}: half a surrogate pair", where=where, mend=mend) from error
