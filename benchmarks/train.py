"""Training speed: sekft against TRL's SFTTrainer, and against what the machine can do.

Both trainers take the same base, the same fresh adapter, the same rows in the same order, one batch
per step, the same rate, dtype and threads, and no dropout; the losses of every step are compared.
TRL gets rows that are rendered, tokenised and masked already, and its cheapest settings for them:
no gradient checkpointing, no evaluation, no saving, no logging beyond the loss.

The bound is the rate of this machine's matrix products by the quicker of its kernels, at 4 N
operations per token of a whole row (forward, and back to the activations; the weights themselves
are frozen). N counts the layers that every token passes, and the head for trained tokens alone.
Torch's own ``linear`` gives a second, lower bound. What rows begin with in common is computed once
and counted for each, as a person would count it.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import numpy as np

from sekft_engine.adapters import AdapterMeta
from sekft_engine.base import ResidentBase
from sekft_engine.factory import make
from sekft_engine.loading import load_model
from sekft_engine.recipe import Recipe
from sekft_engine.sft import loop, loss, short_attention
from sekft_engine.sft.bound import measure_bound, most_tokens_per_s
from sekft_engine.sft.data import Data, TrainRow, load_data
from sekft_engine.sft.loop import Trainer
from sekft_engine.sft.loss import Selected, selected_logits
from sekft_engine.sft.memory import free_memory
from sekft_engine.sft.packing import Batch, pack

RECIPE = Recipe(
    lr=1e-3, schedule="constant", warmup=0, dropout=0, epochs=1, heldout=0, token_losses=0, clip=1.0
)
#: Rows of the products that are timed.
TOKENS = 512
#: Tokens that a row has after its last trained one, where they are not cut.
TAIL = 32


class Run(msgspec.Struct):
    """Tokens of whole rows (what a person has to train on) per second, and the losses of the steps.

    ``seconds`` are those of the steps but the first, which warms up.
    """

    tokens_per_s: float
    trained_per_s: float
    seconds: float
    losses: list[float]


# --- the data -----------------------------------------------------------------------------------


def rows_of(base: ResidentBase, count: int) -> list[TrainRow]:
    """Rows of recorded sessions."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "made", train=count, holdout=0, seed=0)
        path = str(Path(folder) / "made" / "trajectories")
        return list(load_data(path, "", base.tokenizer, RECIPE).train[:count])


# --- sekft --------------------------------------------------------------------------------------


def sekft(
    base: ResidentBase, rows: list[TrainRow], options: argparse.Namespace, start: Path
) -> Run:
    """The product's own loop, from the adapter in ``start``."""
    recipe = msgspec.structs.replace(
        RECIPE,
        batch=options.batch,
        micro_batch=options.micro_batch,
        recompute=options.recompute,
    )
    base.new_adapter("bench", recipe)
    try:
        if not start.exists():
            base.save_adapter("bench", start, AdapterMeta())
        data = Data(train=tuple(rows), heldout=(), dropped={}, digest="", order="")
        trainer = Trainer(base, "bench", data, recipe)
        trainer.plan = [
            list(range(at, at + options.batch)) for at in range(0, len(rows), options.batch)
        ]
        steps = list(trainer.steps())
        trainer.close()
    finally:
        base.drop("bench")
    timed = steps[1:]
    seconds = sum(step.seconds for step in timed)
    return Run(
        tokens_per_s=sum(step.tokens for step in timed) / seconds,
        trained_per_s=sum(step.trained_tokens for step in timed) / seconds,
        seconds=seconds,
        losses=[step.loss for step in steps],
    )


# --- TRL ----------------------------------------------------------------------------------------


def trl(base: ResidentBase, rows: list[TrainRow], options: argparse.Namespace, start: Path) -> Run:
    """TRL's SFTTrainer on the same rows, from the same adapter."""
    import torch
    from datasets import Dataset
    from peft import PeftModel
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class InOrder(SFTTrainer):  # type: ignore[misc]
        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    ends: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    model = load_model(base.path, load_4bit=base.quantised)
    model = PeftModel.from_pretrained(model, str(start), is_trainable=True)
    columns: dict[str, list[Any]] = {"input_ids": [], "labels": []}
    for row in rows:
        labels = np.full(len(row.ids), -100)
        labels[row.at + 1] = row.ids[row.at + 1]
        columns["input_ids"].append(row.ids.tolist())
        columns["labels"].append(labels.tolist())
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=options.micro_batch,
            gradient_accumulation_steps=options.batch // options.micro_batch,
            num_train_epochs=1,
            learning_rate=RECIPE.lr,
            lr_scheduler_type="constant",
            max_grad_norm=RECIPE.clip,
            weight_decay=0.0,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            gradient_checkpointing=False,
            max_length=None,
            bf16=False,
            fp16=False,
            use_cpu=base.device.type == "cpu",
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
            seed=0,
        )
        trainer = InOrder(
            model=model,
            args=config,
            train_dataset=Dataset.from_dict(columns),
            processing_class=AutoTokenizer.from_pretrained(str(base.path), local_files_only=True),
            callbacks=[Clock()],
        )
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    seconds = ends[-1] - ends[0]
    timed = rows[options.batch :]
    return Run(
        tokens_per_s=sum(map(len, timed)) / seconds,
        trained_per_s=sum(row.trained for row in timed) / seconds,
        seconds=seconds,
        losses=losses,
    )


# --- what the machine can do --------------------------------------------------------------------


def matmul_rate(base: ResidentBase, tokens: int) -> float:
    """Floating-point operations per second of torch's own ``linear`` on the shapes of one of the
    base's blocks; the best of several rounds."""
    import torch

    layers = [
        (one.in_features, one.out_features)
        for name, one in base.model.named_modules()
        if isinstance(one, torch.nn.Linear) and ".layers.0." in name
    ]
    dtype = torch.bfloat16 if base.device.type == "cuda" else torch.float32
    pairs = [(torch.randn(tokens, a), torch.randn(b, a)) for a, b in layers]
    pairs = [(one.to(base.device, dtype), two.to(base.device, dtype)) for one, two in pairs]
    operations = sum(2 * tokens * a * b for a, b in layers)
    quickest = float("inf")
    with torch.no_grad():
        for _ in range(20):
            began = time.perf_counter()
            for values, weight in pairs:
                torch.nn.functional.linear(values, weight)
            if base.device.type == "cuda":
                torch.cuda.synchronize()
            quickest = min(quickest, time.perf_counter() - began)
    return operations / quickest


# --- each lever switched off --------------------------------------------------------------------


def levers(
    base: ResidentBase, rows: list[TrainRow], options: argparse.Namespace, start: Path
) -> Iterator[tuple[str, Run]]:
    """The product's loop with one saving at a time given up."""

    def everywhere(self: Selected, batch: Batch) -> Any:
        found = self._ask(self.model, batch).logits
        chosen = found[torch.from_numpy(batch.rows), torch.from_numpy(batch.columns)]
        targets = torch.from_numpy(batch.targets)
        return torch.nn.functional.cross_entropy(chosen.float(), targets, reduction="none")

    import torch

    few = rows[: options.batch * options.lever_steps]
    ends = [
        msgspec.structs.replace(row, ids=np.concatenate([row.ids, row.ids[:TAIL]])) for row in few
    ]
    longest = max(map(len, few))
    filler = np.full(longest, few[0].ids[0], dtype=few[0].ids.dtype)
    padded = [
        msgspec.structs.replace(row, ids=np.concatenate([row.ids, filler[len(row) :]]))
        for row in few
    ]
    one = argparse.Namespace(**{**vars(options), "micro_batch": 1})
    again = argparse.Namespace(**{**vars(options), "recompute": "always"})

    def measured(
        given: list[TrainRow] = few,
        settings: argparse.Namespace = options,
        changes: Sequence[tuple[Any, str, Any]] = (),
    ) -> Run:
        with ExitStack() as stack:
            for owner, name, value in changes:
                stack.enter_context(mock.patch.object(owner, name, value))
            run = sekft(base, given, settings, start)
        run.tokens_per_s = sum(map(len, few[options.batch :])) / run.seconds
        return run

    def side_by_side(model: Any) -> Selected:
        selected = selected_logits(model)
        selected.packs = False
        return selected

    yield "none", measured()
    yield "rows padded, not packed", measured(changes=[(loop, "selected_logits", side_by_side)])
    yield (
        "beginnings computed again",
        measured(changes=[(loss, "pack", partial(pack, least_shared=1 << 30))]),
    )
    yield (
        "oneDNN and the adapter's backward",
        measured(changes=[(loss, "fused_layers", nullcontexts)]),
    )
    yield "attention by blocks", measured(changes=[(short_attention, "LONGEST", 0)])
    yield "logits at every token", measured(changes=[(Selected, "losses", everywhere)])
    yield f"{TAIL} tokens after the last trained", measured(ends)
    yield "all rows as long as the longest", measured(padded)
    yield "one row per pass", measured(settings=one)
    yield "activations computed again", measured(settings=again)


def nullcontexts(_model: Any) -> Any:
    return nullcontext()


# --- the report ---------------------------------------------------------------------------------


def measure(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    base = ResidentBase.load(options.base, load_4bit=options.four_bit)
    rows = rows_of(base, options.batch * options.steps)
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "adapter"
        ours, ours_peak = with_peak(base, lambda: sekft(base, rows, options, start))
        off = {name: run.tokens_per_s for name, run in levers(base, rows, options, start)}
        theirs, their_peak = with_peak(base, lambda: trl(base, rows, options, start))
        their_peak -= base.memory() >> 20  # they load the base anew
    timed = rows[options.batch :]
    tokens, trained = sum(map(len, timed)), sum(row.trained for row in timed)
    best = measure_bound(base)
    most, plain = (
        most_tokens_per_s(rate, best.layers, best.head, tokens, trained)
        for rate in (best.rate, matmul_rate(base, TOKENS))
    )
    difference = max(abs(a - b) for a, b in zip(ours.losses, theirs.losses, strict=True))
    return {
        "base": base.name,
        "threads": torch.get_num_threads(),
        "batch": options.batch,
        "micro_batch": options.micro_batch,
        "steps": options.steps,
        "sekft": msgspec.to_builtins(ours),
        "trl": msgspec.to_builtins(theirs),
        "ratio_trl": round(ours.tokens_per_s / theirs.tokens_per_s, 2),
        "loss_difference": difference,
        "matmul_gflops": round(best.rate / 1e9, 1),
        "bound_tokens_per_s": round(most, 1),
        "share_of_bound": round(ours.tokens_per_s / most, 3),
        "share_of_torch_bound": round(ours.tokens_per_s / plain, 3),
        "levers": {
            name: {"tokens_per_s": round(speed, 1), "share": round(speed / off["none"], 3)}
            for name, speed in off.items()
        },
        "peak_mib": {"sekft": ours_peak, "trl": their_peak},
    }


def with_peak(base: ResidentBase, work: Callable[[], Run]) -> tuple[Run, int]:
    """What ``work`` gives, and how many MiB it took at most beyond what was there."""
    import torch

    free_memory()
    if base.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(base.device)
        before = torch.cuda.memory_allocated(base.device)
        found = work()
        return found, (torch.cuda.max_memory_allocated(base.device) - before) >> 20
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    resident = _status("VmRSS")
    found = work()
    return found, (_status("VmHWM") - resident) >> 10


def _status(key: str) -> int:
    """A line of this process's status, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--steps", type=int, default=6, help="optimiser steps; the first warms up")
    parser.add_argument("--lever-steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--micro-batch", type=int, default=4)
    parser.add_argument("--recompute", choices=("never", "always"), default="never")
    parser.add_argument("--threads", type=int, default=0, help="0 = as torch chooses")
    parser.add_argument("--four-bit", action="store_true", help="the base in NF4")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--gpu", action="store_true", help="a random 7B base in NF4; python -m benchmarks.train"
    )
    options = parser.parse_args()
    if options.gpu:
        from benchmarks import large

        print(json.dumps(large.measure(options, "7b")))
        return
    result = measure(options)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{'':10}{'tokens/s':>10}{'trained/s':>11}")
    for name in ("sekft", "trl"):
        run = result[name]
        print(f"{name:10}{run['tokens_per_s']:>10.1f}{run['trained_per_s']:>11.1f}")
    print(
        f"{'bound':10}{result['bound_tokens_per_s']:>10.1f}   ({result['matmul_gflops']} GFLOP/s)"
    )
    print(f"ratio to TRL {result['ratio_trl']}, share of the bound {result['share_of_bound']}")
    print(f"share of the bound with torch's own products {result['share_of_torch_bound']}")
    print(f"peak memory {result['peak_mib']['sekft']} MiB, TRL {result['peak_mib']['trl']} MiB")
    print(f"losses differ by at most {result['loss_difference']:.2g}")
    print("\nwith one saving given up:")
    for name, lever in result["levers"].items():
        print(f"  {name:24}{lever['tokens_per_s']:>9.1f}{lever['share']:>8.2f}")


if __name__ == "__main__":
    main()
