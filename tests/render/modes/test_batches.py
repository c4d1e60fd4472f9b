"""Failure modes 15, 19 and 20: padding with the end-of-turn token, rows that share a forward pass,
and forward passes that share a step."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch

from sekft_engine.model.resident import ResidentBase
from sekft_engine.training.trainer.data import Data, TrainRow, train_row
from sekft_engine.training.trainer.loss import token_losses, trained_token_logits
from sekft_engine.training.trainer.packing import pack
from sekft_engine.training.trainer.trainer import Trainer
from tests.render.sessions import session
from tests.render.test_equals_transformers import row
from tests.training.conftest import RECIPE, base, data, loaded, sessions

__all__ = ["base", "data", "loaded", "sessions"]


def losses_of(base: ResidentBase, rows: list[TrainRow]) -> list[torch.Tensor]:
    """The loss of each trained token, by row."""
    found, owners = token_losses(trained_token_logits(base.model), rows)
    return [found[owners == number].detach() for number in range(len(rows))]


def three(base: ResidentBase, *printed: str) -> list[TrainRow]:
    return [
        train_row(row(session("$", "ls -la", text, "exit"), base.tokenizer)) for text in printed
    ]


def test_15_the_end_of_turn_is_learnt_though_it_is_the_padding(base: ResidentBase) -> None:
    """SmolLM2 pads with the token that ends a turn. A collator that masks by id forgets it."""
    from transformers import AutoTokenizer, DataCollatorForLanguageModeling

    theirs = AutoTokenizer.from_pretrained(base.tokenizer.where, local_files_only=True)
    end = base.tokenizer.end_of_turn_id
    assert theirs.pad_token_id == end
    rows = three(base, "out\n$", "much longer output " * 9)
    collate = DataCollatorForLanguageModeling(theirs, mlm=False)
    labels = collate([{"input_ids": one.ids.tolist()} for one in rows])["labels"]
    assert not (labels == end).any()
    for one, found in zip(rows, losses_of(base, rows), strict=True):
        targets = one.ids[one.at + 1]
        assert (targets == end).sum() == 2
        alone = losses_of(base, [one])[0]
        assert len(found) == len(targets)
        torch.testing.assert_close(found, alone, atol=1e-4, rtol=1e-5)
        assert (found[np.flatnonzero(targets == end)] > 0).all()


def test_19_a_row_does_not_see_the_rows_beside_it(base: ResidentBase) -> None:
    """Nothing that its neighbours in the stream hold reaches its losses: the gradient towards
    them is exactly nothing, and towards its own tokens it is not."""
    rows = three(base, "out\n$", "SECRET " * 40, "</s>" * 9)
    seen: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, _given: object, out: torch.Tensor) -> torch.Tensor:
        seen.append(out.detach().requires_grad_())
        return seen[-1]

    handle = base.model.get_input_embeddings().register_forward_hook(keep)
    try:
        logits = trained_token_logits(base.model)
        seen.clear()
        found, owners = token_losses(logits, rows)
    finally:
        handle.remove()
    (gradient,) = torch.autograd.grad(found[owners == 0].sum(), seen)
    reach = gradient.abs().sum(-1)
    last = int(rows[0].at[-1])
    assert reach.shape == pack(rows).input_ids.shape
    assert not reach[0, last + 1 :].any()
    assert (reach[0, : last + 1] > 0).all()


@pytest.mark.parametrize("size", [1, 3])
def test_20_each_trained_token_counts_the_same_however_a_step_is_divided(
    size: int, base: ResidentBase, data: Data
) -> None:
    """The mean of the parts' means would weigh a token of a short part more."""
    recipe = msgspec.structs.replace(RECIPE, dropout=0.0, micro_batch=size, batch=8)
    long = session("$", "cat a b c d e f g h i j k l m n", "$", "exit")
    rows = [*three(base, "out\n$", "b " * 50), train_row(row(long, base.tokenizer))]
    base.new_adapter("a", recipe)
    trainer = Trainer(base, "a", data, recipe)
    loss = trainer.backward(1, rows)
    each = torch.cat(losses_of(base, rows)).double()
    assert len(each) == sum(one.trained for one in rows)
    assert loss == pytest.approx(float(each.mean()), abs=1e-5)
    means = [float(found.double().mean()) for found in losses_of(base, rows)]
    assert abs(loss - sum(means) / len(means)) > 1e-4
    trainer.close()
