"""Forward and backward passes over rows: the sum of their losses, and its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from sekft_engine.sft.batches import halves
from sekft_engine.sft.data import TrainRow
from sekft_engine.sft.dropout import drawing
from sekft_engine.sft.lanes import lanes_on, side_by_side
from sekft_engine.sft.loss import Selected, token_losses

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Passed(NamedTuple):
    """The summed loss of some rows in nats, and the ids of those whose loss is no number."""

    total: float
    odd: list[str]


class Passes:
    """Passes through a model of which ``weights`` learn.

    On a CPU the halves of a pass go side by side. What is random is drawn for each pass from one
    number of torch's generator, so that it depends on neither the other half nor time. A model that
    draws from that generator itself is noticed, and its passes are made as one.

    Args:
        alone: the model's layers are spread over processes: passes are those of all.
    """

    def __init__(
        self,
        selected: Selected,
        weights: Sequence[Tensor],
        device: torch.device,
        *,
        alone: bool = False,
    ) -> None:
        self._selected = selected
        self._weights = weights
        self._device = device
        self.lanes = 1 if alone else lanes_on(device)

    def add_gradients(self, rows: Sequence[TrainRow], over: int) -> Passed:
        """Add the gradients of the summed loss of ``rows`` over ``over`` to those of the weights.
        After an error these are to be dropped."""
        import torch

        parts = self._parts(rows)
        before = torch.get_rng_state()
        seeds = [int(torch.randint(1 << 62, ())) for _ in parts]
        if len(parts) == 1:
            return self._add(parts[0], seeds[0], over)
        drawn = torch.get_rng_state()
        with self._selected:
            work = [*zip(parts, seeds, strict=True)]
            found = side_by_side(lambda part: self._gradients(*part, over), work)
        if not torch.equal(drawn, torch.get_rng_state()):
            self.lanes = 1
            torch.set_rng_state(before)
            return self.add_gradients(rows, over)
        for _, gradients in found:
            for weight, gradient in zip(self._weights, gradients, strict=True):
                if weight.grad is None or gradient is None:
                    weight.grad = gradient if weight.grad is None else weight.grad
                else:
                    weight.grad.add_(gradient)
        return Passed(
            sum(passed.total for passed, _ in found),
            [one for passed, _ in found for one in passed.odd],
        )

    def losses(self, rows: Sequence[TrainRow]) -> tuple[float, int]:
        """The summed loss of ``rows``, without dropout's draws, and how many tokens it is of."""
        with self._selected:
            found = side_by_side(self._losses, self._parts(rows))
        return sum(total for total, _ in found), sum(count for _, count in found)

    def touch(self, row: TrainRow) -> None:
        """Take part in a pass of all that others need; it adds nothing."""
        import torch

        with self._selected:
            losses, _ = token_losses(self._selected, [row], self._device)
            if torch.is_grad_enabled():
                torch.autograd.backward(losses.sum() * 0)

    def _parts(self, rows: Sequence[TrainRow]) -> list[list[TrainRow]]:
        one = self.lanes == 1 or self._selected.compiles
        return [list(rows)] if one else list(halves(rows, shared=self._selected.packs))

    def _add(self, rows: Sequence[TrainRow], seed: int, over: int) -> Passed:
        import torch

        with self._selected, drawing(seed):
            total, passed = self._summed(rows)
            torch.autograd.backward(total / over)
        return passed

    def _gradients(
        self, rows: Sequence[TrainRow], seed: int, over: int
    ) -> tuple[Passed, tuple[Tensor | None, ...]]:
        import torch

        with drawing(seed):
            total, passed = self._summed(rows)
            return passed, torch.autograd.grad(total / over, self._weights, allow_unused=True)

    def _summed(self, rows: Sequence[TrainRow]) -> tuple[Tensor, Passed]:
        import torch

        losses, owners = token_losses(self._selected, rows, self._device)
        total = losses.sum()
        odd: list[str] = []
        if not bool(torch.isfinite(total)):
            numbers = {int(row) for row in owners[~torch.isfinite(losses.detach())]}
            odd = [rows[row].id for row in sorted(numbers)]
        return total, Passed(float(total.detach().double()), odd)

    def _losses(self, rows: Sequence[TrainRow]) -> tuple[float, int]:
        import torch

        with torch.no_grad():
            losses, _ = token_losses(self._selected, rows, self._device)
            return float(losses.double().sum()), len(losses)
