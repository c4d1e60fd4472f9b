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
from sekft_engine.model.kernels.mixed_lora import MixedLora

if TYPE_CHECKING:
    from torch import Generator, Tensor

#: The fault of a row whose adapter, or whose base, computes no numbers.
NOT_FINITE = "the model's logits are not finite"


class Acting(msgspec.Struct, frozen=True):
    """The adapter that a row computes with.

    Attributes:
        slot: PEFT's name of it; None = the bare base.
        digest: of its content. Rows of one digest may share keys and values, others never.
    """

    slot: str | None = None
    digest: str = ""


class Sampling(msgspec.Struct, frozen=True):
    """How the ids of a row are chosen.

    Attributes:
        temperature: 0 = greedy.
        top_p: draw from the likeliest ids that have this share together; 1 = from all.
        top: number of the likeliest ids that are reported for each chosen one; 0 = none.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top: int = 0


#: Below it a temperature is as good as greedy, and logits divided by it are infinite in float32.
_COLDEST = 1e-30
#: An id and its log-probability, of the likeliest ones first.
Top = tuple[tuple[int, float], ...]


class SampledTurn(msgspec.Struct, frozen=True):
    """One command turn as sampled.

    Attributes:
        ids: the ids without the stop id.
        logprobs: the log-probability of each id, the stop id included.
        stop: the stop id; None = the limit on ids ended the turn.
        top: the likeliest ids at each place, where :class:`Sampling` asks for them.
        fault: why the turn could not go on; empty = it is complete.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop: int | None
    top: tuple[Top, ...] = ()
    fault: str = ""


class Row:
    """One session that is decoded.

    Attributes:
        acting: the adapter that it computes with.
        sampling: how its ids are chosen.
        generator: draws its ids where they are sampled.
        pending: ids that have not gone through the model.
        room: most ids of its open turn; 0 = no turn is open.
        turn: the ids of its open turn.
        logprobs: their log-probabilities.
        top: the likeliest ids at each place, where they are wanted.
    """

    def __init__(self, acting: Acting, sampling: Sampling, seed: int) -> None:
        self.acting = acting
        self.sampling = sampling
        self.generator = _generator(seed) if sampling.temperature > 0 else None
        self.pending: list[int] = []
        self.room = 0
        self.turn: list[int] = []
        self.logprobs: list[float] = []
        self.top: list[Top] = []


R = TypeVar("R", bound=Row)


class Decoder(ABC, Generic[R]):
    """Decodes turns of any number of rows on one model.

    Args:
        model: a causal language model in ``eval`` mode.
        stop_ids: ids that close a command turn.
        temperature: 0 = greedy; else each row samples from its own seeded generator, so that
            the rows beside it do not change its draws. A row may have a :class:`Sampling` of its
            own.
        mixing: lets each row compute with an adapter of its own; None = all rows use the adapter
            that is active on the model.
        isolate: a row whose logits are not finite ends its own turn, with a fault; otherwise it
            raises :class:`JobFailed`.
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
        mixing: MixedLora | None = None,
        isolate: bool = False,
        cancelled: Callable[[], bool] = lambda: False,
        kernels: AbstractContextManager[None] | None = None,
    ) -> None:
        if not stop_ids:
            raise Unavailable("the tokenizer names no end-of-turn id", mend="use an instruct base")
        self._model = model
        self._stops = frozenset(stop_ids)
        self._sampling = Sampling(temperature)
        self._mixing = mixing
        self._isolate = isolate
        self._cancelled = cancelled
        self._kernels = kernels or contextlib.nullcontext()
        self._device = device_of(next(model.parameters()).device)
        self._rows: dict[str, R] = {}
        self.fed = 0  #: ids that went through the model, padding left out

    @abstractmethod
    def length(self, key: str) -> int:
        """The number of ids of row ``key`` so far, with those that are pending."""

    def add(
        self,
        key: str,
        seed: int = 0,
        *,
        acting: Acting | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        """Open an empty row.

        Args:
            seed: fixes its draws when sampling.
            acting: the adapter that it computes with; None = the bare base where rows are mixed,
                else the active adapter.
            sampling: how its ids are chosen; None = with the decoder's temperature.
        """
        if acting is not None and acting.slot is not None and self._mixing is None:
            raise ValueError("rows of several adapters need a decoder that mixes them")
        self._rows[key] = self._row(acting or Acting(), sampling or self._sampling, seed)

    @abstractmethod
    def _row(self, acting: Acting, sampling: Sampling, seed: int) -> R:
        """An empty row."""

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
        row.room, row.turn, row.logprobs, row.top = room, [], [], []

    def replace_last(self, key: str, token: int) -> None:
        """Replace the stop id that row ``key`` ends with; it has not been fed yet."""
        self._rows[key].pending[-1] = token

    def step(self) -> dict[str, SampledTurn]:
        """Decode one more id for each row with an open turn.

        The ids of a turn, its stop id included, belong to the row from then on.

        Returns:
            The turns that are complete with it, by row.
        """
        import torch

        with torch.inference_mode(), self._kernels, self._mixing or contextlib.nullcontext():
            keys = self._due()
            if not keys:
                return {}
            logits = self._logits(keys)
            return self._append(keys, torch.stack([logits[key] for key in keys]))

    def _due(self) -> list[str]:
        """The rows that get an id in this step."""
        return [key for key, row in self._rows.items() if row.room]

    def sampled(self, key: str, since: int = 0) -> SampledTurn:
        """The ids that the open turn of row ``key`` has by now, from the one numbered ``since``."""
        row = self._rows[key]
        return SampledTurn(
            tuple(row.turn[since:]), tuple(row.logprobs[since:]), None, tuple(row.top[since:])
        )

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
        tops = self._likeliest(keys, logits)
        for key, chosen in zip(keys, self._choose(keys, logits), strict=True):
            row = self._rows[key]
            if chosen is None:
                row.room = 0
                done[key] = msgspec.structs.replace(self.sampled(key), fault=NOT_FINITE)
                continue
            token, logprob = chosen
            row.pending.append(token)
            row.logprobs.append(logprob)
            if key in tops:
                row.top.append(tops[key])
            stop = token if token in self._stops else None
            if stop is None:
                row.turn.append(token)
            if stop is not None or len(row.turn) >= row.room:
                row.room = 0
                done[key] = SampledTurn(tuple(row.turn), tuple(row.logprobs), stop, tuple(row.top))
        return done

    def _check_cancelled(self) -> None:
        if self._cancelled():
            raise Interrupted("eval stopped", mend="run it again with --resume to go on")

    def _choose(self, keys: Sequence[str], logits: Tensor) -> list[tuple[int, float] | None]:
        """Choose an id for each row from its ``logits``, ``[rows, vocabulary]``.

        Returns:
            For each row the id and its log-probability at temperature 1; None where the logits are
            not finite.
        """
        import torch

        samplings = [self._rows[key].sampling for key in keys]
        if all(sampling.temperature <= 0 for sampling in samplings):
            picked = logits.argmax(-1)
        else:
            picked = self._device.upload(np.array(self._drawn(keys, logits)))
        own = logits.gather(-1, picked[:, None])[:, 0] - logits.logsumexp(-1)
        # One read, since each waits for the card. Ids are below 2^24, so float32 holds them.
        ids, logprobs, highest = torch.stack([picked.float(), own, logits.amax(-1)]).tolist()
        finite = list(map(math.isfinite, highest))
        if not self._isolate and not all(finite):
            raise JobFailed(NOT_FINITE, mend="train again with a lower learning rate")
        return [
            (int(token), logprob) if good and math.isfinite(logprob) else None
            for token, logprob, good in zip(ids, logprobs, finite, strict=True)
        ]

    def _drawn(self, keys: Sequence[str], logits: Tensor) -> list[int]:
        """An id for each row, drawn where its temperature says so; 0 if logits are not finite."""
        rows = [self._rows[key] for key in keys]
        drawn = [0] * len(rows)
        for temperature in {row.sampling.temperature for row in rows}:
            lines = [at for at, row in enumerate(rows) if row.sampling.temperature == temperature]
            some = logits
            if len(lines) < len(rows):
                some = logits.index_select(0, self._device.upload(np.array(lines)))
            if temperature < _COLDEST:
                picked = some.argmax(-1).tolist()
            else:
                shares = (some / temperature).softmax(-1).cpu()
                picked = [_draw(share, rows[at]) for at, share in zip(lines, shares, strict=True)]
            for at, token in zip(lines, picked, strict=True):
                drawn[at] = int(token)
        return drawn

    def _likeliest(self, keys: Sequence[str], logits: Tensor) -> dict[str, Top]:
        """The likeliest ids of the rows that want them."""
        wanting = {at: key for at, key in enumerate(keys) if self._rows[key].sampling.top}
        if not wanting:
            return {}
        some = logits.index_select(0, self._device.upload(np.array(list(wanting))))
        most = max(self._rows[key].sampling.top for key in wanting.values())
        return {
            key: top[: self._rows[key].sampling.top]
            for key, top in zip(wanting.values(), likeliest(some, most), strict=True)
        }


def likeliest(logits: Tensor, count: int) -> list[Top]:
    """The ``count`` likeliest ids of each row of ``logits``, ``[rows, vocabulary]``, likeliest
    first, with their log-probabilities."""
    best = (logits - logits.logsumexp(-1, keepdim=True)).topk(count, -1)
    return [
        tuple(zip(map(int, ids), values, strict=True))
        for ids, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def _generator(seed: int) -> Generator:
    import torch

    return torch.Generator().manual_seed(seed)


def _draw(share: Tensor, row: Row) -> int:
    """Draw an id of ``row`` by the probabilities ``share``, ``[vocabulary]``, on the CPU."""
    import torch

    if not math.isfinite(float(share[0])):  # one such logit makes all shares NaN
        return 0
    if row.sampling.top_p < 1:
        ordered, ids = share.sort(descending=True)
        # The first id always stays, however small the share is.
        ordered[1:][ordered.cumsum(0)[:-1] >= row.sampling.top_p] = 0
        return int(ids[torch.multinomial(ordered, 1, generator=row.generator)])
    return int(torch.multinomial(share, 1, generator=row.generator))
