"""The peak memory of a computation, counted from its tensors."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def peak_bytes(work: Callable[[], object]) -> int:
    """The most bytes held at once by tensors created in ``work`` (forward and backward).

    Workspace that a kernel allocates for itself is not counted.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    def tensors(tree: object) -> list[Tensor]:
        return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]

    class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
        """Counts the outputs of every operation until they are freed."""

        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.live: dict[int, int] = {}
            self.held = self.most = 0

        def __torch_dispatch__(
            self,
            func: Callable[..., object],
            types: object,
            args: tuple[object, ...] = (),
            kwargs: dict[str, object] | None = None,
        ) -> object:
            inputs = {_key(tensor) for tensor in tensors((args, kwargs))}
            out = func(*args, **(kwargs or {}))
            for tensor in tensors(out):
                if _key(tensor) not in inputs:
                    self.add(tensor)
            return out

        def add(self, tensor: Tensor) -> None:
            storage, key = tensor.untyped_storage(), _key(tensor)
            if key not in self.live:
                self.live[key] = storage.nbytes()
                self.held += self.live[key]
                self.most = max(self.most, self.held)
                weakref.finalize(storage, self.drop, key).atexit = False

        def drop(self, key: int) -> None:
            self.held -= self.live.pop(key, 0)

    with Counter() as counter:
        work()
    most: int = counter.most
    return most


def _key(tensor: Tensor) -> int:
    """An identity of the storage, unique while it is alive."""
    return hash(tensor.untyped_storage()._cdata)  # noqa: SLF001 - there is no public name for it
