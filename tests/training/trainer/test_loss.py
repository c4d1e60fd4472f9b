"""The loss is the plain one, computed with less work."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from sekft_engine.data.trajectory import Trajectory
from sekft_engine.model.resident import ResidentBase
from sekft_engine.render import build_row
from sekft_engine.render.rows.row import Row
from sekft_engine.training.trainer.data import Data, TrainRow, train_row
from sekft_engine.training.trainer.loss import token_losses, trained_token_logits
from tests.training.conftest import RECIPE
from tests.training.sessions import session


def rows_of(base: ResidentBase, count: int) -> list[Row]:
    built = [
        build_row(Trajectory.from_json(session(number), "here"), base.tokenizer, max_length=0)
        for number in range(count)
    ]
    return [row for row in built if isinstance(row, Row)]


def mean_loss(base: ResidentBase, rows: list[TrainRow]) -> torch.Tensor:
    losses, _ = token_losses(trained_token_logits(base.model), rows)
    return losses.mean()


def test_it_equals_the_models_own_loss_over_the_whole_row(base: ResidentBase) -> None:
    for row in rows_of(base, 4):
        ids = torch.tensor([row.ids.tolist()])
        labels = torch.tensor([row.labels.tolist()])
        plain = base.model(input_ids=ids, labels=labels).loss
        assert float(mean_loss(base, [train_row(row)])) == pytest.approx(float(plain), abs=1e-5)


def test_a_batch_of_four_is_four_of_one(base: ResidentBase) -> None:
    rows = [train_row(row) for row in rows_of(base, 4)]
    assert len({len(row) for row in rows}) > 1
    logits = trained_token_logits(base.model)
    losses, owners = token_losses(logits, rows)
    for number, row in enumerate(rows):
        alone, _ = token_losses(logits, [row])
        torch.testing.assert_close(losses[owners == number], alone, atol=1e-4, rtol=1e-5)


def test_nothing_after_the_last_trained_token_is_computed(base: ResidentBase) -> None:
    row = rows_of(base, 1)[0]
    cut = train_row(row)
    assert len(cut) < len(row)
    assert len(cut) == row.spans[-1].end
    assert cut.trained == row.trained_tokens
    assert np.array_equal(cut.ids[cut.at + 1], row.ids[row.trained])


def test_a_model_that_does_more_to_its_logits_than_the_head_is_noticed(
    base: ResidentBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [train_row(row) for row in rows_of(base, 2)]
    plain = mean_loss(base, rows)
    forward = base.model.forward

    def capped(*args: Any, **options: Any) -> Any:
        out = forward(*args, **options)
        out.logits = 0.05 * torch.tanh(out.logits / 0.05)
        return out

    monkeypatch.setitem(vars(base.model), "forward", capped)
    asked = mean_loss(base, rows)
    assert abs(float(asked) - float(plain)) > 1e-4
    row = rows[0]
    logits = base.model(input_ids=torch.tensor([row.ids.tolist()])).logits[0, row.at]
    whole = torch.nn.functional.cross_entropy(logits, torch.tensor(row.ids[row.at + 1]).long())
    assert float(mean_loss(base, [row])) == pytest.approx(float(whole), abs=1e-5)


def test_gradients_do_not_depend_on_how_rows_share_forward_passes(
    base: ResidentBase, data: Data
) -> None:
    from sekft_engine.training.trainer.trainer import Trainer
    from tests.training.conftest import RECIPE

    grads = []
    for size in (1, 3, 8):
        recipe = msgspec.structs.replace(RECIPE, dropout=0.0, micro_batch=size, batch=8)
        base.new_adapter("a", recipe)
        trainer = Trainer(base, "a", data, recipe)
        trainer.backward(1, data.train[:8])
        grads.append(torch.cat([w.grad.flatten() for w in trainer.weights if w.grad is not None]))
        trainer.close()
        base.drop("a")
    for other in grads[1:]:
        torch.testing.assert_close(other, grads[0], atol=1e-6, rtol=1e-4)


def test_a_second_run_on_a_base_does_not_compare_again_how_to_compute(base: ResidentBase) -> None:
    recipe = msgspec.structs.replace(RECIPE, targets="q_proj,down_proj")
    passes: list[str] = []
    found = []
    for name in ("first", "second"):
        base.new_adapter(name, recipe)
        embedding = base.model.get_input_embeddings()
        handle = embedding.register_forward_hook(lambda *_, name=name: passes.append(name))
        logits = trained_token_logits(base.model)
        handle.remove()
        base.drop(name)
        found.append((logits.packs, logits.by_head))
    assert found == [(True, True)] * 2
    assert {*passes} == {"first"}
