"""A check, before any world opens, that batched decoding gives what the model computes by itself.

The batched decoder has its own cache and masks. Whether a model's code works with them is not taken
from a list of families: a few tokens are decoded both ways, and the log-probabilities must agree.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any
from weakref import WeakKeyDictionary

from sekft_engine.core.errors import SekftError, Unavailable
from sekft_engine.operators.decode import BatchedDecoder
from sekft_engine.operators.windows import shortened, windows_of

#: The length of windows during the check: so short that a few tokens show their effect, or so long
#: that they have none, where no episode reaches them.
WINDOW, LONG = 4, 64
#: Lengths of the prompts of a batch, and of their turns.
_PROMPTS, _TURN = (13, 6), 3
#: Most that log-probabilities may differ on average in float32 and in half precision, as a share of
#: the logits' standard deviation: sums are taken in another order. A wrong mask does far more.
_EXACT, _HALF = 1e-3, 0.15

_PASSED: WeakKeyDictionary[Any, set[bool]] = WeakKeyDictionary()


def refuse_what_cannot_be_decoded(
    model: Any,
    stop_ids: Sequence[int],
    *,
    context: int,
    kernels: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> None:
    """Check batched decoding of ``model``, once for each model.

    Args:
        model: a causal language model of transformers.
        stop_ids: ids that close a turn.
        context: most ids in one episode. Longer windows have no effect.
        kernels: makes the context in which the decoder's steps run.

    Raises:
        Unavailable: the model cannot be decoded in batches, or not with its windows; then the error
            says how long episodes may be.
    """
    windows = windows_of(model.config)
    windowed = windows.shortest is not None and windows.shortest < context
    if windowed in _PASSED.setdefault(model, set()):
        return
    with _without_dropout(model), shortened(model.config, WINDOW if windowed else LONG):
        difference = _difference(model, stop_ids, kernels)
    if difference <= _tolerance(model):
        _PASSED[model].add(windowed)
        return
    if windowed:
        raise Unavailable(
            "episodes longer than the window of this base cannot be decoded as it computes them "
            f"(its layers look back {windows.shortest} tokens)",
            where=str(getattr(model.config, "model_type", "this base")),
            mend=f"--context {windows.shortest} keeps episodes within it; or serve the base, and "
            "evaluate it with --endpoint",
        )
    raise _refused(
        model, f"its log-probabilities differ by {difference:.2g} from those of whole passes"
    )


def _difference(
    model: Any,
    stop_ids: Sequence[int],
    kernels: Callable[[], AbstractContextManager[None]],
) -> float:
    """The mean difference of log-probabilities between batched decoding and whole passes.

    It is a share of the logits' standard deviation.
    """
    import torch

    size = int(model.get_input_embeddings().weight.shape[0])
    history = {
        f"row{number}": [(37 * number + 101 * at * at + 7) % size for at in range(length)]
        for number, length in enumerate(_PROMPTS)
    }
    decoder = BatchedDecoder(model, stop_ids=stop_ids, kernels=kernels())
    differences: list[float] = []
    try:
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
    except (SekftError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a model's code may do anything with this cache
        raise _refused(model, f"{type(error).__name__}: {error}") from error
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


def _tolerance(model: Any) -> float:
    import torch

    exact = all(weight.dtype == torch.float32 for weight in model.parameters())
    return _EXACT if exact else _HALF


def _refused(model: Any, why: str) -> Unavailable:
    reason = " ".join(why.split())
    return Unavailable(
        f"this base cannot be decoded in batches here ({reason[:300]})",
        where=str(getattr(model.config, "model_type", "this base")),
        mend="serve the base, and evaluate it with --endpoint",
    )
