"""Turn parsed JSON into a typed value, so that whatever does not fit is an error for a person."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from sekft_engine.errors import BadInput

T = TypeVar("T")


def convert(value: object, kind: type[T], *, what: str, where: str, mend: str) -> T:
    """``value`` as a ``kind``.

    Args:
        what: what ``value`` should be, as in "broken bundle".

    Raises:
        BadInput: it does not fit; names ``where`` and the field.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise BadInput(f"{what}: {error}", where=where, mend=mend) from error
    except UnicodeEncodeError as error:  # half a surrogate pair where no text belongs
        raise BadInput(f"{what}: half a surrogate pair", where=where, mend=mend) from error
