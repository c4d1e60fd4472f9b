"""The weight files of a base, as transformers reads them, and the tables of tensors in them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.core.errors import BadInput

#: The file of a base's weights, and the table of its files where they are several.
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
#: No header of a safetensors file is longer (its format says so).
_LONGEST = 100_000_000


class StoredTensor(msgspec.Struct, frozen=True):
    """A tensor in a safetensors file: its type as the format spells it (``BF16``), its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of its elements."""
        return math.prod(self.shape)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a base, sorted by name.

    They are those of the index, else ``model.safetensors``, as transformers chooses them. Vendors
    put the same weights in a format of their own beside them (``consolidated.safetensors``); such
    files are not part of the base. Only where neither is there, all files count.

    Raises:
        BadInput: the index is broken.
    """
    index = folder / INDEX
    if index.is_file():
        return [folder / name for name in indexed_files(index)]
    single = folder / SINGLE
    return [single] if single.is_file() else sorted(folder.glob("*.safetensors"))


def indexed_files(index: Path) -> list[str]:
    """The names of the weight files that an index lists, sorted.

    Raises:
        BadInput: it is not such an index, or leads out of its folder.
    """
    mend = "fetch the base again"
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise BadInput(f"not an index of weights: {error}", where=str(index), mend=mend) from error
    strange = [name for name in names if not isinstance(name, str) or Path(name).name != name]
    if strange or not names:
        listed = f"the file {strange[0]!r}" if strange else "no file"
        raise BadInput(f"this index lists {listed}", where=str(index), mend=mend)
    return sorted(names)


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """All tensors of a base by name, read from the headers of its files.

    Raises:
        BadInput: a weight file is no safetensors file.
    """
    found: dict[str, StoredTensor] = {}
    for path in weight_files(folder):
        found |= _header(path)
    return found


def _header(path: Path) -> dict[str, StoredTensor]:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        try:
            if size > _LONGEST:
                raise ValueError(f"a header of {size} bytes")
            header = msgspec.json.decode(file.read(size), type=dict[str, dict[str, Any]])
            header.pop("__metadata__", None)
            return msgspec.convert(header, dict[str, StoredTensor])
        except (ValueError, RecursionError) as error:
            raise BadInput(f"not a safetensors file: {error}", where=str(path)) from error
