"""The most tokens per second that a machine can train on: what its matrix products allow.

Each weight of a frozen base is used in two products per token, forward and back to the
activations: 4·N operations. N counts the layers that every token passes, and the head for trained
tokens alone. Everything else (attention, norms, the adapter itself) is left out, so the bound is
never reached.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from sekft_engine import events
from sekft_engine.quick_linear import QuickLinears

if TYPE_CHECKING:
    from torch import Tensor

    from sekft_engine.base import ResidentBase

#: Rows of the product that is timed: enough to fill the machine, little enough to be quick.
TOKENS = 512
#: How long it is repeated; the best time counts, for others may use the machine too.
PATIENCE_S = 0.1

_known: dict[tuple[str, str, int, int, int], float] = {}


def most_tokens_per_s(rate: float, layers: int, head: int, tokens: int, trained: int) -> float:
    """Tokens per second at ``rate`` operations per second, where of ``tokens`` so many are
    ``trained``; ``layers`` and ``head`` count weights. 0 = not known."""
    operations = 4 * (layers * tokens + head * trained)
    return rate * tokens / operations if operations else 0.0


def measure_bound(base: ResidentBase) -> events.BoundMeasured:
    """Time a product of the largest layer's shape, once per machine, shape and dtype."""
    layers, head, largest = _sizes(base)
    return events.BoundMeasured(
        job="", rate=_rate(base, *largest) if layers else 0.0, layers=layers, head=head
    )


def _sizes(base: ResidentBase) -> tuple[int, int, tuple[int, int]]:
    """Weights of all layers, weights of the head, and the largest layer as (in, out)."""
    import torch

    head = base.model.get_output_embeddings()
    found = [
        (one.in_features, one.out_features)
        for name, one in base.model.named_modules()
        if isinstance(one, torch.nn.Linear) and one is not head and "lora_" not in name
    ]
    largest = max(found, key=lambda shape: shape[0] * shape[1], default=(0, 0))
    own = head.in_features * head.out_features if isinstance(head, torch.nn.Linear) else 0
    return sum(inputs * outputs for inputs, outputs in found), own, largest


def _rate(base: ResidentBase, inputs: int, outputs: int) -> float:
    import torch

    device = base.device
    dtype = next(base.model.parameters()).dtype
    if not dtype.is_floating_point:  # 4-bit weights are unpacked to this for each product
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    key = (str(device), str(dtype), torch.get_num_threads(), inputs, outputs)
    if key not in _known:
        layer = torch.nn.utils.skip_init(  # type: ignore[no-untyped-call]
            torch.nn.Linear, inputs, outputs, bias=False, dtype=dtype, device=device
        )
        layer.requires_grad_(False)
        layer.weight.fill_(0.5)  # not random: the generators' state belongs to the run
        rows = torch.full((TOKENS, inputs), 0.5, dtype=dtype, device=device)
        kernels = (nullcontext(), QuickLinears(layer))
        _known[key] = (
            2 * TOKENS * inputs * outputs / min(_time(layer, rows, one) for one in kernels)
        )
    return _known[key]


def _time(layer: Callable[[Tensor], Tensor], rows: Tensor, kernel: Any) -> float:
    """The best of several times that ``layer`` takes for ``rows``, in seconds."""
    import torch

    best, end = float("inf"), time.perf_counter() + PATIENCE_S
    with torch.no_grad(), kernel:
        layer(rows[:1])  # the first call sets things up
        while time.perf_counter() < end or best == float("inf"):
            _finish(rows.device)
            began = time.perf_counter()
            layer(rows)
            _finish(rows.device)
            best = min(best, time.perf_counter() - began)
    return best


def _finish(device: object) -> None:
    """Wait for what was only handed to the GPU."""
    import torch

    if getattr(device, "type", "") == "cuda":
        torch.cuda.synchronize()
