"""What training must never touch, whatever is trained, tried and swapped on the base."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import msgspec
import pytest
import torch

from sekft_engine.model.resident import ResidentBase
from sekft_engine.operators.decode import BatchedDecoder
from sekft_engine.training.trainer.data import Data, load_data
from sekft_engine.training.trainer.trainer import Trainer
from tests.models import weights_digest
from tests.training.conftest import RECIPE

#: SEKFT_CYCLES=200 takes two minutes.
CYCLES = int(os.environ.get("SEKFT_CYCLES", "20"))


def decoded(base: ResidentBase, name: str | None) -> tuple[int, ...]:
    """What the base says with the adapter ``name``."""
    base.activate(name)
    decoder = BatchedDecoder(base.model, stop_ids=sorted(base.tokenizer.end_of_turn_ids))
    decoder.add("row")
    return decoder.turns({"row": [1, 2, 3, 4]}, {"row": 2})["row"].ids


def held() -> int:
    """Bytes of all tensors that live."""
    gc.collect()
    kinds = (torch.Tensor, torch.nn.Parameter)  # and none that only stand for some
    tensors = [one for one in gc.get_objects() if type(one) in kinds]
    plain = [one for one in tensors if one.layout == torch.strided and not one.is_meta]
    storages = {one.data_ptr(): one.untyped_storage().nbytes() for one in plain}
    return sum(storages.values())


@pytest.mark.slow
def test_cycles_leave_the_base_bit_identical_and_memory_flat(
    base: ResidentBase, data: Data
) -> None:
    recipe = msgspec.structs.replace(RECIPE, batch=1, max_steps=2, dropout=0.1, lr=0.05)
    before, bare = weights_digest(base), decoded(base, None)
    base.new_adapter("kept", recipe)
    with_kept = decoded(base, "kept")
    after: dict[int, int] = {}
    for cycle in range(CYCLES):
        name = f"cycle-{cycle}"
        base.new_adapter(name, msgspec.structs.replace(recipe, seed=cycle))
        trainer = Trainer(base, name, data, recipe)
        steps = trainer.steps()
        next(steps)
        with trainer.at_rest():  # an eval in the midst of training
            decoded(base, name)
        next(steps)
        trainer.close()
        del trainer, steps
        assert decoded(base, "kept") == with_kept
        base.drop(name)
        if cycle in (1, CYCLES - 1):  # the first one may leave something that all share
            after[cycle] = held()
    base.prove()
    assert weights_digest(base) == before
    assert decoded(base, None) == bare
    assert after[CYCLES - 1] <= after[1]


def test_an_eval_between_two_steps_changes_neither_of_them(base: ResidentBase, data: Data) -> None:
    recipe = msgspec.structs.replace(RECIPE, max_steps=3, dropout=0.1)
    ends = []
    for tried in (False, True):
        base.new_adapter("a", recipe)
        trainer = Trainer(base, "a", data, recipe)
        losses = []
        for step in trainer.steps():
            losses.append((step.loss, step.grad_norm))
            if tried:
                with trainer.at_rest():
                    torch.rand(5)  # whatever an eval draws
                    decoded(base, None)
                    assert not any(weight.requires_grad for weight in trainer.weights)
                assert all(weight.requires_grad for weight in trainer.weights)
        ends.append((losses, torch.cat([one.detach().flatten() for one in trainer.weights])))
        trainer.close()
        base.drop("a")
    assert ends[0][0] == ends[1][0]
    assert torch.equal(ends[0][1], ends[1][1])


@pytest.mark.slow
def test_the_real_base_is_bit_identical_after_training_evals_and_swaps(
    smollm2: Path, sessions: Path
) -> None:
    base = ResidentBase.load(smollm2)
    recipe = msgspec.structs.replace(RECIPE, batch=1, max_steps=1, dropout=0.1)
    data = load_data(str(sessions), "", base.tokenizer, recipe)
    before, bare = weights_digest(base), decoded(base, None)
    for name in ("one", "two"):
        base.new_adapter(name, recipe)
        trainer = Trainer(base, name, data, recipe)
        next(trainer.steps())
        trainer.close()
        decoded(base, name)
        assert decoded(base, None) == bare
        base.prove()
    base.drop("one")
    base.drop("two")
    assert weights_digest(base) == before
