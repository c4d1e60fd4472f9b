"""When memory does not suffice."""

from __future__ import annotations

import gc


def out_of_memory(error: BaseException) -> bool:
    """Whether this is one of the ways in which torch says so."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return "allocate memory" in str(error) or "not enough memory" in str(error)


def free_memory() -> None:
    """Give back what nothing refers to any more."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
