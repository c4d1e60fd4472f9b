"""Bases that are refused: what is wrong with each, what the refusal says, and the way out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Refusal(NamedTuple):
    """A base that is refused.

    Attributes:
        damage: makes it of a good one.
        what: what the refusal says is wrong.
        way_out: the beginning of what it says to do.
    """

    damage: Callable[[Path], object]
    what: str
    way_out: str


def edit_config(base: Path, **changes: Any) -> None:
    path = base / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _edited(**changes: Any) -> Callable[[Path], None]:
    return lambda base: edit_config(base, **changes)


def _quantised(method: str) -> Callable[[Path], None]:
    return _edited(quantization_config={"quant_method": method})


def _in_eight_bits(base: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    path = base / "model.safetensors"
    tensors = load_file(path)
    save_file(
        {name: tensor.to(torch.float8_e4m3fn) for name, tensor in tensors.items()}, path,
        {"format": "pt"},
    )  # fmt: skip


def _without_a_tensor(base: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = base / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, path, {"format": "pt"})


_TAKE = "take the model it was made from, in bf16 or float32"
_CAUSAL = "take a causal language model"
REFUSED: dict[str, Refusal] = {
    "FP8 (`quantization_config`)": Refusal(
        _quantised("fp8"), "quantised already (FP8)", _TAKE,
    ),
    "MXFP4, such as gpt-oss as published": Refusal(
        _quantised("mxfp4"), "quantised already (MXFP4)", _TAKE,
    ),
    "AWQ": Refusal(_quantised("awq"), "quantised already (AWQ)", _TAKE),
    "GPTQ": Refusal(_quantised("gptq"), "quantised already (GPTQ)", _TAKE),
    "4 bits of bitsandbytes": Refusal(
        _quantised("bitsandbytes"), "quantised already (bitsandbytes)", _TAKE,
    ),
    "a quantised text part": Refusal(
        _edited(text_config={"quantization_config": {"quant_method": "awq"}}),
        "quantised already (AWQ)",
        _TAKE,
    ),
    "weights in eight bits that no configuration tells of": Refusal(
        _in_eight_bits, "quantised already (F8_E4M3)", _TAKE,
    ),
    "encoder-decoder models (T5)": Refusal(
        _edited(
            model_type="t5", architectures=["T5ForConditionalGeneration"], is_encoder_decoder=True
        ),
        "T5ForConditionalGeneration is an encoder-decoder model",
        _CAUSAL,
    ),
    "models for another task": Refusal(
        _edited(architectures=["LlamaForSequenceClassification"]),
        "LlamaForSequenceClassification is no causal language model",
        _CAUSAL,
    ),
    "models without text": Refusal(
        _edited(model_type="vit", architectures=["ViTModel"]),
        "no causal language model of the type vit",
        _CAUSAL,
    ),
    "types that transformers does not know": Refusal(
        _edited(model_type="novel", architectures=["NovelForCausalLM"]),
        "knows no models of the type novel",
        "take a base of a type that it knows, or a newer transformers",
    ),
    "a configuration of which no model can be made": Refusal(
        _edited(num_attention_heads=5), "no model can be made", "fetch the base again",
    ),
    "an adapter beside the weights": Refusal(
        lambda base: (base / "adapter_config.json").write_text("{}"),
        "an adapter lies beside the base's weights",
        "move it to a folder of its own",
    ),
    "missing weights": Refusal(
        _without_a_tensor,
        "1 of the model's tensors are not in its files, such as model.layers.1.mlp",
        "fetch the base again",
    ),
}  # fmt: skip
