"""Subjects on the resident base: adapters switched on one model, episodes as rows of a batch."""

from __future__ import annotations

from typing import Any

import msgspec

from sekft_engine.base import ResidentBase
from sekft_engine.context import Context
from sekft_engine.errors import BadInput
from sekft_engine.evaluate.decode import BatchedDecoder
from sekft_engine.evaluate.operator import ModelOperator
from sekft_engine.evaluate.prove import refuse_what_cannot_be_decoded
from sekft_engine.evaluate.subjects import Subject
from sekft_engine.jobs import Evaluate
from sekft_engine.quick_linear import QuickLinears
from sekft_engine.trajectory import Turn

#: Most ids in one episode where nobody says otherwise, however much the base could hold: sixteen of
#: them must fit in memory together. How many episodes it ended is told with their rates.
CONTEXT = 4096
#: Episodes decoded together.
ROWS_CPU, ROWS_CUDA = 16, 64


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """Most ids that an episode may hold, and whose limit that is."""

    limit: int
    by: str


class LocalOperators:
    """Makes the operator of each subject on ``base``.

    With ``job.exact`` one episode is decoded at a time, so that its every bit depends on nothing
    but itself; else the shapes of the batches move the last bits of the logits, and now and then
    a near tie between two ids.

    Raises:
        Unavailable: the base cannot be decoded here.
        BadInput: no episode fits into its context.
    """

    def __init__(self, job: Evaluate, context: Context, base: ResidentBase) -> None:
        self._job, self._context, self._base = job, context, base
        self._kernels = QuickLinears(base.model)
        self._limit = context_limit(base.model.config, job.context)
        self._stop_ids = sorted(base.tokenizer.end_of_turn_ids)
        _refuse_no_room(self._limit, job.turn_tokens, base)
        refuse_what_cannot_be_decoded(
            base.model,
            self._stop_ids,
            context=self._limit.limit,
            kernels=lambda: self._kernels,
        )

    def __call__(self, subject: Subject) -> tuple[ModelOperator, int]:
        base, job = self._base, self._job
        base.activate(subject.adapter)
        decoder = BatchedDecoder(
            base.model,
            stop_ids=self._stop_ids,
            temperature=job.temperature,
            cancelled=self._context.cancelled,
            kernels=self._kernels,
        )
        operator = ModelOperator(
            decoder,
            base.tokenizer,
            turn_tokens=job.turn_tokens,
            context=self._limit.limit,
        )
        if job.exact:
            return operator, 1
        return operator, ROWS_CUDA if base.device.type == "cuda" else ROWS_CPU

    def facts(self) -> dict[str, Any]:
        """What the eval's document says of how episodes were decoded."""
        return {"context": msgspec.to_builtins(self._limit)}


def context_limit(config: Any, asked: int = 0) -> Limit:
    """Most ids an episode may hold on a model with this configuration.

    Windows are no limit: layers that look back only so far are decoded as they do.

    Args:
        asked: what was asked for; 0 = :data:`CONTEXT`.
    """
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    own = getattr(text, "max_position_embeddings", None)
    wanted, by = (asked, "--context") if asked else (CONTEXT, "sekft")
    if own and int(own) < wanted:
        return Limit(limit=int(own), by="the base")
    return Limit(limit=wanted, by=by)


def _refuse_no_room(limit: Limit, turn_tokens: int, base: ResidentBase) -> None:
    """Raise where every episode would end before its first command."""
    least = len(base.tokenizer.encode_prompt([Turn(role="user", content="$")])) + turn_tokens
    if least > limit.limit:
        raise BadInput(
            f"no episode has room for a command: the limit of {limit.by} is {limit.limit} ids, and "
            f"a bare prompt with a command of {turn_tokens} takes {least}",
            where="--context" if limit.by == "--context" else "--turn-tokens",
            mend="ask for fewer --turn-tokens, or for more --context where the base can hold it",
        )
