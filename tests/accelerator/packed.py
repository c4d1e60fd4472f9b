"""4-bit weights on the simulated device, computed by bitsandbytes' CPU kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bitsandbytes as bnb
import pytest
import torch

from sekft_engine.model import device, loading
from sekft_engine.model.resident import ResidentBase
from tests.accelerator.simulated import KIND, SimTensor


def four_bits_on_device(folder: Path) -> ResidentBase:
    """The base in ``folder`` in 4 bits: packed on the CPU as everywhere, then moved.

    transformers packs on the device itself, into a class of tensors that cannot also be a
    :class:`SimTensor`. So what is moved here has the content and attributes of that class.
    """
    base = ResidentBase.load(folder, place=torch.device("cpu"), load_4bit=True)
    moved: dict[int, Any] = {}
    for module in base.model.modules():
        for name, weight in [*module._parameters.items()]:
            if weight is not None:
                module._parameters[name] = moved.setdefault(id(weight), _moved(weight))
        for name, buffer in [*module._buffers.items()]:
            if buffer is not None:
                module._buffers[name] = buffer.to(KIND)
    return ResidentBase(
        base.model,
        base.tokenizer,
        path=base.path,
        digest=base.digest,
        quantised=True,
        placed=f"{KIND}:0",
    )


class TracedDevice(device.Device):
    """Meta tensors in place of those of a card: types and shapes, and no values."""

    kind = "meta"
    has_own_memory = True
    computed_as = ""

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16


def four_bits_traced(folder: Path, patch: pytest.MonkeyPatch) -> Any:
    """The model in ``folder`` as the loader makes it on a card in 4 bits and bfloat16, on meta
    tensors: bitsandbytes' declaration of its packing says what comes out.

    The library packs a weight when it is moved to a device, unless that is meta; here it does
    there, too.
    """
    move = bnb.nn.Params4bit.to

    def pack_or_move(weight: Any, *args: Any, **options: Any) -> Any:
        place = torch._C._nn._parse_to(*args, **options)[0]
        packs = place is not None and place.type == "meta" and not weight.bnb_quantized
        return weight._quantize(place) if packs else move(weight, *args, **options)

    patch.setattr(bnb.nn.Params4bit, "to", pack_or_move)
    patch.setitem(device.kinds(), TracedDevice.kind, TracedDevice)
    return loading.load_model(folder, place=torch.device("meta"), load_4bit=True)


def _moved(weight: Any) -> Any:
    plain = weight.detach().as_subclass(torch.Tensor)
    result = torch.nn.Parameter(SimTensor(plain), requires_grad=False)
    for name, value in vars(weight).items():
        setattr(result, name, value)
    if state := getattr(weight, "quant_state", None):
        state.to(KIND)
    return result
