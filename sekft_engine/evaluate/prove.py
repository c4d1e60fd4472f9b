"""Proof, before any world opens, that a base is decoded here as it computes by itself.

The batched decoder brings its own cache and masks. Whether a model takes them as they are meant is
not looked up in a list of families: a few tokens go through both ways, and the results must agree.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any
from weakref import WeakKeyDictionary

from sekft_engine.errors import SekftError, Unavailable
from sekft_engine.evaluate.decode import BatchedDecoder
from sekft_engine.evaluate.windows import shortened, windows_of

#: Windows are made as short as this for the proof, so that a few tokens show what they do; or so
#: long that they show nothing, where no episode reaches them.
WINDOW, LONG = 4, 64
#: Lengths of the prompts that go side by side, and of their turns.
_PROMPTS, _TURN = (13, 6), 3
#: Log-probabilities may differ by so much on the average, as a share of how far logits spread: by
#: the order of sums, and by what half precision makes of it. What a wrong mask does is far more.
_EXACT, _HALF = 1e-3, 0.15

_PROVEN: WeakKeyDictionary[Any, set[bool]] = WeakKeyDictionary()


def refuse_what_cannot_be_decoded(
    model: Any,
    stop_ids: Sequence[int],
    *,
    context: int,
    kernels: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> None:
    """Prove it once for each model.

    Args:
        context: most ids in one episode. Windows that are longer never show.
        kernels: makes the context in which the decoder's passes run.

    Raises:
        Unavailable: the model cannot be decoded in batches, or not with its windows; it says how
            long episodes may be then.
    """
    windows = windows_of(model.config)
    bite = windows.shortest is not None and windows.shortest < context
    if bite in _PROVEN.setdefault(model, set()):
        return
    with _at_rest(model), shortened(model.config, WINDOW if bite else LONG):
        apart = _apart(model, stop_ids, kernels)
    if apart <= _tolerance(model):
        _PROVEN[model].add(bite)
        return
    if bite:
        raise Unavailable(
            "episodes longer than the window of this base cannot be decoded as it computes them "
            f"(its layers look back {windows.shortest} tokens)",
            where=str(getattr(model.config, "model_type", "this base")),
            mend=f"--context {windows.shortest} keeps episodes within it; or serve the base, and "
            "evaluate it with --endpoint",
        )
    raise _refused(model, f"what it says differs by {apart:.2g} from what it says alone")


def _apart(
    model: Any,
    stop_ids: Sequence[int],
    kernels: Callable[[], AbstractContextManager[None]],
) -> float:
    """How far decoded log-probabilities are from those of whole passes, on the average, as a share
    of the standard deviation of the logits."""
    import torch

    size = int(model.get_input_embeddings().weight.shape[0])
    history = {
        f"row{number}": [(37 * number + 101 * at * at + 7) % size for at in range(length)]
        for number, length in enumerate(_PROMPTS)
    }
    decoder = BatchedDecoder(model, stop_ids=stop_ids, kernels=kernels())
    difference: list[float] = []
    try:
        for key in history:
            decoder.add(key)
        feeds = {key: list(ids) for key, ids in history.items()}
        for turn in range(2):
            for key, said in decoder.turns(feeds, dict.fromkeys(feeds, _TURN)).items():
                ids = [*said.ids, *([] if said.stop is None else [said.stop])]
                with torch.inference_mode():
                    whole = model(
                        input_ids=torch.tensor([history[key] + ids], device=model.device),
                        use_cache=False,
                    ).logits[0]
                start = len(history[key]) - 1
                own = whole[start : start + len(ids)].float().log_softmax(-1)
                spread = own.std(-1).clamp(min=1e-6)
                difference += [
                    abs(float(own[at, token]) - said.logprobs[at]) / float(spread[at])
                    for at, token in enumerate(ids)
                ]
                history[key] += ids
            feeds = {key: [(turn + 11 * at + 3) % size for at in range(4)] for key in history}
            for key, more in feeds.items():
                history[key] += more
    except (SekftError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever a model's code makes of our cache
        raise _refused(model, f"{type(error).__name__}: {error}") from error
    return sum(difference) / len(difference)


@contextlib.contextmanager
def _at_rest(model: Any) -> Iterator[None]:
    """No dropout while this is entered, whatever the model is in the middle of."""
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
    said = " ".join(why.split())
    return Unavailable(
        f"this base cannot be decoded in batches here ({said[:300]})",
        where=str(getattr(model.config, "model_type", "this base")),
        mend="serve the base, and evaluate it with --endpoint",
    )
