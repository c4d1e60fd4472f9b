"""Subjects on the resident base: adapters switched on one model, episodes as rows of a batch."""

from __future__ import annotations

from typing import Any

from sekft_engine.base import ResidentBase
from sekft_engine.context import Context
from sekft_engine.evaluate.decode import BatchedDecoder
from sekft_engine.evaluate.operator import ModelOperator
from sekft_engine.evaluate.subjects import Subject
from sekft_engine.jobs import Evaluate
from sekft_engine.quick_linear import QuickLinears

#: Most ids in one episode, however much the base could hold: a session that prints this much has
#: lost its way, and sixteen of them must fit in memory together.
CONTEXT = 4096
#: Episodes decoded together.
ROWS_CPU, ROWS_CUDA = 16, 64


class LocalOperators:
    """Makes the operator of each subject on ``base``.

    With ``job.exact`` one episode is decoded at a time, so that its every bit depends on nothing
    but itself; else the shapes of the batches move the last bits of the logits, and now and then
    a near tie between two ids.
    """

    def __init__(self, job: Evaluate, context: Context, base: ResidentBase) -> None:
        self._job, self._context, self._base = job, context, base
        self._kernels = QuickLinears(base.model)

    def __call__(self, subject: Subject) -> tuple[ModelOperator, int]:
        base, job = self._base, self._job
        base.activate(subject.adapter)
        decoder = BatchedDecoder(
            base.model,
            stop_ids=sorted(base.tokenizer.end_of_turn_ids),
            temperature=job.temperature,
            cancelled=self._context.cancelled,
            kernels=self._kernels,
        )
        operator = ModelOperator(
            decoder,
            base.tokenizer,
            turn_tokens=job.turn_tokens,
            context=context_limit(base.model.config),
        )
        if job.exact:
            return operator, 1
        return operator, ROWS_CUDA if base.device.type == "cuda" else ROWS_CPU


def context_limit(config: Any) -> int:
    """Most ids an episode may hold on a model with this configuration.

    A sliding window is a limit too: within it, attention to everything is what the model does.
    """
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    bounds = (
        getattr(text, "max_position_embeddings", None),
        getattr(text, "sliding_window", None),
        CONTEXT,
    )
    return min(int(bound) for bound in bounds if bound)
