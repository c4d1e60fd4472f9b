"""4-bit weights on the simulated device, computed by bitsandbytes' CPU kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

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


def _moved(weight: Any) -> Any:
    plain = weight.detach().as_subclass(torch.Tensor)
    result = torch.nn.Parameter(SimTensor(plain), requires_grad=False)
    for name, value in vars(weight).items():
        setattr(result, name, value)
    if state := getattr(weight, "quant_state", None):
        state.to(KIND)
    return result
