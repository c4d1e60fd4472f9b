"""The loss and its gradient are those of TRL's SFTTrainer on the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import peer_trl
from benchmarks.peer_trl import Way
from sekft_engine.model.loading import load_model
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records.adapters import AdapterMeta
from sekft_engine.training.trainer.data import Data
from sekft_engine.training.trainer.step import Step
from sekft_engine.training.trainer.trainer import Trainer
from tests.training.conftest import RECIPE


@pytest.mark.slow
@pytest.mark.parametrize("micro_batch", [1, 8])
def test_the_first_step_is_trls_however_rows_share_passes(
    base: ResidentBase, data: Data, tmp_path: Path, micro_batch: int
) -> None:
    step = _step(base, data, 8, micro_batch, tmp_path / "start")
    theirs = peer_trl.trained(
        _peer(base.path, tmp_path / "start"), base.path, data.train[:8],
        batch=8, way=Way(micro_batch), lr=RECIPE.lr, clip=1.0,
    )  # fmt: skip
    assert step.loss == pytest.approx(theirs.losses[0], abs=1e-5)
    assert step.grad_norm == pytest.approx(theirs.norms[0], rel=1e-5)


@pytest.fixture
def exact_base(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> ResidentBase:
    """The tiny base in float64, in which nothing is made float32 on its way to the loss."""
    import torch

    single = torch.Tensor.float
    monkeypatch.setattr(
        torch.Tensor, "float", lambda own: own if own.dtype == torch.float64 else single(own)
    )
    monkeypatch.setattr(
        "sekft_engine.model.resident.load_model",
        lambda *args, **options: load_model(*args, **options).double(),
    )
    return ResidentBase.load(tiny_base)


@pytest.mark.slow
@pytest.mark.parametrize("micro_batch", [1, 4])
def test_what_is_left_between_the_two_is_float32_rounding(
    exact_base: ResidentBase, data: Data, tmp_path: Path, micro_batch: int
) -> None:
    """TRL's own head computes in float32 and its log is kept in it; so its loop gets a loss that
    is plain cross-entropy of the model's logits, and its sum is taken there."""
    import torch

    parts: list[float] = []

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any) -> Any:
        logits, targets = outputs.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
        total = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        parts.append(float(total.detach() / num_items_in_batch))
        return total / num_items_in_batch

    step = _step(exact_base, data, 4, micro_batch, tmp_path / "start")
    theirs = peer_trl.trained(
        _peer(exact_base.path, tmp_path / "start").double(), exact_base.path, data.train[:4],
        batch=4, way=Way(micro_batch), lr=RECIPE.lr, clip=1.0, loss=loss,
    )  # fmt: skip
    assert step.loss == pytest.approx(sum(parts), abs=1e-9)
    assert step.grad_norm == pytest.approx(theirs.norms[0], rel=1e-7)  # the norm is logged in it


def _step(base: ResidentBase, data: Data, batch: int, micro_batch: int, start: Path) -> Step:
    """The first step of a fresh adapter, which is left in ``start`` as it was before."""
    rows = data.train[:batch]
    assert len({row.trained for row in rows}) > 1, "a mean of means would be another loss"
    recipe = msgspec.structs.replace(
        RECIPE, batch=batch, micro_batch=micro_batch, max_steps=1, dropout=0.0, clip=1.0
    )
    base.new_adapter("a", recipe)
    if base.model.dtype.itemsize == 8:
        base.model.double()  # the adapter; the base is so already
    base.save_adapter("a", start, AdapterMeta())
    trainer = Trainer(base, "a", msgspec.structs.replace(data, train=rows), recipe)
    [step] = list(trainer.steps())
    trainer.close()
    return step


def _peer(base: Path, adapter: Path) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(load_model(base), str(adapter), is_trainable=True)
