"""Adapters made by PEFT itself, what PEFT computes with them, and every bit of a base."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from sekft_engine.core.errors import SekftError
from sekft_engine.model.resident import ResidentBase
from sekft_engine.render import ChatTokenizer
from tests.models import SMALL_VOCABULARY, family_model

IDS = torch.tensor([[1, 5, 9, 3, 2, 17, 80], [4, 4, 8, 60, 33, 2, 11]]) % SMALL_VOCABULARY
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

#: Linear layers of each family, by the ends of their names.
_LLAMA = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LINEAR = {
    "llama": _LLAMA,
    "tied": _LLAMA,
    "qwen2": _LLAMA,
    "gpt2": ["c_attn", "c_proj", "c_fc"],
}


@cache
def _pristine(family: str) -> Any:
    return family_model(family)


def fresh(family: str) -> Any:
    """A copy of the family's model, bit by bit."""
    return copy.deepcopy(_pristine(family))


def resident(family: str, tokenizer_from: Path) -> ResidentBase:
    """The family's model as a resident base."""
    tokenizer = ChatTokenizer.load(tokenizer_from)
    return ResidentBase(fresh(family), tokenizer, path=Path(f"/bases/{family}"), digest="0" * 64)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS, use_cache=False).logits
    return found


def bits(model: Any) -> dict[str, bytes]:
    """Every bit of a model without adapters: parameters, buffers, scales of packed weights."""
    tensors = dict(model.state_dict(keep_vars=True)) | dict(model.named_buffers())
    return {
        name: tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        for name, tensor in tensors.items()
        if isinstance(tensor, torch.Tensor)
    }


def shape_of(model: Any) -> dict[str, tuple[int, type, tuple[str, ...]]]:
    """Which objects a model is made of, and what was set on them."""
    return {
        name: (id(module), type(module), tuple(sorted(set(vars(module)) - {"training"})))
        for name, module in model.named_modules()
    }


def randomise(model: Any, seed: int = 0) -> None:
    """Give the tensors of all adapters values that matter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if ".lora_" not in name:
                continue
            drawn = torch.randn(tensor.shape, generator=generator)
            if "magnitude" in name:
                tensor.mul_(1 + 0.2 * drawn)
            else:
                tensor.copy_(0.2 * drawn)


def save_peft(
    family: str, folder: Path, fields: Mapping[str, Any], seed: int = 0, **options: Any
) -> Path:
    """What PEFT saves of an adapter with these fields of LoraConfig, with these ``options``."""
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(fresh(family), LoraConfig(**fields))
        randomise(model, seed)
        model.save_pretrained(folder, **options)
    return folder


def peft_logits(family: str, folder: Path) -> torch.Tensor:
    """What PEFT computes with an adapter that it loads itself."""
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PeftModel.from_pretrained(fresh(family), str(folder), low_cpu_mem_usage=False)
        return logits(model.eval())


def edit_config(folder: Path, **changes: Any) -> Path:
    """Change fields in the adapter's configuration, on disk."""
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def refused(base: ResidentBase, folder: Path) -> str:
    """Why an adapter is not attached; empty where it is, as ``a``."""
    try:
        base.attach("a", folder)
    except SekftError as error:
        return str(error)
    return ""
