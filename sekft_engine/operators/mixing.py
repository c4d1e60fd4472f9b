"""Rows of several adapters in one batch: who acts, and the proof that each row gets its own.

As with the ways to decode (:mod:`sekft_engine.operators.parity`), nothing is taken from a list of
families or of adapter kinds. Before an adapter may share a batch, a few tokens are decoded beside
the bare base, and the log-probabilities must be those of passes in which PEFT alone acts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from sekft_engine.core.errors import JobFailed, Unavailable
from sekft_engine.model.kernels.mixed_lora import MixedLora
from sekft_engine.model.resident import ResidentBase
from sekft_engine.operators.decoder import NOT_FINITE, Acting, Decoder
from sekft_engine.operators.parity import tolerance

#: Lengths of the prompts of adapter and base, and of their turns.
_PROMPTS, _TURN = (11, 7), 3


def acting(base: ResidentBase, name: str | None) -> Acting:
    """The adapter ``name`` on ``base``, for a row; None = the bare base."""
    if name is None:
        return Acting()
    return Acting(slot=base.slot(name), digest=base.adapters[name])


def prove_mixing(
    base: ResidentBase,
    name: str,
    make: Callable[..., Decoder[Any]],
    stop_ids: Sequence[int],
    kernels: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Verify that adapter ``name`` gives its own rows of a mixed batch what it gives alone.

    Args:
        base: holds the adapter. The bare base is active on it afterwards.
        make: makes the decoder, see :func:`~sekft_engine.operators.parity.choose_decoding`.
        stop_ids: ids that close a turn.
        kernels: makes the context in which the decoder's steps run.

    Raises:
        JobFailed: the adapter computes no numbers.
        Unavailable: it cannot share a batch on this base.
    """
    size = int(base.model.get_input_embeddings().weight.shape[0])
    names = (name, None)
    decoder = make(
        base.model,
        stop_ids=stop_ids,
        kernels=kernels(),
        mixing=MixedLora(base.model),
        isolate=True,
    )
    feeds = {
        str(number): [(41 * number + 97 * at * at + 5) % size for at in range(length)]
        for number, length in enumerate(_PROMPTS)
    }
    for key, who in zip(feeds, names, strict=True):
        decoder.add(key, acting=acting(base, who))
    turns = decoder.turns(feeds, dict.fromkeys(feeds, _TURN))
    differences: list[float] = []
    for (key, ids), who in zip(feeds.items(), names, strict=True):
        turn = turns[key]
        if turn.fault:
            raise JobFailed(NOT_FINITE, where=who or "the bare base", mend="train it again")
        said = [*turn.ids, *([] if turn.stop is None else [turn.stop])]
        differences += _differences(base, who, ids, said, turn.logprobs)
    found = sum(differences) / len(differences)
    if found > tolerance(base.model):
        raise Unavailable(
            "in a batch with others it computes otherwise than alone (log-probabilities differ by "
            f"{found:.2g})",
            where=name,
            mend="evaluate it with sekft eval, where it acts by itself",
        )


def _differences(
    base: ResidentBase, who: str | None, ids: list[int], said: list[int], logprobs: Sequence[float]
) -> list[float]:
    """How far ``logprobs`` are from those of a whole pass in which PEFT lets ``who`` act alone, as
    shares of the logits' standard deviation."""
    import torch

    base.activate(who)
    try:
        with torch.inference_mode():
            logits = base.model(
                input_ids=torch.tensor([ids + said], device=base.device), use_cache=False
            ).logits[0]
    finally:
        base.activate(None)
    own = logits[len(ids) - 1 :][: len(said)].float().log_softmax(-1)
    spread = own.std(-1).clamp(min=1e-6)
    return [
        abs(float(own[at, token]) - logprobs[at]) / float(spread[at])
        for at, token in enumerate(said)
    ]
