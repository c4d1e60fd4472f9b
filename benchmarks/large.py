"""A base of 7B shape with random weights, in NF4: how fast it trains, and how fast adapters change.

Its speed is that of a real one; what it learns is nothing. Part of benchmarks/train.py (--gpu);
TRL, with a second such base beside it, is left out with --no-trl.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import train
from benchmarks.levers import RECIPE
from sekft_engine.model.resident import ResidentBase

#: Width, width within, layers, heads and key heads of Mistral 7B, and of a toy that shows the way.
SHAPES = {"7b": (4096, 14336, 32, 32, 8), "toy": (64, 128, 2, 4, 2)}
SWAPS = 10


def make_base(folder: Path, shape: str, tokenizer: Path) -> Path:
    """Save a random base of ``shape`` with the tokenizer of another."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    width, within, layers, heads, keys = SHAPES[shape]
    like = AutoConfig.from_pretrained(str(tokenizer))
    config = AutoConfig.for_model(
        "mistral",
        vocab_size=like.vocab_size,
        hidden_size=width,
        intermediate_size=within,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=keys,
        sliding_window=None,
        bos_token_id=like.bos_token_id,
        eos_token_id=like.eos_token_id,
        pad_token_id=like.pad_token_id,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tokenizer / name, folder / name)
    return folder


def measure(options: argparse.Namespace, shape: str) -> dict[str, Any]:
    """What ``train.compare`` tells of such a base, without its levers; the MiB of its weights, and
    the ms to change adapters."""
    with tempfile.TemporaryDirectory() as place:
        like = ResidentBase.load(options.base).path
        base = ResidentBase.load(make_base(Path(place) / shape, shape, like), load_4bit=True)
        weights = base.memory() >> 20
        few = argparse.Namespace(**{**vars(options), "lever_steps": 0})
        result = train.compare(base, few)
        swap = round(_swap_ms(base), 2)
    return result | {"base": f"{shape}, random", "weights_mib": weights, "swap_ms": swap}


def _swap_ms(base: ResidentBase) -> float:
    """The median time to change to an adapter that is on the base."""
    import torch

    for name in ("one", "other"):
        base.new_adapter(name, RECIPE)
    taken = []
    for number in range(SWAPS):
        began = time.perf_counter()
        base.activate(("one", "other")[number % 2])
        if base.device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)
