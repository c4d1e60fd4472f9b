"""Products of fp32 matrices on a CPU, by the quicker of the two libraries that torch carries.

MKL is the quicker one on Intel's processors, by a tenth for large products and by several times for
an adapter's thin ones. On processors of another maker it takes a slow path, and oneDNN takes less
than half the time. The maker decides and no measurement, so that a run that goes on computes as it
did.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@cache
def by_mkl() -> bool:
    """Whether products go through MKL here."""
    import torch

    with suppress(OSError):
        cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        there: bool = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
        return there and "GenuineIntel" in cpu
    return False


def there() -> bool:
    """Whether this torch has what is needed."""
    import torch

    return by_mkl() or hasattr(torch.ops.mkldnn, "_linear_pointwise")


def library() -> str:
    """What computes, for a run's record."""
    return "MKL" if by_mkl() else "oneDNN"


def suits(values: Tensor) -> bool:
    """Whether such values are computed with here: fp32 on a CPU."""
    import torch

    return values.dtype == torch.float32 and values.device.type == "cpu"


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``rows`` · ``weight``ᵀ + ``bias`` wherever they are, by the quicker library if it is here."""
    import torch

    if suits(weight) and rows.dtype == weight.dtype and there():
        return times(rows, weight, bias)
    return torch.nn.functional.linear(rows, weight, bias)


def times(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``rows`` · ``weight``ᵀ + ``bias``."""
    import torch

    if by_mkl():
        return torch.nn.functional.linear(rows, weight, bias)
    out: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")  # noqa: SLF001
    return out


def times_plus(rows: Tensor, weight: Tensor, more: Tensor) -> Tensor:
    """``rows`` · ``weight``ᵀ + ``more``, in one go."""
    import torch

    if by_mkl():
        flat = torch.addmm(_flat(more), _flat(rows), weight.t())
        return flat.view(more.shape)
    product = torch.ops.mkldnn._linear_pointwise.binary  # noqa: SLF001
    out: Tensor = product(rows, more, weight, None, "add")
    return out


def add_times(rows: Tensor, weight: Tensor, into: Tensor) -> Tensor:
    """The same where nobody else needs ``into``, which is used up."""
    if not by_mkl():
        return times_plus(rows, weight, into)
    # A view and never a copy: what is added must be in ``into`` itself.
    into.view(-1, into.shape[-1]).addmm_(_flat(rows), weight.t())
    return into


def _flat(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1, tensor.shape[-1])
