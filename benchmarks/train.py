"""Training speed: sekft against TRL's SFTTrainer, and against what the machine can do.

Both trainers take the same base, the same fresh adapter, the same rows in the same order, one batch
per step, the same rate, dtype and threads, and no dropout; the losses of every step are compared.
TRL gets rows that are rendered, tokenised and masked already, and its cheapest settings for them:
no gradient checkpointing, no evaluation, no saving, no logging beyond the loss.

The bound is the rate of this machine's matrix products on the base's own shapes, at 4 N operations
per token (forward, and backward to the activations; the weights themselves are frozen). N counts
the layers that every token passes, and the head for trained tokens alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from sekft_engine.adapters import AdapterMeta
from sekft_engine.base import ResidentBase
from sekft_engine.factory import make
from sekft_engine.recipe import Recipe
from sekft_engine.sft import loop
from sekft_engine.sft.data import Data, TrainRow, load_data
from sekft_engine.sft.loop import Trainer

RECIPE = Recipe(
    lr=1e-3, schedule="constant", warmup=0, dropout=0, epochs=1, heldout=0, token_losses=0, clip=1.0
)


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
    recipe = msgspec.structs.replace(RECIPE, batch=options.batch, micro_batch=options.micro_batch)
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
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class InOrder(SFTTrainer):  # type: ignore[misc]
        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    ends: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    model = AutoModelForCausalLM.from_pretrained(str(base.path), dtype=base.model.dtype)
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
    """Floating-point operations per second of matrix products [tokens, in] x [in, out] with the
    shapes of the base's layers, each as often as the base has it; the best of several rounds."""
    import torch

    layers = [
        module
        for name, module in base.model.named_modules()
        if isinstance(module, torch.nn.Linear) and ".layers." in name
    ]
    per_block = layers[: max(1, len(layers) // base.model.config.num_hidden_layers)]
    inputs = [torch.randn(tokens, one.in_features, device=base.device) for one in per_block]
    operations = sum(2 * tokens * one.in_features * one.out_features for one in per_block)
    best = 0.0
    with torch.no_grad():
        for _ in range(20):
            began = time.perf_counter()
            for one, values in zip(per_block, inputs, strict=True):
                torch.nn.functional.linear(values, one.weight)
            if base.device.type == "cuda":
                torch.cuda.synchronize()
            best = max(best, operations / (time.perf_counter() - began))
    return best


def bound(base: ResidentBase, rows: list[TrainRow], rate: float) -> float:
    """Most tokens per second at ``rate``."""
    import torch

    layers = sum(
        module.weight.numel()
        for name, module in base.model.named_modules()
        if isinstance(module, torch.nn.Linear) and ".layers." in name
    )
    head = base.model.get_output_embeddings().weight.numel()
    tokens, trained = sum(map(len, rows)), sum(row.trained for row in rows)
    return float(rate * tokens / (4 * (layers * tokens + head * trained)))


# --- each lever switched off --------------------------------------------------------------------


def levers(
    base: ResidentBase, rows: list[TrainRow], options: argparse.Namespace, start: Path
) -> Iterator[tuple[str, Run]]:
    """The product's loop with one saving at a time given up."""

    def everywhere(model: Any) -> Callable[..., Any]:
        def logits(ids: Any, at: Any, columns: Any) -> Any:
            return model(input_ids=ids, use_cache=False).logits[at, columns]

        return logits

    selected, split = vars(loop)["selected_logits"], vars(loop)["split_rows"]
    few = rows[: options.batch * options.lever_steps]
    yield "none", sekft(base, few, options, start)
    try:
        vars(loop)["selected_logits"] = everywhere
        yield "logits at every token", sekft(base, few, options, start)
    finally:
        vars(loop)["selected_logits"] = selected
    try:
        vars(loop)["split_rows"] = lambda group, size: [
            list(group[at : at + size]) for at in range(0, len(group), size)
        ]
        yield "rows as they come", sekft(base, few, options, start)
    finally:
        vars(loop)["split_rows"] = split
    one = argparse.Namespace(**{**vars(options), "micro_batch": 1})
    yield "one row per pass", sekft(base, few, one, start)
    longest = max(map(len, few))
    filler = np.full(longest, few[0].ids[0], dtype=few[0].ids.dtype)
    padded = [
        msgspec.structs.replace(row, ids=np.concatenate([row.ids, filler[len(row) :]]))
        for row in few
    ]
    run = sekft(base, padded, options, start)
    real = sum(map(len, few[options.batch :]))
    run.tokens_per_s = real / run.seconds
    yield "padded to the longest", run


# --- the report ---------------------------------------------------------------------------------


def measure(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    base = ResidentBase.load(options.base)
    rows = rows_of(base, options.batch * options.steps)
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "adapter"
        ours = sekft(base, rows, options, start)
        ours_peak = _peak()
        off = {name: run.tokens_per_s for name, run in levers(base, rows, options, start)}
        theirs = trl(base, rows, options, start)
    per_pass = round(options.micro_batch * statistics.mean(map(len, rows)))
    rate = matmul_rate(base, per_pass)
    most = bound(base, rows[options.batch :], rate)
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
        "matmul_gflops": round(rate / 1e9, 1),
        "bound_tokens_per_s": round(most, 1),
        "share_of_bound": round(ours.tokens_per_s / most, 3),
        "levers": {
            name: {"tokens_per_s": round(speed, 1), "share": round(speed / off["none"], 3)}
            for name, speed in off.items()
        },
        "peak_mib": {"sekft": ours_peak, "after_trl": _peak()},
    }


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--steps", type=int, default=6, help="optimiser steps; the first warms up")
    parser.add_argument("--lever-steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--micro-batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=0, help="0 = as torch chooses")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
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
    print(f"losses differ by at most {result['loss_difference']:.2g}")
    print("\nwith one saving given up:")
    for name, lever in result["levers"].items():
        print(f"  {name:24}{lever['tokens_per_s']:>9.1f}{lever['share']:>8.2f}")


if __name__ == "__main__":
    main()
