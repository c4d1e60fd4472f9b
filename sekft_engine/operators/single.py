"""Decoding each session by itself, for models whose state the batched decoder cannot hold.

Recurrent and convolutional layers (Mamba, LFM2, Qwen3-Next, Granite 4) keep a state that sums up
all earlier tokens. It cannot be cut, copied in parts or continued by several tokens at once in
every model, so each turn begins with one pass over the whole session, and goes on from the model's
own cache id by id. A model without such a cache computes whole passes.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sekft_engine.operators.decoder import Acting, Decoder, Row, SampledTurn, Sampling

if TYPE_CHECKING:
    from torch import Tensor

#: Names of the caches that models of transformers take, and return under the same name.
_CACHES = ("past_key_values", "cache_params")


class SingleRow(Row):
    """A session.

    Attributes:
        ids: all that went through the model.
        cache: the model's, after them; None = none.
    """

    def __init__(self, acting: Acting, sampling: Sampling, seed: int) -> None:
        super().__init__(acting, sampling, seed)
        self.ids: list[int] = []
        self.cache: Any = None


class SingleDecoder(Decoder[SingleRow]):
    """Decodes turns of any number of rows on one model, each row in passes of its own.

    Args:
        model, options: as of :class:`Decoder`.
        cached: use the model's own cache within a turn; else each id takes a whole pass.
    """

    def __init__(self, model: Any, *, cached: bool = True, **options: Any) -> None:
        super().__init__(model, **options)
        known = inspect.signature(model.forward).parameters
        self._cache = next((name for name in _CACHES if name in known), "") if cached else ""
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in known else {}

    def length(self, key: str) -> int:
        row = self._rows.get(key)
        return len(row.ids) + len(row.pending) if row else 0

    def _row(self, acting: Acting, sampling: Sampling, seed: int) -> SingleRow:
        return SingleRow(acting, sampling, seed)

    def step(self) -> dict[str, SampledTurn]:
        done = super().step()
        for key in done:  # its world takes its time, and the next turn begins anew
            self._rows[key].cache = None
        return done

    def _logits(self, keys: Sequence[str]) -> Mapping[str, Tensor]:
        return {key: self._pass(self._rows[key]) for key in keys}

    def _pass(self, row: SingleRow) -> Tensor:
        """Feed the pending ids of ``row``; the logits after the last, ``[vocabulary]``."""
        self._check_cancelled()
        row.ids += row.pending
        new = row.pending if row.cache is not None else row.ids
        options: dict[str, Any] = {"use_cache": bool(self._cache)}
        if row.cache is not None:
            options[self._cache] = row.cache
        self.fed += len(new)
        if self._mixing is not None:
            self._mixing.set_rows([row.acting.slot])
        result = self._model(
            input_ids=self._device.upload(np.array([new])), **options, **self._last_only
        )
        row.pending = []
        row.cache = getattr(result, self._cache, None) if self._cache else None
        logits: Tensor = result.logits[0, -1].float()
        return logits
