"""The loss and its gradient are those of TRL's SFTTrainer on the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from sekft_engine.adapters import AdapterMeta
from sekft_engine.base import ResidentBase
from sekft_engine.sft.data import Data, TrainRow
from sekft_engine.sft.loop import Trainer
from tests.sft.conftest import RECIPE


@pytest.mark.slow
@pytest.mark.parametrize("micro_batch", [1, 8])
def test_the_first_step_is_trls_however_rows_share_passes(
    base: ResidentBase, data: Data, tmp_path: Path, micro_batch: int
) -> None:
    recipe = msgspec.structs.replace(
        RECIPE, batch=8, micro_batch=micro_batch, max_steps=1, dropout=0.0, clip=1.0
    )
    rows = data.train[:8]
    assert len({row.trained for row in rows}) > 1, "a mean of means would be another loss"
    base.new_adapter("a", recipe)
    base.save_adapter("a", tmp_path / "start", AdapterMeta())
    one_batch = msgspec.structs.replace(data, train=rows)
    trainer = Trainer(base, "a", one_batch, recipe)
    [step] = list(trainer.steps())
    trainer.close()
    log = _trl_step(base.path, tmp_path / "start", rows, micro_batch, tmp_path)
    assert step.loss == pytest.approx(log["loss"], abs=2e-4)  # TRL rounds what it logs
    assert step.grad_norm == pytest.approx(log["grad_norm"], rel=1e-3)


def _trl_step(
    base: Path, adapter: Path, rows: tuple[TrainRow, ...], micro_batch: int, place: Path
) -> dict[str, float]:
    """What TRL logs of one step over all ``rows``."""
    from datasets import Dataset
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    model = AutoModelForCausalLM.from_pretrained(str(base))
    model = PeftModel.from_pretrained(model, str(adapter), is_trainable=True)
    columns: dict[str, list[Any]] = {"input_ids": [], "labels": []}
    for row in rows:
        labels = np.full(len(row), -100)
        labels[row.at + 1] = row.ids[row.at + 1]
        columns["input_ids"].append(row.ids.tolist())
        columns["labels"].append(labels.tolist())
    config = SFTConfig(
        output_dir=str(place / "trl"),
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=len(rows) // micro_batch,
        max_steps=1,
        max_grad_norm=1.0,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        gradient_checkpointing=False,
        max_length=None,
        bf16=False,
        use_cpu=True,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
    )
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_dict(columns),
        processing_class=AutoTokenizer.from_pretrained(str(base)),
    )
    trainer.train()
    log: dict[str, float] = trainer.state.log_history[0]
    return log
