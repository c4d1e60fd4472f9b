"""Real models for the tests."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sekft_engine.bases import add_base, cache_root

if TYPE_CHECKING:
    from sekft_engine.model.resident import ResidentBase

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def smollm2_folder() -> Path:
    """The real base as `sekft base add` makes it, in the cache that all workspaces share."""
    return Path(add_base("smollm2-135m", cache_root()).base.path)


def tiny_llama(**changes: Any) -> Any:
    """The configuration of a Llama of 2 layers and width 64, with ``changes``."""
    from transformers import LlamaConfig

    sizes = {
        "vocab_size": 49152,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
    }
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    return LlamaConfig(**{**sizes, **tokens, "tie_word_embeddings": True, **changes})


def make_tiny_base(folder: Path, tokenizer_from: Path) -> Path:
    """Save a tiny Llama with random weights to ``folder``: real code paths in milliseconds."""
    import torch
    from transformers import LlamaForCausalLM

    torch.manual_seed(0)
    LlamaForCausalLM(tiny_llama()).save_pretrained(folder)
    for name in TOKENIZER_FILES:
        shutil.copy(tokenizer_from / name, folder / name)
    return folder


#: Families that adapters are attached to in the tests: plain, with tied embeddings, with biases,
#: and with weights that lie the other way round.
FAMILIES = ("llama", "tied", "qwen2", "gpt2")
#: The vocabulary of :func:`family_model`.
SMALL_VOCABULARY = 96


def family_model(family: str) -> Any:
    """A model of two layers with seeded random weights and a vocabulary of 96, in memory."""
    import torch
    from transformers import AutoModelForCausalLM, GPT2Config, Qwen2Config

    sizes = {"vocab_size": SMALL_VOCABULARY, "hidden_size": 32, "intermediate_size": 48}
    if family == "gpt2":
        config = GPT2Config(
            vocab_size=SMALL_VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64
        )
    elif family == "qwen2":
        config = Qwen2Config(
            **sizes, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=64, tie_word_embeddings=False,
        )  # fmt: skip
    else:
        config = tiny_llama(**sizes, tie_word_embeddings=family == "tied")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    for name, tensor in model.named_parameters():  # biases begin as zeros, and must be seen
        if name.endswith("bias"):
            torch.nn.init.normal_(tensor, std=0.1)
    model.requires_grad_(requires_grad=False)
    return model.eval()


def weights_digest(base: ResidentBase) -> str:
    """SHA-256 over every weight of the base as it lies in memory, adapters left out."""
    import torch

    from sekft_engine.model.attaching.layers import is_adapter_weight

    total = hashlib.sha256()
    for name, tensor in sorted(base.model.state_dict().items()):
        if not is_adapter_weight(name):
            total.update(f"{name.replace('.base_layer', '')} {tuple(tensor.shape)}".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            total.update(flat.view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
