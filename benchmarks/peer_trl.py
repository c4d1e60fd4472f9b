"""TRL's SFTTrainer on rows that are rendered, tokenised and masked already.

It gets its cheapest settings for them: no gradient checkpointing, no evaluation, no saving, no
logging beyond the loss. How many rows share a pass is its own best, see :func:`ways`.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from sekft_engine.training.trainer.data import TrainRow

Loss = Callable[..., Any]


class Way(msgspec.Struct, frozen=True):
    """How a batch goes through the model: so many rows in a pass, padded or one behind the other,
    with Liger's kernels or the model's own."""

    micro_batch: int
    padding_free: bool = False
    liger: bool = False

    @property
    def name(self) -> str:
        how = ", padding-free" if self.padding_free else ""
        return f"{self.micro_batch} x {'Liger' if self.liger else 'plain'}{how}"


class Steps(msgspec.Struct, frozen=True):
    """Of each step: its loss, the norm of its gradient, and when it ended."""

    losses: list[float]
    norms: list[float]
    ends: list[float]

    @property
    def seconds(self) -> float:
        """Of all steps but the first, which warms up."""
        return self.ends[-1] - self.ends[0]


def ways(batch: int, cuda: bool) -> Iterator[Way]:
    """What is worth a try.

    On a CPU: 1, 2 and 4 rows in a pass. A single row has no padding; more of them fill the cores
    better. On CUDA also the whole batch, each of these padding-free (over the whole batch that is
    TRL's packing, but that it would put rows of other batches together), and all of these with
    Liger's kernels where they are installed.
    """
    sizes = [size for size in (1, 2, 4) if size <= batch and not batch % size]
    if cuda and batch not in sizes:
        sizes.append(batch)
    for size in sizes:
        yield Way(size)
        if cuda and size > 1:
            yield Way(size, padding_free=True)
    if cuda and importlib.util.find_spec("liger_kernel"):
        for size in sizes:
            yield Way(size, padding_free=size > 1, liger=True)


def trained(
    model: Any,
    tokenizer: Path,
    rows: Sequence[TrainRow],
    *,
    batch: int,
    way: Way,
    lr: float,
    clip: float,
    loss: Loss | None = None,
) -> Steps:
    """Train ``model``, a PEFT model, on ``rows``, ``batch`` of them a step, in their order.

    ``loss`` takes the place of TRL's own.
    """
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, PrinterCallback, TrainerCallback
    from transformers.utils import is_flash_attn_2_available
    from trl import SFTConfig, SFTTrainer

    class InOrder(SFTTrainer):  # type: ignore[misc]
        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    ends: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if cuda:
                torch.cuda.synchronize()
            ends.append(time.perf_counter())

    cuda = next(model.parameters()).device.type == "cuda"
    if way.padding_free and is_flash_attn_2_available():
        model.set_attn_implementation("flash_attention_2")
    columns: dict[str, list[Any]] = {"input_ids": [], "labels": []}
    for row in rows:
        labels = np.full(len(row.ids), -100)
        labels[row.at + 1] = row.ids[row.at + 1]
        columns["input_ids"].append(row.ids.tolist())
        columns["labels"].append(labels.tolist())
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=way.micro_batch,
            gradient_accumulation_steps=batch // way.micro_batch,
            padding_free=way.padding_free,
            use_liger_kernel=way.liger,
            num_train_epochs=1,
            learning_rate=lr,
            lr_scheduler_type="constant",
            max_grad_norm=clip,
            weight_decay=0.0,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            gradient_checkpointing=False,
            max_length=None,
            bf16=False,
            fp16=False,
            use_cpu=not cuda,
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
            seed=0,
        )
        learning = [weight for weight in model.parameters() if weight.requires_grad]
        start = [weight.data.clone() for weight in learning]
        trainer = InOrder(
            model=model,
            args=config,
            train_dataset=Dataset.from_dict(columns),
            processing_class=AutoTokenizer.from_pretrained(str(tokenizer), local_files_only=True),
            callbacks=[Clock()],
            compute_loss_func=loss,
        )
        if not cuda:
            # On a 4-bit base TRL makes the adapter bf16, which a CPU is slow at.
            for weight, before in zip(learning, start, strict=True):
                weight.data = before
        trainer.remove_callback(PrinterCallback)  # it would print among what is printed here
        trainer.train()
        log = [entry for entry in trainer.state.log_history if "loss" in entry]
    return Steps([one["loss"] for one in log], [one["grad_norm"] for one in log], ends)
