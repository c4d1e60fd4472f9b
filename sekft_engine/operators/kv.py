"""A key/value cache with slots per row, so that rows of unequal length share decoding steps.

The token at position ``p`` of a row has slot ``p + 1``; slot 0 of each row takes the padding. New
tokens are written in place, without a concatenation per step. Query ``p`` attends to the slots
``1 .. p + 1``. Padding attends to slot 0 alone: no token attends to it, and no row of attention is
empty, which would give NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

#: Slots added at once when a row outgrows the cache.
CHUNK = 256


class SlotCache:
    """The ``past_key_values`` of a transformers model, for rows of unequal length.

    Keys and values are ``[rows, heads, slots, head_dim]`` per layer. It is not a subclass of
    transformers' ``Cache``, which would import torch with this module; models call :meth:`update`
    and the two size methods alone.
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

    def set_targets(self, batch: int, rows: slice | Tensor, slots: Tensor, span: int) -> None:
        """Set where the next forward pass writes and reads.

        Args:
            batch: number of rows in the cache.
            rows: the rows that are fed: a slice of neighbours, or indices ``[r]``, which cost a
                copy of their keys and values.
            slots: the slots of the new tokens, ``[r, q]``.
            span: number of slots that the pass attends to.
        """
        self._batch, self._rows, self._slots, self._span = batch, rows, slots, span

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Write new keys and values, ``[r, heads, q, head_dim]`` each.

        Returns:
            All keys and values of the rows up to the span, ``[r, heads, span, head_dim]`` each.
        """
        if layer_idx == len(self.keys):
            self.keys.append(self._empty(key_states))
            self.values.append(self._empty(value_states))
        return (
            self._put(self.keys, layer_idx, key_states),
            self._put(self.values, layer_idx, value_states),
        )

    def copy(self, source: int, target: int, count: int) -> None:
        """Copy the first ``count`` positions of row ``source`` to row ``target``."""
        if target >= self.keys[0].shape[0]:
            self._batch = target + 1
        for layers in (self.keys, self.values):
            for index in range(len(layers)):
                store = self._grown(layers, index)
                store[target, :, 1 : count + 1] = store[source, :, 1 : count + 1]

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
            past = store[self._rows, :, : self._span]
            row = torch.arange(len(past), device=new.device)
            past[row[:, None], :, self._slots] = new.transpose(1, 2)
            return past
        store[self._rows[:, None], :, self._slots] = new.transpose(1, 2)
        return store[:, :, : self._span].index_select(0, self._rows)
