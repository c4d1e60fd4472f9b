"""Operators on the resident base: adapters are switched on one model, episodes are batch rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sekft_engine.core.errors import BadInput, BaseChanged, Interrupted
from sekft_engine.data.trajectory import Turn
from sekft_engine.model.device import device_of
from sekft_engine.model.kernels.mixed_lora import MixedLora
from sekft_engine.model.kernels.packed_linear import PackedLinears
from sekft_engine.model.resident import ResidentBase
from sekft_engine.operators.decode import BatchedDecoder
from sekft_engine.operators.mixing import acting, prove_mixing
from sekft_engine.operators.operator import ModelOperator
from sekft_engine.operators.parity import choose_decoding
from sekft_engine.operators.subjects import Subject
from sekft_engine.records.evals import ContextLimit
from sekft_engine.records.jobs import Evaluate
from sekft_engine.render.template.prompt import encode_prompt
from sekft_engine.work.context import Context

#: Most ids in one episode by default, however long the base's context is: sixteen episodes must fit
#: in memory together. The report says how many episodes this limit ended.
CONTEXT = 4096


class LocalOperators:
    """Makes the operator of each subject on ``base``.

    Called with a subject it returns the operator and the most episodes at a time. With
    ``job.exact`` that is one: the shapes of batches change the last bits of logits, and so may
    decide between two ids of nearly the same probability.

    Args:
        job: the eval.
        context: of the job.
        base: the resident base.
        activate: lets a subject act on it; None = its adapter is attached.

    Raises:
        Unavailable: the base cannot be decoded here.
        BadInput: no episode fits into its context.
    """

    def __init__(
        self,
        job: Evaluate,
        context: Context,
        base: ResidentBase,
        activate: Callable[[Subject], None] | None = None,
    ) -> None:
        self._job, self._context, self._base = job, context, base
        self._activate = activate or (lambda subject: base.activate(subject.adapter))
        self._kernels = PackedLinears(base.model)
        self._proven: dict[str, bool] = {}
        self._limit = context_limit(base.model.config, job.context)
        self._stop_ids = sorted(base.tokenizer.end_of_turn_ids)
        _refuse_no_room(self._limit, job.turn_tokens, base)
        # Once for each base; on a busy machine it takes longer than loading.
        context.progress("checking the decoding", 0, detail="against whole passes of the base")
        self._decoding = choose_decoding(
            base.model,
            self._stop_ids,
            context=self._limit.limit,
            kernels=lambda: self._kernels,
        )
        if self._decoding.note:
            context.log(self._decoding.note, "warning")

    def __call__(self, subject: Subject) -> tuple[ModelOperator, int]:
        base, job = self._base, self._job
        self._activate(subject)
        decoder = self._decoding.make(
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
        return operator, device_of(base.device).rows

    def together(
        self, subjects: Sequence[Subject], subject_of: Callable[[str], Subject]
    ) -> tuple[ModelOperator, int] | None:
        """One operator for the episodes of several subjects, which share decoding steps. Their
        adapters are all on the base.

        Each of them is shown first to get in a mixed batch what it gets alone.

        Args:
            subjects: who act.
            subject_of: who acts in an episode.

        Returns:
            The operator and the most episodes at a time; None = one of them has to act alone.
        """
        base, job = self._base, self._job
        if job.exact or base.sharded or self._decoding.make is not BatchedDecoder:
            return None
        if not all(self._shares(subject) for subject in subjects):
            return None
        who = {subject.name: acting(base, subject.adapter) for subject in subjects}
        decoder = self._decoding.make(
            base.model,
            stop_ids=self._stop_ids,
            temperature=job.temperature,
            cancelled=self._context.cancelled,
            kernels=self._kernels,
            mixing=MixedLora(base.model),
        )
        operator = ModelOperator(
            decoder,
            base.tokenizer,
            turn_tokens=job.turn_tokens,
            context=self._limit.limit,
            acting=lambda key: who[subject_of(key).name],
        )
        return operator, device_of(base.device).rows

    def _shares(self, subject: Subject) -> bool:
        """Whether the adapter of ``subject`` gets in a mixed batch what it gets alone."""
        if subject.adapter is None:
            return True
        if subject.name not in self._proven:
            make = self._decoding.make
            alone = f"{subject.name}: in a batch with others it has to get what it gets alone"
            self._context.progress("checking the decoding", 0, detail=alone)
            try:
                prove_mixing(
                    self._base, subject.adapter, make, self._stop_ids, lambda: self._kernels
                )
            except (BaseChanged, Interrupted):
                raise
            except Exception:  # noqa: BLE001 - whatever PEFT does with it, it can act alone
                self._proven[subject.name] = False
            else:
                self._proven[subject.name] = True
        return self._proven[subject.name]

    @property
    def context_limit(self) -> ContextLimit:
        """How many ids an episode may hold, for the eval's document."""
        return self._limit


def context_limit(config: Any, asked: int = 0) -> ContextLimit:
    """The limit on an episode's ids on a model with this transformers configuration.

    Attention windows are no limit: such layers are decoded with their windows.

    Args:
        config: of the model.
        asked: what was asked for; 0 = :data:`CONTEXT`.
    """
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    own = getattr(text, "max_position_embeddings", None)
    wanted, by = (asked, "--context") if asked else (CONTEXT, "sekft")
    if own and int(own) < wanted:
        return ContextLimit(limit=int(own), by="the base")
    return ContextLimit(limit=wanted, by=by)


def _refuse_no_room(limit: ContextLimit, turn_tokens: int, base: ResidentBase) -> None:
    """Raise BadInput where every episode would end before its first command."""
    least = len(encode_prompt(base.tokenizer, [Turn(role="user", content="$")])) + turn_tokens
    if least > limit.limit:
        raise BadInput(
            f"no episode has room for a command: the limit of {limit.by} is {limit.limit} ids, and "
            f"a bare prompt with a command of {turn_tokens} takes {least}",
            where="--context" if limit.by == "--context" else "--turn-tokens",
            mend="ask for fewer --turn-tokens, or for more --context where the base can hold it",
        )
