"""Real models for the tests."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sekft_engine.bases import add_base, cache_root

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
