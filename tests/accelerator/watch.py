"""Which tensors a step leaves on the CPU, and at what places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.accelerator.simulated import SimTensor, place


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.made: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            # Single numbers, such as the optimiser's count of steps, may live on the CPU.
            if isinstance(leaf, torch.Tensor) and not isinstance(leaf, SimTensor) and leaf.dim():
                self.made[place()] += 1
        return out


@contextmanager
def cpu_tensors() -> Iterator[Counter[str]]:
    """Counts the tensors of at least one dimension that operations make on the CPU, by the place
    in the engine that makes them."""
    with _Watch() as watch:
        yield watch.made
