"""Gradient accumulation: forward and backward passes over micro-batches, and their sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from sekft_engine.model.kernels.dropout import masks_seeded
from sekft_engine.model.kernels.parallel_parts import parallel_parts, run_parallel
from sekft_engine.training.trainer.batches import halves
from sekft_engine.training.trainer.data import TrainRow
from sekft_engine.training.trainer.loss import TrainedTokenLogits, token_losses

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class PassLosses(NamedTuple):
    """The losses of a forward pass, still on the device.

    Attributes:
        rows: the rows of the pass.
        loss_sum: the sum over their trained tokens, in nats: a scalar.
        losses: those of the N trained tokens: [N].
        owners: the index of each token's row, on the CPU: [N].
    """

    rows: Sequence[TrainRow]
    loss_sum: Tensor
    losses: Tensor
    owners: Tensor


def read_losses(passes: Sequence[PassLosses]) -> tuple[float, list[str]]:
    """Read the losses of several passes; a card is waited for once, and not between them.

    Returns:
        their sum in nats, and the ids of rows whose loss is not finite.
    """
    import torch

    if not passes:
        return 0.0, []
    sums = torch.stack([part.loss_sum for part in passes]).tolist()
    not_finite: list[str] = []
    for part, loss_sum in zip(passes, sums, strict=True):
        if not math.isfinite(loss_sum):
            bad = part.owners[~torch.isfinite(part.losses).cpu()]
            not_finite += [part.rows[row].id for row in sorted(set(bad.tolist()))]
    return sum(sums), not_finite


class GradientAccumulator:
    """Accumulates the gradients of micro-batches in the ``grad`` of ``weights``.

    On a CPU two parts of a micro-batch are computed in parallel. The dropout of each part is seeded
    with one number from torch's generator, so that masks do not depend on the other part or on
    timing. If the model itself uses that generator, the parts are computed as one.

    Args:
        logits: how losses are computed.
        weights: the trainable weights.
        device: where they are.
        sharded: the model's layers are spread over processes, so that all make the same passes.
    """

    def __init__(
        self,
        logits: TrainedTokenLogits,
        weights: Sequence[Tensor],
        device: torch.device,
        *,
        sharded: bool = False,
    ) -> None:
        self._logits = logits
        self._weights = weights
        self._device = device
        self.parts = 1 if sharded else parallel_parts(device)

    def backward(self, rows: Sequence[TrainRow], divisor: int) -> list[PassLosses]:
        """Add the gradients of the summed loss of ``rows`` divided by ``divisor``.

        After an error the accumulated gradients are invalid.

        Returns:
            the losses, to be read by :func:`read_losses`.
        """
        import torch

        parts = self._split(rows)
        before = torch.get_rng_state()
        seeds = [int(torch.randint(1 << 62, ())) for _ in parts]
        with self._logits.kernels:
            if len(parts) == 1:
                with masks_seeded(seeds[0]):
                    loss, result = self._loss(parts[0])
                    torch.autograd.backward(loss / divisor)
                return [result]
            seeded = torch.get_rng_state()
            results = run_parallel(
                lambda part: self._gradients(*part, divisor), [*zip(parts, seeds, strict=True)]
            )
        if not torch.equal(seeded, torch.get_rng_state()):  # the model itself draws random numbers
            self.parts = 1
            torch.set_rng_state(before)
            return self.backward(rows, divisor)
        for _, gradients in results:
            self._add(gradients)
        return [result for result, _ in results]

    def losses(self, rows: Sequence[TrainRow]) -> tuple[float, int]:
        """The summed loss of ``rows`` in nats, without gradients, and their trained tokens."""
        with self._logits.kernels:
            totals = run_parallel(self._plain_loss, self._split(rows))
        return sum(totals), sum(row.trained for row in rows)

    def join(self, row: TrainRow) -> None:
        """Join a pass that other processes need; it contributes nothing."""
        import torch

        with self._logits.kernels:
            losses, _ = token_losses(self._logits, [row])
            if torch.is_grad_enabled():
                torch.autograd.backward(losses.sum() * 0)

    def _split(self, rows: Sequence[TrainRow]) -> list[list[TrainRow]]:
        if self.parts == 1 or self._logits.compiles:
            return [list(rows)]
        return halves(rows, shared=self._logits.packs)

    def _gradients(
        self, rows: Sequence[TrainRow], seed: int, divisor: int
    ) -> tuple[PassLosses, tuple[Tensor | None, ...]]:
        import torch

        with masks_seeded(seed):
            loss, result = self._loss(rows)
            return result, torch.autograd.grad(loss / divisor, self._weights, allow_unused=True)

    def _add(self, gradients: Sequence[Tensor | None]) -> None:
        for weight, gradient in zip(self._weights, gradients, strict=True):
            if weight.grad is None:
                weight.grad = gradient
            elif gradient is not None:
                weight.grad.add_(gradient)

    def _loss(self, rows: Sequence[TrainRow]) -> tuple[Tensor, PassLosses]:
        """The summed loss as a scalar tensor with gradients, and the losses without."""
        losses, owners = token_losses(self._logits, rows)
        loss = losses.sum()
        return loss, PassLosses(rows, loss.detach(), losses.detach(), owners)

    def _plain_loss(self, rows: Sequence[TrainRow]) -> float:
        import torch

        with torch.no_grad():
            losses, _ = token_losses(self._logits, rows)
            return float(losses.cpu().double().sum())
