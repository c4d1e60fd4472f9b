"""Roofline: an upper bound on training speed, from the machine's matrix multiplication rate.

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

from sekft_engine.model.device import device_of
from sekft_engine.model.kernels.packed_linear import PackedLinears
from sekft_engine.records import events

if TYPE_CHECKING:
    from torch import Tensor

    from sekft_engine.model.resident import ResidentBase

#: Rows of the product that is timed: enough to fill the machine, little enough to be quick.
TOKENS = 512
#: Seconds it is repeated; the best time counts, since others may use the machine too.
PATIENCE_S = 0.1

_known: dict[tuple[str, str, int, int, int], float] = {}


def most_tokens_per_s(rate: float, layers: int, head: int, tokens: int, trained: int) -> float:
    """The upper bound in tokens per second; 0 = unknown.

    Args:
        rate: operations per second in matrix products.
        layers, head: numbers of weights.
        tokens, trained: tokens of the run, and how many of them are trained.
    """
    operations = 4 * (layers * tokens + head * trained)
    return rate * tokens / operations if operations else 0.0


def measure_bound(base: ResidentBase) -> events.BoundMeasured:
    """Time a matrix product of the largest layer's shape, once per machine, shape and dtype."""
    layers, head, largest = _sizes(base)
    return events.BoundMeasured(
        job="", rate=_rate(base, *largest) if layers else 0.0, layers=layers, head=head
    )


def _sizes(base: ResidentBase) -> tuple[int, int, tuple[int, int]]:
    """Number of weights in all layers and in the head, and the largest layer as (in, out)."""
    import torch

    head = base.model.get_output_embeddings()
    found = [
        (layer.in_features, layer.out_features)
        for name, layer in base.model.named_modules()
        if isinstance(layer, torch.nn.Linear) and layer is not head and "lora_" not in name
    ]
    largest = max(found, key=lambda shape: shape[0] * shape[1], default=(0, 0))
    own = head.in_features * head.out_features if isinstance(head, torch.nn.Linear) else 0
    return sum(inputs * outputs for inputs, outputs in found), own, largest


def _rate(base: ResidentBase, inputs: int, outputs: int) -> float:
    import torch

    device = base.device
    dtype = next(base.model.parameters()).dtype
    if not dtype.is_floating_point:  # 4-bit weights are unpacked to this for each product
        dtype = device_of(device).dtype
    key = (str(device), str(dtype), torch.get_num_threads(), inputs, outputs)
    if key not in _known:
        layer = torch.nn.utils.skip_init(  # type: ignore[no-untyped-call]
            torch.nn.Linear, inputs, outputs, bias=False, dtype=dtype, device=device
        )
        layer.requires_grad_(False)
        layer.weight.fill_(0.5)  # not random: the generators' state belongs to the run
        rows = torch.full((TOKENS, inputs), 0.5, dtype=dtype, device=device)
        kernels = (nullcontext(), PackedLinears(layer))
        _known[key] = (
            2 * TOKENS * inputs * outputs / min(_time(layer, rows, kernel) for kernel in kernels)
        )
    return _known[key]


def _time(layer: Callable[[Tensor], Tensor], rows: Tensor, kernel: Any) -> float:
    """The shortest of several times of ``layer`` on ``rows`` [N, in], in seconds."""
    import torch

    device = device_of(rows.device)
    best, end = float("inf"), time.perf_counter() + PATIENCE_S
    with torch.no_grad(), kernel:
        layer(rows[:1])  # warm-up
        while time.perf_counter() < end or best == float("inf"):
            device.synchronize()
            began = time.perf_counter()
            layer(rows)
            device.synchronize()
            best = min(best, time.perf_counter() - began)
    return best
