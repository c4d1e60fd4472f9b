"""Read an adapter's weights, once their file is known to hold exactly the expected tensors.

The header of a safetensors file gives names, shapes and types of all tensors. The body is read, and
memory allocated, only if these are what the adapter's configuration means on this base.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from sekft_engine.core.errors import BadInput, DigestMismatch
from sekft_engine.core.text import visible
from sekft_engine.model.attaching.plan import PREFIX, Plan

if TYPE_CHECKING:
    from torch import Tensor

#: The allowed types of an adapter's numbers, and their size in bytes.
TYPES = {"F32": 4, "F16": 2, "BF16": 2}
#: Longest header in bytes: enough for some two hundred thousand tensors.
LONGEST_HEADER = 32 << 20


class _Entry(NamedTuple):
    kind: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_weights(path: Path, plan: Plan, base: Set[str]) -> tuple[dict[str, Tensor], str]:
    """Read the tensors of an adapter's file, and its SHA-256.

    Args:
        path: the safetensors file.
        plan: the tensors that it must hold.
        base: names of the base's own tensors, to explain unexpected ones.

    Raises:
        BadInput: the file is broken, holds tensors of the base, or numbers that are not finite.
        DigestMismatch: it holds other tensors than the base and its configuration ask for.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    with path.open("rb") as file:
        header, entries = _header(file, path)
        _refuse_others(entries, plan, base, path)
        size = max((entry.end for entry in entries.values()), default=0)
        content = header + file.read(size + 1)
        if len(content) != len(header) + size:
            raise _broken("its tensors are not as long as its header says", path)
    try:
        tensors = load(content)
    except (SafetensorError, ValueError) as error:
        raise _broken(str(error), path) from error
    wanted = plan.tensors()
    if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != wanted:
        raise _broken("its header can be read in two ways", path)
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise BadInput(
                f"{_short(name)} holds numbers that are not finite",
                where=str(path),
                mend="train it again at a lower learning rate",
            )
    return tensors, hashlib.sha256(content).hexdigest()


def _header(file: BinaryIO, path: Path) -> tuple[bytes, dict[str, _Entry]]:
    """The bytes of the file up to its body, and the entries in them."""
    about = os.fstat(file.fileno())
    if not stat.S_ISREG(about.st_mode):
        raise BadInput("not a file", where=str(path), mend="name an adapter's folder")
    length = file.read(8)
    count = int.from_bytes(length, "little")
    if len(length) < 8 or not 2 <= count <= min(LONGEST_HEADER, about.st_size - 8):
        raise _broken("it has no header", path)
    text = file.read(count)
    try:
        raw = json.loads(text)
        raw.pop("__metadata__", None)
        entries = {name: _entry(entry) for name, entry in raw.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _broken(f"its header cannot be read: {error}", path) from error
    at = 0
    for entry in sorted(entries.values(), key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != at or entry.end - at != math.prod(entry.shape) * TYPES[entry.kind]:
            raise _broken("its tensors overlap, or have other sizes than their shapes", path)
        at = entry.end
    if about.st_size != 8 + count + at:
        raise _broken(
            f"it has {about.st_size} bytes, and its header describes {8 + count + at}", path
        )
    return length + text, entries


def _entry(entry: Any) -> _Entry:
    kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if kind not in TYPES:
        raise ValueError(f"numbers of type {kind!r}, where {', '.join(TYPES)} are read")
    numbers = [*shape, begin, end]
    if any(isinstance(each, bool) or not isinstance(each, int) or each < 0 for each in numbers):
        raise ValueError("sizes must be whole numbers")
    return _Entry(kind, tuple(shape), begin, end)


def _broken(why: str, path: Path) -> BadInput:
    return BadInput(f"broken: {why}", where=str(path), mend="copy it again, or save it again")


# --- what else a file may hold -------------------------------------------------------------------


def _refuse_others(entries: Mapping[str, _Entry], plan: Plan, base: Set[str], path: Path) -> None:
    """Raise unless names and shapes are exactly those of the plan."""
    wanted = plan.tensors()
    extra = sorted(entries.keys() - wanted.keys())
    missing = sorted(wanted.keys() - entries.keys())
    for name in extra:
        if not any(part.startswith("lora_") for part in name.split(".")):
            what = "is a tensor of the base" if _of_the_base(name, base) else "is no adapter's"
            raise BadInput(
                f"it carries {_short(name)}, which {what}",
                where=str(path),
                mend="save it again with save_embedding_layers=False and without modules_to_save",
            )
    if extra and missing and (problem := _other_prefix(extra, missing)):
        raise DigestMismatch(problem, where=str(path), mend="rename its tensors, or load that base")
    mend = "load its base"
    if extra:
        what = f"{_short(extra[0])} belongs to no layer that its configuration adapts here"
        if ".experts." in extra[0]:
            mend = "adapters of fused experts are not supported"
    elif missing:
        what = f"{_short(missing[0])} is missing"
    else:
        other = [name for name in wanted if entries[name].shape != wanted[name]]
        if not other:
            return
        name = other[0]
        what = f"{_short(name)} is {_size(entries[name].shape)}, and must be {_size(wanted[name])}"
    raise DigestMismatch(
        f"its weights do not fit the base that is loaded: {what}", where=str(path), mend=mend
    )


def _of_the_base(name: str, base: Set[str]) -> bool:
    plain = name.removeprefix(PREFIX)
    for part in (".base_layer", ".modules_to_save", ".original_module"):
        plain = plain.replace(part, "")
    return plain in base


def _other_prefix(extra: list[str], missing: list[str]) -> str:
    """A message if the file has the same layers under another prefix, else empty.

    The usual case is a text model that was trained inside a wrapper, as ``language_model``.
    """
    layer = missing[0].removeprefix(PREFIX)
    parts = layer.split(".")
    for start in range(len(parts)):
        end = ".".join(parts[start:])
        if not any(part.isdigit() for part in parts[start:]):
            return ""  # the names have no layer in common
        theirs = next((name for name in extra if name.endswith("." + end)), None)
        if theirs is None:
            continue
        before, ours = theirs.removesuffix(end), missing[0].removesuffix(end)
        return (
            f"its tensors have other names: {_short(theirs)}, where this base has {missing[0]} "
            f"(that is {_short(before)} for {ours})"
        )
    return ""


def _short(name: str) -> str:
    """A name from a file, shortened for a message."""
    name = visible(name)
    return name if len(name) <= 160 else f"{name[:100]}...{name[-50:]}"


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
