"""The training loop: forward, backward, clip, step; readable from top to bottom."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from sekft_engine.base import ResidentBase
from sekft_engine.errors import BadInput, JobFailed, Unavailable
from sekft_engine.recipe import Recipe
from sekft_engine.sft.batches import learning_rate, plan_steps, split_rows
from sekft_engine.sft.compiled import compiling_failed
from sekft_engine.sft.data import Data, TrainRow
from sekft_engine.sft.loss import selected_logits
from sekft_engine.sft.memory import free_memory, out_of_memory
from sekft_engine.sft.passes import Passes
from sekft_engine.sft.random_state import random_state, set_random_state
from sekft_engine.sft.ranks import ALONE, Ranks
from sekft_engine.sft.recompute import blocks_of

if TYPE_CHECKING:
    from torch import Tensor


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One optimiser step; ``loss`` is the mean over its trained tokens, in nats."""

    step: int
    loss: float
    lr: float
    grad_norm: float
    trained_tokens: int
    tokens: int
    seconds: float


class Diverged(JobFailed):
    """The loss or a gradient is not a number any more; names the step and the trajectories."""

    step = 0  #: the step that it was seen at


class Abandoned(Exception):
    """The caller asked to leave in the middle of a step; no weight has changed in it."""


class Trainer:
    """Trains adapter ``name`` of ``base`` on ``data``, step by step.

    Args:
        leave: asked between forward passes; True abandons the step.
        ranks: the processes that train together; each computes its share of every step.
        rate: the learning rate of a step (from 1) of so many.
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
        self.micro_batch = recipe.micro_batch
        self._leave = leave
        self._rate = rate
        self.ranks = ranks
        self.weights = base.trainable(name)
        ranks.match(self.weights)
        self._optimiser = torch.optim.AdamW(
            self.weights, lr=recipe.lr, weight_decay=recipe.weight_decay, betas=(0.9, 0.999)
        )
        self._selected = selected_logits(base.model)
        self._passes = Passes(self._selected, self.weights, base.device, alone=ranks.sharded)
        self.recompute = recipe.recompute == "always"
        self._selected.compiles = recipe.compile == "always"
        self.done = 0  #: steps done
        # Weights that are known to give finite losses, should the next ones not.
        self._good = [weight.detach().clone() for weight in self.weights]
        self.good_step = 0
        torch.manual_seed(recipe.seed + 1)
        self._random = random_state()

    @property
    def recompute(self) -> bool:
        """Whether activations are computed again instead of being held; the sums are the same."""
        return self._selected.recompute

    @recompute.setter
    def recompute(self, wanted: bool) -> None:
        self._selected.recompute = wanted

    @property
    def compiles(self) -> bool:
        """Whether blocks are compiled; no more where that has failed."""
        return self._selected.compiles

    def state(self) -> dict[str, Tensor]:
        """Everything that the steps to come depend on, as it was after the last whole step."""
        tensors = dict(self._random)
        for number, weight in enumerate(self.weights):
            tensors[f"weight.{number}"] = weight.detach()
            for key, value in self._optimiser.state.get(weight, {}).items():
                tensors[f"optimiser.{number}.{key}"] = value
        return tensors

    def restore(
        self, tensors: dict[str, Tensor], step: int, micro_batch: int, recompute: bool
    ) -> None:
        """Go on after ``step`` with what :meth:`state` gave then.

        Raises:
            BadInput: the state is that of another adapter.
        """
        import torch

        count = sum(key.startswith("weight.") for key in tensors)
        shapes = [tensors[f"weight.{number}"].shape for number in range(count)]
        if shapes != [weight.shape for weight in self.weights]:
            raise BadInput(
                "the checkpoint is of an adapter of another shape", mend="start a new run"
            )
        self.ranks.announce("restore", tensors, step, micro_batch, recompute)
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimiser."):
                _, owner, name = key.split(".", 2)
                moments.setdefault(int(owner), {})[name] = value
        with torch.no_grad():
            for number, weight in enumerate(self.weights):
                weight.copy_(tensors[f"weight.{number}"])
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": moments, "param_groups": groups})
        set_random_state(tensors)
        self._random = random_state()
        self.micro_batch, self.recompute = micro_batch, recompute
        self.done = step
        self._remember(step)
        self.base.touched(self.name)

    def remaining_tokens(self, step: int) -> int:
        """Tokens in the steps after ``step``."""
        rows = self.data.train
        return sum(len(rows[number]) for batch in self.plan[step:] for number in batch)

    def steps(self) -> Iterator[Step]:
        """Do one optimiser step per item."""
        for number, batch in enumerate(self.plan[self.done :], self.done + 1):
            began = time.monotonic()
            rows = [self.data.train[row] for row in batch]
            rate = self._rate(number, len(self.plan), self.recipe)
            for group in self._optimiser.param_groups:
                group["lr"] = rate
            self.ranks.announce("step")
            self.ranks.seed(self.recipe.seed, number)
            try:
                loss, trained = self._gradients(number, rows)
                norm = self._clip(number, rows)
            except Diverged:  # here or in another process
                self._go_back()
                raise
            self._optimiser.step()
            self._optimiser.zero_grad(set_to_none=True)
            self.base.touched(self.name)
            self.done = number
            self._random = random_state()
            yield Step(
                step=number,
                loss=loss,
                lr=rate,
                grad_norm=norm,
                trained_tokens=trained,
                tokens=sum(len(row) for row in rows),
                seconds=time.monotonic() - began,
            )

    def _gradients(self, step: int, rows: Sequence[TrainRow]) -> tuple[float, int]:
        """Gradients of the mean loss over all trained tokens of ``rows``, and that loss."""
        trained = sum(row.trained for row in rows)
        with self.ranks.together():
            part = self._own_gradients(step, self.ranks.share(rows), trained)
        self.ranks.sum_gradients(self.weights)
        (total,) = self.ranks.sum(part)
        self._remember(step - 1)
        return total / trained, trained

    def _own_gradients(self, step: int, rows: Sequence[TrainRow], trained: int) -> float:
        """This process's part. Memory that does not suffice halves the forward passes, and then
        has activations computed again where the recipe allows it; the sum stays the same."""
        random = random_state()
        while True:
            set_random_state(random)
            try:
                return self._accumulate(step, rows, trained)
            except Abandoned:
                self._optimiser.zero_grad(set_to_none=True)
                raise
            except (RuntimeError, MemoryError) as error:
                if self.compiles and compiling_failed(error):
                    self._selected.compiles = False
                    self._optimiser.zero_grad(set_to_none=True)
                    continue
                if not out_of_memory(error):
                    raise
                # Passes that are those of all cannot be made again by one.
                if self.ranks.sharded or not self._save_memory():
                    raise self._too_much(step, rows) from error
            self._optimiser.zero_grad(set_to_none=True)
            free_memory()

    def _save_memory(self) -> bool:
        """Take the next way to the same sum that needs less memory; whether there was one."""
        if self.micro_batch > 1:
            self.micro_batch //= 2
            return True
        can = self.recipe.recompute == "auto" and bool(blocks_of(self.base.model))
        if self.recompute or not can:
            return False
        self.recompute = True
        return True

    def _too_much(self, step: int, rows: Sequence[TrainRow]) -> Unavailable:
        longest = max(rows, key=len)
        return Unavailable(
            f"memory does not suffice for step {step}, trajectory {longest.id} of {len(longest)} "
            "tokens among them",
            mend="a smaller --max-length, --micro-batch 1, --recompute always, or --load-4bit",
        )

    def _accumulate(self, step: int, rows: Sequence[TrainRow], trained: int) -> float:
        """Add the gradients of the summed loss of ``rows`` over ``trained``; returns the sum."""
        total, odd = 0.0, []
        groups = split_rows(rows, self.micro_batch)
        more = self.ranks.more_passes(len(groups))
        for group in groups:
            # Passes that are those of all are gone through by all, whatever comes of them.
            if self._leave() and not self.ranks.sharded:
                raise Abandoned
            passed = self._passes.add_gradients(group, trained)
            total += passed.total
            odd += passed.odd
        for _ in range(more):
            self._passes.touch(self.data.train[0])
        if odd:
            self._diverged(step, "the loss", odd)
        return total

    def _clip(self, step: int, rows: Sequence[TrainRow]) -> float:
        import torch

        limit = self.recipe.clip or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(self.weights, limit))
        if not math.isfinite(norm):
            self._diverged(step, "the gradient", [row.id for row in rows])
        return norm

    def _remember(self, step: int) -> None:
        import torch

        with torch.no_grad():
            for kept, weight in zip(self._good, self.weights, strict=True):
                kept.copy_(weight)
        self.good_step = step

    def _go_back(self) -> None:
        """Take up the last weights that gave finite losses."""
        import torch

        self._optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            for kept, weight in zip(self._good, self.weights, strict=True):
                weight.copy_(kept)
        self.base.touched(self.name)

    def _diverged(self, step: int, what: str, ids: list[str]) -> None:
        """Say what happened."""
        named = ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
        kept_as = (
            f"the adapter of step {self.good_step} is kept" if self.good_step else "no adapter"
        )
        error = Diverged(
            f"{what} is not finite at step {step}, trajectory {named or 'unknown'}; {kept_as}",
            mend="lower the learning rate, or look at that trajectory with: sekft mask",
        )
        error.step = step
        raise error

    def heldout_loss(self) -> tuple[float, int]:
        """Mean loss over the trained tokens of the rows kept aside, and their number."""
        self.ranks.announce("heldout")
        return self.mean_loss(self.data.heldout)

    def confirm(self) -> None:
        """See that the weights of the last step give a finite loss: of its shortest row, unless
        something has shown it. Only such weights are worth saving.

        Raises:
            Diverged: they do not; the last good ones are back.
        """
        if self.good_step == self.done:
            return
        self.ranks.announce("confirm")
        row = min((self.data.train[number] for number in self.plan[self.done - 1]), key=len)
        loss, _ = self.mean_loss([row], patient=True)
        self.judge("the loss after it", loss, [row])

    def judge(self, what: str, loss: float, rows: Sequence[TrainRow]) -> None:
        """Take the weights of the last step for good ones if the mean ``loss`` of ``rows`` is a
        number.

        Raises:
            Diverged: it is none; the last good weights are back.
        """
        if math.isfinite(loss):
            self._remember(self.done)
            return
        odd: list[str] = []
        if self.ranks.size == 1:
            odd = [row.id for row in rows if not math.isfinite(self.mean_loss([row])[0])]
        self._go_back()
        self._diverged(self.done, what, odd)

    def mean_loss(self, rows: Sequence[TrainRow], *, patient: bool = False) -> tuple[float, int]:
        """Mean loss over the trained tokens of ``rows``, without dropout, and their number; one
        that is ``patient`` is not left before its end."""
        import torch

        model = self.base.model
        model.eval()
        total, tokens = 0.0, 0
        groups = split_rows(self.ranks.share(rows), self.micro_batch)
        more = self.ranks.more_passes(len(groups))
        try:
            with torch.no_grad(), self.ranks.together():
                for group in groups:
                    if self._leave() and not (patient or self.ranks.sharded):
                        raise Abandoned
                    some, counted = self._passes.losses(group)
                    total, tokens = total + some, tokens + counted
                for _ in range(more):
                    self._passes.touch(self.data.train[0])
        finally:
            model.train()
        total, count = self.ranks.sum(total, tokens)
        return total / max(1, count), int(count)

    @contextlib.contextmanager
    def at_rest(self) -> Iterator[None]:
        """The adapter frozen and in use; afterwards training goes on as if nothing had been."""
        self.base.activate(self.name)
        try:
            yield
        finally:
            self.base.trainable(self.name)
            set_random_state(self._random)
            free_memory()

    def close(self) -> None:
        """Leave the adapter frozen on the base, and free what training held."""
        self.ranks.announce("end")
        for weight in self.weights:
            weight.grad = None
        self._optimiser.state.clear()
        self._good = []
        self.base.activate(self.name)
        free_memory()


def mean_rate(recent: Sequence[Any]) -> float:
    """Tokens per second over the last steps."""
    seconds = sum(step.seconds for step in recent)
    return sum(step.tokens for step in recent) / seconds if seconds > 0 else 0.0
