"""A base of 7B shape with random weights, in NF4: how fast it trains, and how fast adapters change.

Its speed is that of a real one; what it learns is nothing. Part of benchmarks/train.py (--gpu).
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
from sekft_engine.base import ResidentBase
from sekft_engine.sft.bound import measure_bound, most_tokens_per_s

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
    """Tokens per second and share of the bound, memory in MiB, and ms to change adapters."""
    with tempfile.TemporaryDirectory() as place:
        like = ResidentBase.load(options.base).path
        base = ResidentBase.load(make_base(Path(place) / shape, shape, like), load_4bit=True)
        weights = base.memory() >> 20
        rows = train.rows_of(base, options.batch * options.steps)
        start = Path(place) / "adapter"
        run, peak = train.with_peak(base, lambda: train.sekft(base, rows, options, start))
        bound = measure_bound(base)
        tokens, trained = sum(map(len, rows)), sum(row.trained for row in rows)
        most = most_tokens_per_s(bound.rate, bound.layers, bound.head, tokens, trained)
        return {
            "base": f"{shape}, random, NF4",
            "device": str(base.device),
            "tokens_per_s": round(run.tokens_per_s, 1),
            "share_of_bound": round(run.tokens_per_s / most, 3) if most else None,
            "weights_mib": weights,
            "peak_mib": peak,
            "swap_ms": round(_swap_ms(base), 2),
        }


def _swap_ms(base: ResidentBase) -> float:
    """The median time to change to an adapter that is on the base."""
    import torch

    for name in ("one", "other"):
        base.new_adapter(name, train.RECIPE)
    taken = []
    for number in range(SWAPS):
        began = time.perf_counter()
        base.activate(("one", "other")[number % 2])
        if base.device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)
