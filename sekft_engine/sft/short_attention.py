"""Causal attention of one short row on a CPU, forward and backward, as products of blocks.

Where MKL is slow, torch's own kernel for the CPU reaches a third of the processor's rate (where it
is not, that kernel is the quicker one and is left in place). Here the queries of all heads that
share a key head are multiplied at once, block by block, each block with the keys up to its end, so
that half of what lies ahead is never computed. The weights are kept for the backward pass (the
formulas are those of plain softmax attention), which long rows could not afford: see
:data:`LONGEST`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from sekft_engine.sft.products import by_mkl, suits, there, times

if TYPE_CHECKING:
    from torch import Tensor

#: Longer rows go through torch's kernel, which keeps no weights.
LONGEST = 1024
#: Queries of a block, about.
BLOCK = 128


def fits(query: Tensor, tokens: int) -> bool:
    """Whether this is the way for a row of ``tokens`` tokens."""
    return tokens <= LONGEST and suits(query) and there() and not by_mkl()


def attend_short(query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    """Attention of the last n tokens of a row to all t up to each.

    Args:
        query: [1, heads, n, D].
        key, value: [1, fewer or as many heads, t, D].

    Returns:
        [1, heads, n, D].
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    out: Tensor = _function()(query, key, value, scale)
    return out


def _blocks(new: int) -> list[tuple[int, int]]:
    count = max(1, round(new / BLOCK))
    ends = [number * new // count for number in range(count + 1)]
    return list(itertools.pairwise(ends))


@cache
def _function() -> Callable[..., Tensor]:
    import torch

    class Short(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
            _, heads, new, width = query.shape
            groups, before = key.shape[1], key.shape[2] - new
            queries = (query * scale).reshape(groups, heads // groups, new, width)
            keys, values = key[0].contiguous(), value[0].contiguous()
            out = torch.empty_like(queries)
            kept = []
            for start, end in _blocks(new):
                ahead = queries.new_full((end - start, end - start), -torch.inf).triu_(1)
                seen = before + end
                for group in range(groups):
                    block = queries[group, :, start:end].reshape(-1, width)
                    scores = times(block, keys[group, :seen]).view(-1, end - start, seen)
                    scores[:, :, before + start :] += ahead
                    weights = scores.softmax(-1).view(-1, seen)
                    found = times(weights, values[group, :seen].t())
                    out[group, :, start:end] = found.view(-1, end - start, width)
                    kept.append(weights)
            ctx.scale = scale
            ctx.save_for_backward(queries, keys, values, out, *kept)
            return out.view(1, heads, new, width)

        @staticmethod
        def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
            queries, keys, values, out, *kept = ctx.saved_tensors
            groups, _, new, width = queries.shape
            before = keys.shape[1] - new
            slopes = slope.reshape(queries.shape)
            mean = (slopes * out).sum(-1)
            back, back_keys, back_values = (
                torch.empty_like(queries),
                torch.zeros_like(keys),
                torch.zeros_like(values),
            )
            rest = iter(kept)
            for start, end in _blocks(new):
                seen = before + end
                for group in range(groups):
                    weights = next(rest)
                    block = queries[group, :, start:end].reshape(-1, width)
                    part = slopes[group, :, start:end].reshape(-1, width)
                    back_values[group, :seen] += times(weights.t(), part.t())
                    rise = times(part, values[group, :seen])
                    rise.sub_(mean[group, :, start:end].reshape(-1, 1)).mul_(weights)
                    risen = times(rise, keys[group, :seen].t())
                    back[group, :, start:end] = risen.view(-1, end - start, width)
                    back_keys[group, :seen] += times(rise.t(), block.t())
            back.mul_(ctx.scale)
            return back.view(slope.shape), back_keys[None], back_values[None], None

    return Short.apply
