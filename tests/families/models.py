"""The families of models that are tried: a tiny random model of the real class of each.

What stands here of a family is what the tests of this folder show of it, and what the table in
``docs/bases.md`` says.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from tests.models import TOKENIZER_FILES

WINDOW = 16
#: The size of the vocabulary: small ones make quick tests.
VOCABULARY = 512
_SLIDING, _FULL, _LINEAR = "sliding_attention", "full_attention", "linear_attention"
_WINDOWED = {"sliding_window": WINDOW}
_MIXED = {**_WINDOWED, "layer_types": [_SLIDING, _FULL]}
_VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
_EXPERTS = {"num_experts_per_tok": 2}
_DELTA = {
    "layer_types": [_LINEAR, _FULL],
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}
_MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8}
#: What every family has in common: small, and for the tokenizer of :func:`small_tokenizer`.
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 2048,
    "pad_token_id": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


class Family(NamedTuple):
    """A family of models.

    Attributes:
        title: its name, as in the table; the models that people know it by.
        model: the class of transformers, without ``ForCausalLM`` where it ends so.
        fields: of its configuration, beside :data:`SIZES`.
        rows: how episodes are decoded: many in each pass, or one by one.
        packs: whether rows of a training step are packed into one sequence, else padded.
        experts: whether it has experts that no adapter reaches.
        vision: the fields of a vision tower around the text model.
        outer: further fields of the configuration around both.
    """

    title: str
    model: str
    fields: dict[str, Any] = {}
    rows: str = "together"
    packs: bool = True
    experts: bool = False
    vision: dict[str, Any] | None = None
    outer: dict[str, Any] = {}


FAMILIES: dict[str, Family] = {
    "llama": Family("Llama 2 and 3, SmolLM2, Mistral 7B v0.3", "Llama"),
    "mistral": Family("Mistral with a sliding window (7B v0.1)", "Mistral", _WINDOWED),
    "mistral3": Family(
        "Mistral Small 3.1 and later, Devstral (with vision)",
        "Mistral3ForConditionalGeneration",
        {"model_type": "mistral"},
        vision={**_VISION, "model_type": "pixtral", "head_dim": 8},
        outer={"image_token_index": 9, "tie_word_embeddings": False},
    ),
    "ministral3": Family(
        "Ministral 3 (with vision)",
        "Mistral3ForConditionalGeneration",
        {"model_type": "ministral3"},
        vision={**_VISION, "model_type": "pixtral", "head_dim": 8},
        outer={"image_token_index": 9, "tie_word_embeddings": False},
    ),
    "qwen2": Family("Qwen 2 and 2.5", "Qwen2"),
    "qwen3": Family("Qwen 3", "Qwen3"),
    "qwen3_moe": Family(
        "Qwen 3 with experts (30B-A3B)",
        "Qwen3Moe",
        {**_EXPERTS, "num_experts": 4, "moe_intermediate_size": 16},
        experts=True,
    ),
    "qwen3_next": Family(
        "Qwen3-Next",
        "Qwen3Next",
        {
            **_DELTA,
            **_EXPERTS,
            "num_experts": 4,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 16,
        },
        rows="one by one",
        packs=False,
        experts=True,
    ),
    "qwen3_5_text": Family(
        "Qwen 3.5, text alone", "Qwen3_5", _DELTA, rows="one by one", packs=False
    ),
    "qwen3_5": Family(
        "Qwen 3.5 (with vision)",
        "Qwen3_5ForConditionalGeneration",
        {**_DELTA, "model_type": "qwen3_5_text"},
        rows="one by one",
        packs=False,
        vision={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_heads": 2,
            "patch_size": 14,
            "out_hidden_size": 32,
            "num_position_embeddings": 16,
        },
        outer={"image_token_id": 9, "video_token_id": 10},
    ),
    "gemma2": Family("Gemma 2", "Gemma2", _WINDOWED, packs=False),
    "gemma3_text": Family("Gemma 3, text alone (270M, 1B)", "Gemma3", _MIXED),
    "gemma3": Family(
        "Gemma 3 (with vision, from 4B)",
        "Gemma3ForConditionalGeneration",
        {**_MIXED, "model_type": "gemma3_text"},
        vision=_VISION,
        outer={"mm_tokens_per_image": 4, "image_token_index": 9},
    ),
    "gemma4_text": Family(
        "Gemma 4, text alone",
        "Gemma4",
        {
            **_WINDOWED,
            "num_hidden_layers": 4,
            "layer_types": [_SLIDING, _FULL] * 2,
            "num_kv_shared_layers": 2,
            "vocab_size_per_layer_input": VOCABULARY,
            "hidden_size_per_layer_input": 8,
            "final_logit_softcapping": 30.0,
        },
    ),
    "gemma4": Family(
        "Gemma 4 (with vision)",
        "Gemma4ForConditionalGeneration",
        {
            **_MIXED,
            "model_type": "gemma4_text",
            "vocab_size_per_layer_input": VOCABULARY,
            "hidden_size_per_layer_input": 8,
            "final_logit_softcapping": 30.0,
        },
        vision={**_VISION, "num_key_value_heads": 2, "head_dim": 8},
        outer={
            "audio_config": None,
            "image_token_id": 9,
            "video_token_id": 10,
            "audio_token_id": 11,
        },
    ),
    "gpt_oss": Family(
        "gpt-oss, in bf16",
        "GptOss",
        {**_WINDOWED, **_EXPERTS, "num_local_experts": 4},
        packs=False,
        experts=True,
    ),
    "phi3": Family("Phi-3, Phi-4-mini", "Phi3", _WINDOWED),
    "smollm3": Family("SmolLM3", "SmolLM3"),
    "olmo2": Family("Olmo 2", "Olmo2"),
    "olmo3": Family("Olmo 3", "Olmo3", {**_WINDOWED, "layer_types": [_SLIDING, _FULL]}),
    "lfm2": Family(
        "LFM2",
        "Lfm2",
        {"layer_types": ["conv", _FULL], "block_multiple_of": 8},
        rows="one by one",
        packs=False,
    ),
    "granite": Family(
        "Granite 3", "Granite", {"residual_multiplier": 0.5, "attention_multiplier": 0.2}
    ),
    "granitemoehybrid": Family(
        "Granite 4 (h: Mamba and experts)",
        "GraniteMoeHybrid",
        {
            **_MAMBA,
            **_EXPERTS,
            "layer_types": ["mamba", "attention"],
            "num_local_experts": 4,
            "shared_intermediate_size": 32,
        },
        rows="one by one",
        packs=False,
        experts=True,
    ),
    "granite4": Family(
        "Granite 4 without Mamba",
        "GraniteMoeHybrid",
        {
            **_MAMBA,
            "layer_types": ["attention"] * 2,
            "num_local_experts": 0,
            "num_experts_per_tok": 0,
            "shared_intermediate_size": 32,
        },
    ),
    "mixtral": Family("Mixtral", "Mixtral", {**_EXPERTS, "num_local_experts": 4}, experts=True),
    "cohere2": Family("Command R7B", "Cohere2", {**_WINDOWED, "layer_types": [_SLIDING, _FULL]}),
    "falcon_h1": Family(
        "Falcon-H1", "FalconH1", {**_MAMBA, "mamba_d_ssm": 64}, rows="one by one", packs=False
    ),
    "nemotron_h": Family(
        "Nemotron-H",
        "NemotronH",
        {
            "num_hidden_layers": 3,
            "layers_block_type": ["mamba", "attention", "mlp"],
            "mamba_num_heads": 8,
            "mamba_head_dim": 8,
            "ssm_state_size": 8,
            "n_groups": 1,
        },
        rows="one by one",
        packs=False,
    ),
    "mamba": Family("Mamba", "Mamba", {"state_size": 4}, rows="one by one", packs=False),
}


def config_of(name: str, **changes: Any) -> Any:
    """The configuration of a family's tiny model."""
    import transformers

    family = FAMILIES[name]
    fields = {**SIZES, **family.fields}
    kind = getattr(transformers, class_of(name)).config_class
    if family.vision is None:
        return kind(**{**fields, **changes})
    parts = {"text_config": {**fields, **changes}, "vision_config": family.vision}
    return kind(**parts, **family.outer)


def class_of(name: str) -> str:
    """The name of the class of transformers that a family's models are of."""
    model = FAMILIES[name].model
    return model if "For" in model else f"{model}ForCausalLM"


def model_of(name: str, **changes: Any) -> Any:
    """A family's tiny model, its random weights large enough for attention to matter."""
    import torch
    import transformers

    torch.manual_seed(0)
    model = getattr(transformers, class_of(name))._from_config(config_of(name, **changes)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.1)
    return model


def small_tokenizer(smollm2: Path, folder: Path) -> Path:
    """The tokenizer of SmolLM2 with its first tokens alone: control tokens, bytes, first merges."""
    folder.mkdir()
    for file in TOKENIZER_FILES:
        shutil.copy(smollm2 / file, folder / file)
    path = folder / "tokenizer.json"
    spec = json.loads(path.read_text(encoding="utf-8"))
    model = spec["model"]
    vocabulary = {word: number for word, number in model["vocab"].items() if number < VOCABULARY}
    model["vocab"] = vocabulary
    model["merges"] = [pair for pair in model["merges"] if "".join(pair) in vocabulary]
    path.write_text(json.dumps(spec), encoding="utf-8")
    return folder


def save_base(name: str, folder: Path, tokenizer_from: Path, **changes: Any) -> Path:
    """A family's tiny model as a base in ``folder``."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    model_of(name, **changes).save_pretrained(folder)
    logging.enable_progress_bar()
    for file in TOKENIZER_FILES:
        shutil.copy(tokenizer_from / file, folder / file)
    return folder
