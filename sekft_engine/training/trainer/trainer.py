"""The training loop: backward, clip, step; :meth:`Trainer.steps` is where to begin reading."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from sekft_engine.core.errors import Unavailable
from sekft_engine.core.machine import trim_memory
from sekft_engine.data.recipe import Recipe
from sekft_engine.model.device import (
    device_of,
    out_of_memory,
    random_state,
    release_memory,
    set_random_state,
)
from sekft_engine.model.kernels.compiled import compiling_failed
from sekft_engine.model.kernels.layers import decoder_layers
from sekft_engine.model.resident import ResidentBase
from sekft_engine.training.trainer.accumulate import (
    GradientAccumulator,
    PassLosses,
    read_losses,
)
from sekft_engine.training.trainer.batches import learning_rate, plan_steps, split_rows
from sekft_engine.training.trainer.data import Data, TrainRow
from sekft_engine.training.trainer.good_weights import GoodWeights
from sekft_engine.training.trainer.loss import trained_token_logits
from sekft_engine.training.trainer.ranks import ALONE, Ranks
from sekft_engine.training.trainer.state import refuse_other_shapes, restore_state, state_of
from sekft_engine.training.trainer.step import Abandoned, Diverged, Step, diverged

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

#: Told how many of how many are done.
Report = Callable[[int, int], None]

#: Steps between two times that freed memory is given back to the system: each costs it as much as
#: filling that memory again.
_TRIM_EVERY = 16


class Trainer:
    """Trains adapter ``name`` of ``base`` on ``data``, step by step.

    Args:
        leave: called between forward passes; True abandons the step.
        ranks: the processes that train together; each computes its share of every step.
        rate: gives the learning rate from the step (from 1), the number of steps and the recipe.

    Attributes:
        plan: the rows of each step.
        done: how many steps have been done.
        weights: the adapter's weights.
        optimizer: of these weights.
        micro_batch: how many rows share a forward pass; halved when memory runs out.
    """

    def __init__(
        self,
        base: ResidentBase,
        name: str,
        data: Data,
        recipe: Recipe,
        leave: Callable[[], bool] = lambda: False,
        ranks: Ranks = ALONE,
        rate: Callable[[int, int, Recipe], float] = learning_rate,
    ) -> None:
        import torch

        self.base = base
        self.name = name
        self.data = data
        self.recipe = recipe
        self.plan = plan_steps(len(data.train), recipe)
        self.done = 0
        self.micro_batch = recipe.micro_batch
        self.ranks = ranks
        self._leave = leave
        self._rate = rate
        self.weights = base.trainable(name)
        ranks.broadcast_weights(self.weights)
        self.optimizer: Optimizer = torch.optim.AdamW(
            self.weights, lr=recipe.lr, weight_decay=recipe.weight_decay, betas=(0.9, 0.999)
        )
        self._logits = trained_token_logits(base.model)
        self._logits.recompute = recipe.recompute == "always"
        can_compile = device_of(base.device).can_compile
        self._logits.compiles = recipe.compile == "always" and can_compile
        self.accumulator = GradientAccumulator(
            self._logits, self.weights, base.device, sharded=ranks.sharded
        )
        self._good = GoodWeights(self.weights)
        torch.manual_seed(recipe.seed + 1)
        self._random = random_state(self.base.device)  # as it was after the last completed step

    # --- the loop -----------------------------------------------------------------------------

    def steps(self) -> Iterator[Step]:
        """Do one optimiser step per item, until the plan is done.

        Raises:
            Diverged: a loss or a gradient is not finite; the last good weights are restored.
            Abandoned: the caller asked to stop; no weight has changed in this step.
            Unavailable: there is too little memory.
        """
        for step, batch in enumerate(self.plan[self.done :], self.done + 1):
            started = time.monotonic()
            rows = [self.data.train[number] for number in batch]
            lr = self._rate(step, len(self.plan), self.recipe)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.ranks.announce("step")
            self.ranks.seed(self.recipe.seed, step)
            try:
                loss = self.backward(step, rows)
                grad_norm = self._clip(step, rows)
            except Diverged:  # here or in another process
                self._restore_good()
                raise
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.base.touched(self.name)
            self.done = step
            self._random = random_state(self.base.device)
            if step % _TRIM_EVERY == 0:
                trim_memory()
            yield Step(
                step=step,
                loss=loss,
                lr=lr,
                grad_norm=grad_norm,
                trained_tokens=sum(row.trained for row in rows),
                tokens=sum(len(row) for row in rows),
                seconds=time.monotonic() - started,
            )

    def backward(self, step: int, rows: Sequence[TrainRow]) -> float:
        """Compute the gradients of the mean loss over all trained tokens of ``rows``.

        Returns:
            that loss, in nats.
        """
        trained = sum(row.trained for row in rows)
        with self.ranks.together():
            loss_share = self._backward_share(step, self.ranks.share(rows), trained)
        self.ranks.sum_gradients(self.weights)
        (loss_sum,) = self.ranks.sum(loss_share)
        self._good.store(step - 1)
        return loss_sum / trained

    def _backward_share(self, step: int, rows: Sequence[TrainRow], trained: int) -> float:
        """Compute this process's share of the gradients and of the summed loss.

        If memory runs out, it is computed again in a way that needs less; the sums are the same.
        """
        random = random_state(self.base.device)
        while True:
            set_random_state(random, self.base.device)
            try:
                return self._accumulate(step, rows, trained)
            except Abandoned:
                self.optimizer.zero_grad(set_to_none=True)
                raise
            except (RuntimeError, MemoryError) as error:
                if self.compiles and compiling_failed(error):
                    self._logits.compiles = False
                elif not out_of_memory(error):
                    raise
                # Sharded processes make the same passes, so one cannot repeat its own.
                elif self.ranks.sharded or not self._save_memory():
                    raise self._too_little_memory(step, rows) from error
            self.optimizer.zero_grad(set_to_none=True)
            release_memory()

    def _accumulate(self, step: int, rows: Sequence[TrainRow], trained: int) -> float:
        """Accumulate the gradients of the summed loss divided by ``trained``; returns the sum."""
        passes: list[PassLosses] = []
        micro_batches = split_rows(rows, self.micro_batch)
        extra = self.ranks.extra_passes(len(micro_batches))
        for micro_batch in micro_batches:
            # Sharded processes make the same passes, so none may leave before the others.
            if self._leave() and not self.ranks.sharded:
                raise Abandoned
            passes += self.accumulator.backward(micro_batch, trained)
        for _ in range(extra):
            self.accumulator.join(self.data.train[0])
        loss_sum, not_finite = read_losses(passes)
        if not_finite:
            raise diverged(step, "the loss", not_finite, self.good_step)
        return loss_sum

    def _clip(self, step: int, rows: Sequence[TrainRow]) -> float:
        """Clip the gradients; returns their norm before clipping."""
        import torch

        limit = self.recipe.clip or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(self.weights, limit))
        if not math.isfinite(norm):
            ids = [row.id for row in rows]
            raise diverged(step, "the gradient", ids, self.good_step)
        return norm

    # --- memory -------------------------------------------------------------------------------

    @property
    def recompute(self) -> bool:
        """Whether activations are recomputed instead of stored; the sums are the same."""
        return self._logits.recompute

    @recompute.setter
    def recompute(self, wanted: bool) -> None:
        self._logits.recompute = wanted

    @property
    def compiles(self) -> bool:
        """Whether decoder layers are compiled; False once compiling has failed."""
        return self._logits.compiles

    def _save_memory(self) -> bool:
        """Halve the micro-batch, or recompute activations if the recipe allows it.

        Returns:
            False if neither is possible.
        """
        if self.micro_batch > 1:
            self.micro_batch //= 2
            return True
        allowed = self.recipe.recompute == "auto" and bool(decoder_layers(self.base.model))
        if self.recompute or not allowed:
            return False
        self.recompute = True
        return True

    def _too_little_memory(self, step: int, rows: Sequence[TrainRow]) -> Unavailable:
        longest = max(rows, key=len)
        return Unavailable(
            f"memory does not suffice for step {step}, trajectory {longest.id} of {len(longest)} "
            "tokens among them",
            mend="a smaller --max-length, --micro-batch 1, --recompute always, or --load-4bit",
        )

    # --- weights that give finite losses ------------------------------------------------------

    @property
    def good_step(self) -> int:
        """The last step whose weights are known to give finite losses (the good weights)."""
        return self._good.step

    def confirm(self, *, accept: bool = True) -> None:
        """Check that the weights of the last step give a finite loss, before they are saved.

        The loss is that of the step's shortest row. It is not computed for weights known to be
        good.

        Args:
            accept: take them for good; else that is left to a measurement that follows.

        Raises:
            Diverged: it is not finite; the last good weights are restored.
        """
        if self.good_step == self.done:
            return
        self.ranks.announce("confirm", accept)
        row = min((self.data.train[number] for number in self.plan[self.done - 1]), key=len)
        loss, _ = self.mean_loss([row], may_leave=False)
        self.judge("the loss after it", loss, [row], accept=accept)

    def judge(
        self, what: str, loss: float, rows: Sequence[TrainRow], *, accept: bool = True
    ) -> None:
        """Accept the weights of the last step as good if the mean ``loss`` of ``rows`` is finite.

        Args:
            what: names the loss in the error.
            accept: False = only refuse them.

        Raises:
            Diverged: it is not finite; the last good weights are restored.
        """
        if math.isfinite(loss):
            if accept:
                self._good.store(self.done)
            return
        ids: list[str] = []
        if self.ranks.size == 1:
            ids = [row.id for row in rows if not math.isfinite(self.mean_loss([row])[0])]
        self._restore_good()
        raise diverged(self.done, what, ids, self.good_step)

    def _restore_good(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self._good.restore()
        self.base.touched(self.name)

    # --- losses without training --------------------------------------------------------------

    def heldout_loss(self, report: Report | None = None) -> tuple[float, int]:
        """The mean loss in nats over the trained tokens of the held-out rows, and their number.

        Args:
            report: told how many of how many rows are measured, before each forward pass.
        """
        self.ranks.announce("heldout")
        return self.mean_loss(self.data.heldout, report=report)

    def mean_loss(
        self, rows: Sequence[TrainRow], *, may_leave: bool = True, report: Report | None = None
    ) -> tuple[float, int]:
        """The mean loss without dropout over the trained tokens of ``rows``.

        Args:
            may_leave: whether the caller may abandon it.
            report: told how many of how many rows are measured, before each forward pass.

        Returns:
            the loss in nats, and the number of trained tokens.
        """
        import torch

        model = self.base.model
        model.eval()
        loss_sum, tokens = 0.0, 0
        measured, share = 0, self.ranks.share(rows)
        micro_batches = split_rows(share, self.micro_batch)
        extra = self.ranks.extra_passes(len(micro_batches))
        try:
            with torch.no_grad(), self.ranks.together():
                for micro_batch in micro_batches:
                    if self._leave() and may_leave and not self.ranks.sharded:
                        raise Abandoned
                    if report is not None:
                        report(measured, len(share))
                    part, counted = self.accumulator.losses(micro_batch)
                    loss_sum, tokens = loss_sum + part, tokens + counted
                    measured += len(micro_batch)
                for _ in range(extra):
                    self.accumulator.join(self.data.train[0])
        finally:
            model.train()
        total, count = self.ranks.sum(loss_sum, tokens)
        return total / max(1, count), int(count)

    # --- checkpoints, pauses and the end ------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """The state that later steps depend on, as it was after the last completed step."""
        return state_of(self.weights, self.optimizer, self._random)

    def restore(
        self, tensors: dict[str, Tensor], step: int, micro_batch: int, recompute: bool
    ) -> None:
        """Continue after ``step`` from the state that :meth:`state` returned then.

        Raises:
            BadInput: it is the state of an adapter of another shape.
        """
        refuse_other_shapes(tensors, self.weights)
        self.ranks.announce("restore", tensors, step, micro_batch, recompute)
        restore_state(tensors, self.weights, self.optimizer)
        set_random_state(tensors, self.base.device)
        self._random = random_state(self.base.device)
        self.micro_batch, self.recompute = micro_batch, recompute
        self.done = step
        self._good.store(step)
        self.base.touched(self.name)

    def remaining_tokens(self, step: int) -> int:
        """Tokens in the steps after ``step``."""
        rows = self.data.train
        return sum(len(rows[number]) for batch in self.plan[step:] for number in batch)

    @contextlib.contextmanager
    def at_rest(self) -> Iterator[None]:
        """A context in which the adapter is frozen and active, with no effect on later steps."""
        self.base.activate(self.name)
        try:
            yield
        finally:
            self.base.trainable(self.name)
            set_random_state(self._random, self.base.device)
            release_memory()

    def close(self) -> None:
        """Freeze the adapter on the base, and free the memory of training."""
        self.ranks.announce("end")
        for weight in self.weights:
            weight.grad = None
        self.optimizer.state.clear()
        self._good.free()
        self.base.activate(self.name)
        release_memory()
