"""A key/value cache whose slots are addressed per row, so that rows of unequal length share steps.

Slot 0 of each row is a bin; the token at position ``p`` of a row lies in slot ``p + 1``. New tokens
are written in place (no concatenation per step), and what a row may see follows from its positions
alone: query ``p`` sees slots ``1 .. p + 1``. Padding is written to the bin and sees only the bin,
so it can neither be seen by a token nor leave a row of attention empty (which would give NaN).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

#: Slots added at once when a row outgrows the cache.
CHUNK = 256


class SlotCache:
    """What a transformers model asks of ``past_key_values``, for rows of unequal length.

    Tensors are ``[rows, heads, slots, width]`` per layer. It is not a subclass of transformers'
    ``Cache``, which would import torch with this module; models only call :meth:`update`.
    """

    is_compileable = False
    is_sliding = (False,)

    def __init__(self) -> None:
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self._batch = 0
        self._rows: slice | Tensor = slice(0, 0)
        self._slots: Tensor
        self._span = 0

    def aim(self, batch: int, rows: slice | Tensor, slots: Tensor, span: int) -> None:
        """Say where the next forward pass writes and reads.

        Args:
            batch: number of rows in the cache.
            rows: the rows fed: neighbours, or indices ``[r]``, which costs a copy of what they see.
            slots: ``[r, q]`` where the new tokens go.
            span: number of slots that the pass may look at.
        """
        self._batch, self._rows, self._slots, self._span = batch, rows, slots, span

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Write ``[r, heads, q, width]``; return what the rows see, ``[r, heads, span, width]``."""
        if layer_idx == len(self.keys):
            self.keys.append(self._empty(key_states))
            self.values.append(self._empty(value_states))
        return (
            self._put(self.keys, layer_idx, key_states),
            self._put(self.values, layer_idx, value_states),
        )

    def copy(self, source: int, target: int, count: int) -> None:
        """Give row ``target`` the first ``count`` positions of row ``source``."""
        if target >= self.keys[0].shape[0]:
            self._batch = target + 1
        for layers in (self.keys, self.values):
            for index in range(len(layers)):
                store = self._grown(layers, index)
                store[target, :, 1 : count + 1] = store[source, :, 1 : count + 1]

    def keep(self, rows: Tensor) -> None:
        """Let all rows but ``rows`` ``[r]`` go."""
        self.keys = [layer.index_select(0, rows) for layer in self.keys]
        self.values = [layer.index_select(0, rows) for layer in self.values]
        self._batch = len(rows)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self._span

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        return self._span, 0

    def _capacity(self) -> int:
        return -(-self._span // CHUNK) * CHUNK

    def _empty(self, like: Tensor) -> Tensor:
        return like.new_zeros((self._batch, like.shape[1], self._capacity(), like.shape[3]))

    def _grown(self, layers: list[Tensor], index: int) -> Tensor:
        """A layer's store with room for all rows and slots."""
        import torch

        store = layers[index]
        rows, slots = self._batch - store.shape[0], self._span - store.shape[2]
        if rows > 0 or slots > 0:
            more = (0, 0, 0, max(0, self._capacity() - store.shape[2]), 0, 0, 0, max(0, rows))
            store = layers[index] = torch.nn.functional.pad(store, more)
        return store

    def _put(self, layers: list[Tensor], index: int, new: Tensor) -> Tensor:
        import torch

        store = self._grown(layers, index)
        if isinstance(self._rows, slice):
            seen = store[self._rows, :, : self._span]
            each = torch.arange(len(seen), device=new.device)
            seen[each[:, None], :, self._slots] = new.transpose(1, 2)
            return seen
        store[self._rows[:, None], :, self._slots] = new.transpose(1, 2)
        return store[:, :, : self._span].index_select(0, self._rows)
