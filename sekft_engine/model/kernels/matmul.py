"""Products of fp32 matrices on a CPU, by MKL or oneDNN, the two libraries in torch.

Training goes through MKL on Intel's processors, where it is faster by a tenth for large products
and by several times for the thin ones of an adapter. On processors of another vendor MKL takes a
slow path, and oneDNN needs less than half the time. The vendor decides and not a measurement, so
that a resumed run computes as before; each run records which library it used
(:func:`library`).

Decoding goes through oneDNN on every processor, with weights laid out for it once
(:func:`pack_weight`): its products have few rows and use the same weights thousands of times, and
MKL would repack them in each call. On a Zen processor that takes 2.4 times less for sixteen
rows.

Results differ by rounding only.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: Number of rows of x that a packed layout is optimised for; others may use it too.
_PACKED_ROWS = 16


@cache
def uses_mkl() -> bool:
    """Whether training multiplies with MKL here."""
    import torch

    with suppress(OSError):
        cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        has_mkl: bool = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
        return has_mkl and "GenuineIntel" in cpu
    return False


def library() -> str:
    """The name of the library that training multiplies with, for a run's record."""
    return "MKL" if uses_mkl() else "oneDNN"


def has_onednn() -> bool:
    """Whether this torch can multiply with oneDNN."""
    import torch

    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def is_available() -> bool:
    """Whether the functions for training below can be used."""
    return uses_mkl() or has_onednn()


def is_supported(tensor: Tensor) -> bool:
    """Whether products of such tensors are supported here: fp32 on a CPU."""
    import torch

    return tensor.dtype == torch.float32 and tensor.device.type == "cpu"


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x·Wᵀ + b on any device and in any dtype, by the chosen library if supported.

    Args:
        x: [..., in].
        weight: [out, in].
        bias: [out].

    Returns:
        [..., out].
    """
    import torch

    if is_supported(weight) and x.dtype == weight.dtype and is_available():
        return cpu_linear(x, weight, bias)
    return torch.nn.functional.linear(x, weight, bias)


def cpu_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x·Wᵀ + b as :func:`linear`, for supported tensors only."""
    import torch

    return torch.nn.functional.linear(x, weight, bias) if uses_mkl() else _onednn(x, weight, bias)


def linear_add(x: Tensor, weight: Tensor, addend: Tensor) -> Tensor:
    """x·Wᵀ + addend in one pass: x [..., in], weight [out, in], addend and result [..., out]."""
    import torch

    if uses_mkl():
        return torch.addmm(flat(addend), flat(x), weight.t()).view(addend.shape)
    binary = torch.ops.mkldnn._linear_pointwise.binary  # noqa: SLF001 - it has no public name
    out: Tensor = binary(x, addend, weight, None, "add")
    return out


def linear_add_(x: Tensor, weight: Tensor, out: Tensor) -> Tensor:
    """out + x·Wᵀ, where ``out`` [..., out] is contiguous and may be overwritten."""
    if not uses_mkl():
        return linear_add(x, weight, out)
    # A view, never a copy: the sum must be in ``out`` itself.
    out.view(-1, out.shape[-1]).addmm_(flat(x), weight.t())
    return out


def pack_weight(weight: Tensor) -> Tensor:
    """``weight`` [out, in] in oneDNN's own layout, for :func:`packed_linear`."""
    import torch

    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, _PACKED_ROWS)  # noqa: SLF001
    return packed


def packed_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x·Wᵀ + b by oneDNN, without gradients; ``weight`` may be packed. Shapes as :func:`linear`."""
    return _onednn(x, weight, bias)


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    import torch

    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # noqa: SLF001
    return out


def flat(tensor: Tensor) -> Tensor:
    """A tensor [..., n] as a matrix [rows, n]."""
    return tensor.reshape(-1, tensor.shape[-1])
