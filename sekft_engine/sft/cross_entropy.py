"""Cross-entropy from hidden states, without holding the logits of all tokens at once.

The gradient of a token's loss to its logits is its softmax less one at the target. It is known as
soon as the logits are, and goes straight back through the head, whose weights are frozen. So logits
are made for some tokens at a time and let go: a vocabulary of 256 k takes no more memory than one
of 32 k. (The idea is that of Liger and of cut cross-entropy.)

A loss is the logarithm of the sum of exponentials less the target's logit. Torch's cross_entropy on
a CPU adds the exponentials up less exactly: of 49 k fp32 logits it is off by 2e-6 of the loss, to
one side, where this is off by 2e-8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sekft_engine.sft.products import linear

if TYPE_CHECKING:
    from torch import Tensor

#: Logits that are held at once, at most: 128 MiB of fp32.
MOST_LOGITS = 1 << 25


def head_losses(hidden: Tensor, head: Any, targets: Tensor, most: int = MOST_LOGITS) -> Tensor:
    """Losses in nats [N] of ``targets`` [N], where ``head`` makes logits from ``hidden`` [N, D], at
    most so many at a time."""
    import torch

    if type(head) is not torch.nn.Linear or head.weight.requires_grad:
        return logit_losses(head(hidden), targets)
    size = max(1, most // int(head.weight.shape[0]))
    losses: Tensor = _in_pieces()(hidden, head.weight, head.bias, targets, size)
    return losses


def logit_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Losses in nats [N] of ``targets`` [N] by ``logits`` [N, V]."""
    logits = logits.float()
    return logits.logsumexp(-1) - logits.gather(1, targets[:, None])[:, 0]


def _in_pieces() -> Callable[..., Any]:
    import torch

    class InPieces(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any,
            hidden: Tensor,
            weight: Tensor,
            bias: Tensor | None,
            targets: Tensor,
            size: int,
        ) -> Tensor:
            losses = []
            wanted = hidden.requires_grad
            back = torch.empty_like(hidden) if wanted else hidden.new_empty(0)
            for at in range(0, max(1, len(hidden)), size):
                piece = slice(at, at + size)
                logits = linear(hidden[piece], weight, bias).float()
                chosen = targets[piece, None]
                whole = logits.logsumexp(-1, keepdim=True)
                losses.append((whole - logits.gather(1, chosen))[:, 0])
                if wanted:
                    slope = logits.sub_(whole).exp_()
                    slope.scatter_add_(1, chosen, slope.new_full(chosen.shape, -1.0))
                    back[piece] = linear(slope.to(weight.dtype), weight.t())
            ctx.save_for_backward(back)
            return torch.cat(losses)

        @staticmethod
        def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
            (back,) = ctx.saved_tensors
            return (back.float() * slope[:, None]).to(back.dtype), None, None, None, None

    return InPieces.apply
