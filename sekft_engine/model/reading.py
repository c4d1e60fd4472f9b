"""How many bytes of a base's weights are read, while transformers reads them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: The function of transformers that reads one tensor from its file.
_READS = "_materialize_copy"


def weight_bytes(folder: Path) -> int:
    """Bytes of the weight files in a base's folder."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


@contextmanager
def counted_reads(report: Callable[[int], None]) -> Iterator[None]:
    """Tell ``report`` how many bytes have been read so far, after each tensor that is read.

    It is called by the threads that read. A transformers that reads in another way is not counted.
    """
    from transformers import core_model_loading as loading

    read = getattr(loading, _READS, None)
    if read is None:
        yield
        return
    lock = threading.Lock()
    so_far = 0

    def counting(tensor: Any, *rest: Any, **more: Any) -> Any:
        nonlocal so_far
        found = read(tensor, *rest, **more)
        with lock:
            so_far += _bytes(tensor, found)
            report(so_far)
        return found

    setattr(loading, _READS, counting)
    try:
        yield
    finally:
        setattr(loading, _READS, read)


def _bytes(tensor: Any, found: Any) -> int:
    """The bytes that a tensor takes in its file: it may have got another type on the way."""
    size = int(found.element_size())
    if hasattr(tensor, "get_dtype"):
        size = _SIZES.get(str(tensor.get_dtype()), size)
    return int(found.numel()) * size


#: Bytes of an element, by safetensors' names.
_SIZES = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2,
    "U16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
