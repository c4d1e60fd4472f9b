"""The way to decode a model, chosen by a proof before any world opens.

The batched decoder has its own cache and masks, and the other ways rest on the model's own cache.
Whether a model's code works with them is not taken from a list of families: a few tokens are
decoded in each way, and the log-probabilities must be those of whole passes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from sekft_engine.core.errors import SekftError, Unavailable
from sekft_engine.operators.decode import BatchedDecoder
from sekft_engine.operators.decoder import Decoder
from sekft_engine.operators.single import SingleDecoder
from sekft_engine.operators.windows import shortened, windows_of

#: The length of windows during the check: so short that a few tokens show their effect, or so long
#: that they have none, where no episode reaches them.
WINDOW, LONG = 4, 64
#: Lengths of the prompts of a batch, and of their turns.
_PROMPTS, _TURN = (13, 6), 3
#: Most that log-probabilities may differ on average in float32 and in half precision, as a share of
#: the logits' standard deviation: sums are taken in another order. A wrong mask does far more.
_EXACT, _HALF = 1e-3, 0.15

#: Makes a decoder of a model, with the options of :class:`Decoder`.
MakeDecoder = Callable[..., Decoder[Any]]


class Decoding(msgspec.Struct, frozen=True):
    """How a model is decoded.

    Attributes:
        make: makes the decoder.
        why: why it is not decoded in batches; empty = it is.
    """

    make: MakeDecoder
    why: str = ""

    @property
    def note(self) -> str:
        """A line for the log where a slower way was chosen; else empty."""
        return f"episodes are decoded one by one, more slowly: {self.why}" if self.why else ""


#: Ways to decode in order of preference.
_WAYS: tuple[MakeDecoder, ...] = (
    BatchedDecoder,
    SingleDecoder,
    partial(SingleDecoder, cached=False),
)
_CHOSEN: WeakKeyDictionary[Any, dict[bool, Decoding]] = WeakKeyDictionary()


def choose_decoding(
    model: Any,
    stop_ids: Sequence[int],
    *,
    context: int,
    kernels: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> Decoding:
    """The fastest way to decode ``model`` that gives what it computes; proven once for each model.

    Args:
        model: a causal language model of transformers.
        stop_ids: ids that close a turn.
        context: most ids in one episode. Longer windows have no effect.
        kernels: makes the context in which the decoder's steps run.

    Raises:
        Unavailable: no way gives what whole passes do, or the base names no end of a turn.
    """
    windowed = _is_windowed(model, context)
    known = _CHOSEN.setdefault(model, {})
    if windowed not in known:
        known[windowed] = _first_that_agrees(model, stop_ids, kernels, windowed)
    return known[windowed]


def _is_windowed(model: Any, context: int) -> bool:
    """Whether episodes outgrow a window of the model."""
    try:
        shortest = windows_of(model.config).shortest
    except Unavailable:
        return False
    return shortest is not None and shortest < context


def _first_that_agrees(
    model: Any,
    stop_ids: Sequence[int],
    kernels: Callable[[], AbstractContextManager[None]],
    windowed: bool,
) -> Decoding:
    faults: list[str] = []
    for make in _WAYS:
        try:
            with _without_dropout(model), shortened(model.config, WINDOW if windowed else LONG):
                difference = _difference(make, model, stop_ids, kernels)
        except _Unfit as fault:
            faults.append(str(fault))
            continue
        if difference <= tolerance(model):
            return Decoding(make, faults[0] if faults else "")
        faults.append(f"log-probabilities differ by {difference:.2g} from those of whole passes")
    raise Unavailable(
        f"this base cannot be decoded here ({faults[-1]})",
        where=str(getattr(model.config, "model_type", "this base")),
        mend="serve the base, and evaluate it with --endpoint",
    )


class _Unfit(Exception):
    """A way to decode does not work with a model's code; says why."""


def _difference(
    make: MakeDecoder,
    model: Any,
    stop_ids: Sequence[int],
    kernels: Callable[[], AbstractContextManager[None]],
) -> float:
    """The mean difference of log-probabilities between one way to decode and whole passes.

    It is a share of the logits' standard deviation.

    Raises:
        _Unfit: the decoder does not work with this model.
    """
    import torch

    if not stop_ids:
        raise Unavailable("the tokenizer names no end-of-turn id", mend="use an instruct base")

    size = int(model.get_input_embeddings().weight.shape[0])
    history = {
        f"row{number}": [(37 * number + 101 * at * at + 7) % size for at in range(length)]
        for number, length in enumerate(_PROMPTS)
    }
    differences: list[float] = []
    try:
        decoder = make(model, stop_ids=stop_ids, kernels=kernels())
        for key in history:
            decoder.add(key)
        feeds = {key: list(ids) for key, ids in history.items()}
        for turn in range(2):
            for key, sampled in decoder.turns(feeds, dict.fromkeys(feeds, _TURN)).items():
                ids = [*sampled.ids, *([] if sampled.stop is None else [sampled.stop])]
                with torch.inference_mode():
                    whole = model(
                        input_ids=torch.tensor([history[key] + ids], device=model.device),
                        use_cache=False,
                    ).logits[0]
                start = len(history[key]) - 1
                own = whole[start : start + len(ids)].float().log_softmax(-1)
                spread = own.std(-1).clamp(min=1e-6)
                differences += [
                    abs(float(own[at, token]) - sampled.logprobs[at]) / float(spread[at])
                    for at, token in enumerate(ids)
                ]
                history[key] += ids
            feeds = {key: [(turn + 11 * at + 3) % size for at in range(4)] for key in history}
            for key, more in feeds.items():
                history[key] += more
    except Unavailable as error:
        raise _Unfit(error.what) from error
    except (SekftError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a model's code may do anything with this cache
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise _Unfit(reason[:300]) from error
    return sum(differences) / len(differences)


@contextlib.contextmanager
def _without_dropout(model: Any) -> Iterator[None]:
    """A context without dropout, whichever modules are in training mode."""
    busy = [module for module in model.modules() if module.training]
    for module in busy:
        module.training = False
    try:
        yield
    finally:
        for module in busy:
            module.training = True


def tolerance(model: Any) -> float:
    """Most that log-probabilities may differ on average on ``model``."""
    import torch

    exact = all(weight.dtype == torch.float32 for weight in model.parameters())
    return _EXACT if exact else _HALF
