"""How much memory a piece of work takes at most: counted, not read off the system."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def peak_bytes(work: Callable[[], object]) -> int:
    """The most bytes that tensors made within ``work`` (forward and backward) held at once. What a
    kernel takes for itself is not seen."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    def tensors(tree: object) -> list[Tensor]:
        return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]

    class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
        """Sees every operation, and is told when what it made is let go."""

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
            given = {_key(tensor) for tensor in tensors((args, kwargs))}
            out = func(*args, **(kwargs or {}))
            for tensor in tensors(out):
                if _key(tensor) not in given:
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
    """What tells storages apart while they live."""
    return hash(tensor.untyped_storage()._cdata)  # noqa: SLF001 - there is no public name for it
