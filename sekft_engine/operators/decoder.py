"""What every way to decode a model's turns has in common: rows, turns, and the choice of ids."""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
import numpy as np

from sekft_engine.core.errors import Interrupted, JobFailed, Unavailable
from sekft_engine.model.device import device_of

if TYPE_CHECKING:
    from torch import Generator, Tensor


class SampledTurn(msgspec.Struct, frozen=True):
    """One command turn as sampled.

    Attributes:
        ids: the ids without the stop id.
        logprobs: the log-probability of each id, the stop id included.
        stop: the stop id; None = the limit on ids ended the turn.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop: int | None


class Row:
    """One session that is decoded.

    Attributes:
        generator: draws its ids where they are sampled.
        pending: ids that have not gone through the model.
        room: most ids of its open turn; 0 = no turn is open.
        turn: the ids of its open turn.
        logprobs: their log-probabilities.
    """

    def __init__(self, generator: Generator | None) -> None:
        self.generator = generator
        self.pending: list[int] = []
        self.room = 0
        self.turn: list[int] = []
        self.logprobs: list[float] = []


R = TypeVar("R", bound=Row)


class Decoder(ABC, Generic[R]):
    """Decodes turns of any number of rows on one model.

    Args:
        model: a causal language model in ``eval`` mode; its active adapter is used as it stands.
        stop_ids: ids that close a command turn.
        temperature: 0 = greedy; else each row samples from its own seeded generator, so that
            the rows beside it do not change its draws.
        cancelled: asked before each pass; true raises :class:`Interrupted`.
        kernels: a context that each step runs in, see
            :mod:`sekft_engine.model.kernels.packed_linear`.
    """

    def __init__(
        self,
        model: Any,
        *,
        stop_ids: Sequence[int],
        temperature: float = 0.0,
        cancelled: Callable[[], bool] = lambda: False,
        kernels: AbstractContextManager[None] | None = None,
    ) -> None:
        if not stop_ids:
            raise Unavailable("the tokenizer names no end-of-turn id", mend="use an instruct base")
        self._model = model
        self._stops = frozenset(stop_ids)
        self._temperature = temperature
        self._cancelled = cancelled
        self._kernels = kernels or contextlib.nullcontext()
        self._device = device_of(next(model.parameters()).device)
        self._rows: dict[str, R] = {}
        self.fed = 0  #: ids that went through the model, padding left out

    @abstractmethod
    def length(self, key: str) -> int:
        """The number of ids of row ``key`` so far, with those that are pending."""

    @abstractmethod
    def add(self, key: str, seed: int = 0) -> None:
        """Open an empty row; ``seed`` fixes its draws when sampling."""

    def drop(self, keys: Sequence[str]) -> None:
        """Remove rows."""
        for key in keys:
            self._rows.pop(key, None)

    def feed(self, key: str, ids: Sequence[int], room: int) -> None:
        """Open a command turn of row ``key``.

        Args:
            ids: the ids that follow those of the row; never empty.
            room: most ids of the turn, stop id included.
        """
        row = self._rows[key]
        row.pending.extend(ids)
        row.room, row.turn, row.logprobs = room, [], []

    def replace_last(self, key: str, token: int) -> None:
        """Replace the stop id that row ``key`` ends with; it has not been fed yet."""
        self._rows[key].pending[-1] = token

    def written(self, key: str) -> tuple[int, ...]:
        """The ids of row ``key``'s open turn so far."""
        row = self._rows.get(key)
        return tuple(row.turn) if row is not None and row.room else ()

    def step(self) -> dict[str, SampledTurn]:
        """Decode one more id for each row with an open turn.

        The ids of a turn, its stop id included, belong to the row from then on.

        Returns:
            The turns that are complete with it, by row.
        """
        import torch

        with torch.inference_mode(), self._kernels:
            keys = [key for key, row in self._rows.items() if row.room]
            if not keys:
                return {}
            logits = self._logits(keys)
            return self._append(keys, torch.stack([logits[key] for key in keys]))

    @abstractmethod
    def _logits(self, keys: Sequence[str]) -> Mapping[str, Tensor]:
        """Feed the pending ids of these rows; the logits after each, ``[vocabulary]``."""

    def turns(
        self, feeds: Mapping[str, Sequence[int]], room: Mapping[str, int]
    ) -> dict[str, SampledTurn]:
        """Feed these rows and decode until each has its turn."""
        for key, ids in feeds.items():
            self.feed(key, ids, room[key])
        done: dict[str, SampledTurn] = {}
        while not feeds.keys() <= done.keys():
            done |= self.step()
        return {key: done[key] for key in feeds}

    def _append(self, keys: Sequence[str], logits: Tensor) -> dict[str, SampledTurn]:
        """Choose and append the next id of each row; returns the turns that it completes."""
        done: dict[str, SampledTurn] = {}
        for key, (token, logprob) in zip(keys, self._choose(keys, logits), strict=True):
            row = self._rows[key]
            row.pending.append(token)
            row.logprobs.append(logprob)
            stop = token if token in self._stops else None
            if stop is None:
                row.turn.append(token)
            if stop is not None or len(row.turn) >= row.room:
                row.room = 0
                done[key] = SampledTurn(tuple(row.turn), tuple(row.logprobs), stop)
        return done

    def _generator(self, seed: int) -> Generator | None:
        import torch

        return torch.Generator().manual_seed(seed) if self._temperature > 0 else None

    def _check_cancelled(self) -> None:
        if self._cancelled():
            raise Interrupted("eval stopped", mend="run it again with --resume to go on")

    def _choose(self, keys: Sequence[str], logits: Tensor) -> list[tuple[int, float]]:
        """Choose an id for each row from its ``logits``, ``[rows, vocabulary]``.

        Returns:
            For each row the id and its log-probability at temperature 1.
        """
        import torch

        if self._temperature <= 0:
            picked = logits.argmax(-1)
        else:
            shares = (logits / self._temperature).softmax(-1).cpu()
            _refuse_not_finite(shares[:, 0].tolist())  # one such logit makes all shares NaN
            drawn = [
                int(torch.multinomial(share, 1, generator=self._rows[key].generator))
                for key, share in zip(keys, shares, strict=True)
            ]
            picked = self._device.upload(np.array(drawn))
        own = logits.gather(-1, picked[:, None])[:, 0] - logits.logsumexp(-1)
        # One read, since each waits for the card. Ids are below 2^24, so float32 holds them.
        ids, logprobs, highest = torch.stack([picked.float(), own, logits.amax(-1)]).tolist()
        _refuse_not_finite(highest)
        return [(int(token), logprob) for token, logprob in zip(ids, logprobs, strict=True)]


def _refuse_not_finite(values: Sequence[float]) -> None:
    if not all(map(math.isfinite, values)):
        raise JobFailed(
            "the model's logits are not finite", mend="train again with a lower learning rate"
        )
