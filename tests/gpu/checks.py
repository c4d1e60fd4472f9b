"""The checks themselves. Each runs in a process of its own (``python -m tests.gpu --check NAME``):
an error of a GPU makes all later work of its process fail."""

from __future__ import annotations

import gc
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.model.device import device_of, release_memory
from tests.gpu.bases import RECIPE, Setting, rows_of, train
from tests.gpu.finding import Skip

Figures = dict[str, Any]
ROOT = Path(__file__).parents[2]
#: Losses of the first steps may differ by so much between a bf16 and an fp32 base, as a share.
_BF16 = 0.02
#: Share by which the plan may miss a measured peak.
_PLAN = 0.1


def suite(setting: Setting) -> Figures:
    """The tests that load a base, on this device"""
    folders = ["tests/training/kernels/test_recompute.py"] if setting.tiny else [
        "tests/training", "tests/model", "tests/operators", "tests/evaluation", "tests/export",
    ]  # fmt: skip
    there = [folder for folder in folders if (ROOT / folder).exists()]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *there],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode:
        raise AssertionError(f"{last}: {done.stdout[-1500:]}")
    return {"outcome": last.strip("= ")}


def parity(setting: Setting) -> Figures:
    """Training on the CPU and on the device: losses of the first steps"""
    here = _short_training(setting)
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}
    there = _in_process(setting, "short", device="cpu", env=hidden)
    apart = max(
        abs(one - other) / max(abs(other), 1e-9)
        for one, other in zip(here["losses"], there["losses"], strict=True)
    )
    if not apart < _BF16:
        raise AssertionError(f"losses differ by {apart:.2%}: {here['losses']}, {there['losses']}")
    return {"largest_difference_of_losses": apart, "losses": here["losses"][-1]}


def four_bits(setting: Setting) -> Figures:
    """Training on the base in NF4: losses and memory beside the whole base"""
    whole = setting.load(setting.small)
    rows = rows_of(whole, 8, 96 if setting.tiny else 512)
    plain, size = train(whole, rows, _recipe(2)), _weights(whole)
    del whole
    _release()
    packed = setting.load(setting.small, load_4bit=True)
    quantised, small = train(packed, rows, _recipe(2)), _weights(packed)
    if not all(map(math.isfinite, quantised["losses"])):
        raise AssertionError(f"losses in 4 bits: {quantised['losses']}")
    return {
        "loss_whole": plain["losses"][-1], "loss_nf4": quantised["losses"][-1],
        "weights_mib_whole": size >> 20, "weights_mib_nf4": small >> 20,
        "tokens_per_s_whole": plain["tokens_per_s"], "tokens_per_s_nf4": quantised["tokens_per_s"],
    }  # fmt: skip


def packed_rows(setting: Setting) -> Figures:
    """Packed rows through one varlen kernel, against padded rows: losses and gradients"""
    import torch

    from sekft_engine.training.trainer.loss import token_losses, trained_token_logits

    base = setting.load(setting.small)
    rows = rows_of(base, 6, 64 if setting.tiny else 768)
    base.new_adapter("checked", RECIPE)
    weights, logits = base.trainable("checked"), trained_token_logits(base.model)
    if not logits.packs:
        raise AssertionError("packed rows were found to differ from the model's own logits")
    found: dict[bool, tuple[Any, list[Any], float]] = {}
    for packs in (True, False, True, False):  # the first two warm up
        logits.packs = packs
        began = time.perf_counter()
        with logits.kernels:
            losses, owners = token_losses(logits, rows)
            gradients = torch.autograd.grad(losses.sum(), weights)
        device_of(base.device).synchronize()
        seconds = time.perf_counter() - began
        by_row = torch.zeros(len(rows), device=base.device).index_add_(
            0, owners.to(base.device), losses.detach()
        )
        found[packs] = by_row, list(gradients), seconds
    (one, own, fast), (other, theirs, slow) = found[True], found[False]
    apart = float(((one - other).abs() / other.abs()).max())
    turned = min(
        float(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))
        for a, b in zip(own, theirs, strict=True)
        if float(b.norm()) > 1e-6
    )
    if not (apart < _BF16 and turned > 0.98):
        raise AssertionError(
            f"losses differ by {apart:.2%}, a gradient has a cosine of {turned:.3f}"
        )
    return {"largest_difference_of_losses": apart, "least_cosine_of_gradients": turned,
            "speed_ratio": slow / fast}  # fmt: skip


def compiled(setting: Setting) -> Figures:
    """Training with ``--compile always`` beside plain torch: losses and speed"""
    base = setting.load(setting.small)
    steps = 3 if setting.tiny else 12
    rows = rows_of(base, 8 * steps, 64 if setting.tiny else 512)
    plain = train(base, rows, _recipe(steps))
    both = train(base, rows, _recipe(steps, compile="always"))
    apart = abs(plain["losses"][-1] - both["losses"][-1]) / plain["losses"][-1]
    if not apart < _BF16:
        raise AssertionError(f"losses differ by {apart:.2%}")
    return {
        "tokens_per_s_plain": plain["tokens_per_s"], "tokens_per_s_compiled": both["tokens_per_s"],
        "gain": both["tokens_per_s"] / plain["tokens_per_s"], "difference_of_losses": apart,
    }  # fmt: skip


def decoding(setting: Setting) -> Figures:
    """Decoding of many rows at once: tokens per second"""
    from sekft_engine.model.kernels.packed_linear import PackedLinears
    from sekft_engine.operators.decode import BatchedDecoder

    base = setting.load(setting.small)
    base.activate(None)
    room, figures = (8 if setting.tiny else 128), {}
    for rows in (1, 4) if setting.tiny else (1, 16, 64):
        decoder = BatchedDecoder(
            base.model,
            stop_ids=sorted(base.tokenizer.end_of_turn_ids),
            kernels=PackedLinears(base.model),
        )
        names = [f"row-{number}" for number in range(rows)]
        prompts = rows_of(base, rows, 64)
        for name in names:
            decoder.add(name)
        device_of(base.device).synchronize()
        began = time.perf_counter()
        turns = decoder.turns(
            {name: row.ids.tolist() for name, row in zip(names, prompts, strict=True)},
            dict.fromkeys(names, room),
        )
        device_of(base.device).synchronize()
        made = sum(len(turn.ids) for turn in turns.values())
        figures[f"tokens_per_s_of_{rows}_rows"] = made / (time.perf_counter() - began)
    return figures


def swapping(setting: Setting) -> Figures:
    """Change of adapters on a random 7B base, in NF4 and whole: milliseconds"""
    figures: Figures = {}
    for name, load_4bit in (("nf4", True), ("whole", False)):
        base = setting.load(setting.large, load_4bit=load_4bit)
        base.prove()
        for adapter in ("one", "other"):
            base.new_adapter(adapter, RECIPE)
        taken = []
        for number in range(10):
            began = time.perf_counter()
            base.activate(("one", "other")[number % 2])
            device_of(base.device).synchronize()
            taken.append(1000 * (time.perf_counter() - began))
        base.prove()
        figures |= {f"swap_ms_{name}": statistics.median(taken)}
        figures |= {f"weights_mib_{name}": _weights(base) >> 20}
        del base
        _release()
    return figures


def train_benchmark(setting: Setting) -> Figures:
    """``benchmarks.train`` against TRL"""
    words = ["--base", str(setting.small), "--lever-steps", "0"]
    if setting.tiny:
        words += ["--batch", "2", "--micro-batch", "2", "--steps", "2", "--choose-steps", "2"]
    found = _module("benchmarks.train", *words)
    return {
        "tokens_per_s": found["sekft"]["tokens_per_s"], "ratio_trl": found.get("ratio_trl"),
        "share_of_bound": found["share_of_bound"], "peak_mib": found["peak_mib"],
    }  # fmt: skip


def large_benchmark(setting: Setting) -> Figures:
    """``benchmarks.train`` on a random 7B base in NF4"""
    if setting.tiny:
        raise Skip("a 7B base is no toy")
    found = _module("benchmarks.train", "--gpu", "--no-trl", "--base", setting.base)
    return {
        "tokens_per_s": found["sekft"]["tokens_per_s"], "share_of_bound": found["share_of_bound"],
        "peak_mib": found["peak_mib"], "weights_mib": found["weights_mib"],
    }  # fmt: skip


def eval_benchmark(setting: Setting) -> Figures:
    """``benchmarks.eval`` against transformers"""
    from sekft_engine.worlds import probe

    if not any(backend.ok for backend in probe()):
        raise Skip("no sandbox works here: sekft doctor")
    words = ["--base", str(setting.small)]
    words += ["--n", "2", "--step-cap", "1", "--turn-tokens", "4"] if setting.tiny else []
    found = _module("benchmarks.eval", *words)
    return {
        "episodes_per_minute": found["loops"]["sekft"]["episodes_per_minute"],
        **{name: value for name, value in found.items() if name.startswith("ratio_")},
    }


def plan(setting: Setting) -> Figures:
    """``sekft plan`` beside measured peaks of steps"""
    from tests.gpu.planned import compared

    figures = compared(setting)
    worst = max(abs(item["error"]) for item in figures.values())
    if not worst < _PLAN:
        raise AssertionError(f"the plan misses a peak by {worst:.1%}: {json.dumps(figures)}")
    return {name: item["error"] for name, item in figures.items()}


#: In the order of their worth: what is wrong with a device is seen in the first ones.
CHECKS: Mapping[str, Callable[[Setting], Figures]] = {
    "parity": parity,
    "packed_rows": packed_rows,
    "four_bits": four_bits,
    "plan": plan,
    "compiled": compiled,
    "decoding": decoding,
    "swapping": swapping,
    "train_benchmark": train_benchmark,
    "large_benchmark": large_benchmark,
    "eval_benchmark": eval_benchmark,
    "suite": suite,
}


def _short_training(setting: Setting) -> Figures:
    base = setting.load(setting.small)
    return train(base, rows_of(base, 24, 48 if setting.tiny else 256), _recipe(3))


#: Parts of checks that run on another device than the rest.
PARTS: Mapping[str, Callable[[Setting], Figures]] = {"short": _short_training}


def _recipe(steps: int, **changes: Any) -> Any:
    return msgspec.structs.replace(RECIPE, max_steps=steps, **changes)


def _weights(base: Any) -> int:
    """Bytes of a base's weights, without those of the tables of 4-bit weights."""
    return int(base.memory())


def _release() -> None:
    gc.collect()
    release_memory()


def _module(module: str, *words: str) -> Figures:
    """The JSON document of a benchmark."""
    return _document([sys.executable, "-m", module, *words, "--json"])


def _in_process(setting: Setting, name: str, *, device: str, env: Mapping[str, str]) -> Figures:
    words = ["--check", name, "--device", device, "--base", setting.base]
    words += ["--place", str(setting.place), *(["--tiny"] if setting.tiny else [])]
    return _document([sys.executable, "-m", "tests.gpu", *words], env)


def _document(command: list[str], env: Mapping[str, str] | None = None) -> Figures:
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command[2:])}: {done.stderr.strip()[-800:]}")
    found = json.loads(done.stdout[done.stdout.index("{") :])
    assert isinstance(found, dict)
    return found
