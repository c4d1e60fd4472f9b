"""Training on a card: the same losses as on the CPU, everything on the card, and few waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from sekft_engine.core.errors import Unavailable
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records.adapters import AdapterMeta
from sekft_engine.training.run.checkpoint import Counts, newest_checkpoint, write_checkpoint
from sekft_engine.training.run.gauges import Gauges
from sekft_engine.training.run.memory_plan import plan_memory
from sekft_engine.training.run.roofline import measure_bound
from sekft_engine.training.token_losses.measure import measure
from sekft_engine.training.trainer.data import Data
from sekft_engine.training.trainer.step import Step
from sekft_engine.training.trainer.trainer import Trainer
from tests.accelerator.simulated import SimTensor, SimulatedDevice, allocator, record
from tests.accelerator.watch import cpu_tensors
from tests.training.conftest import RECIPE

#: Losses of device and CPU differ by the order of sums only: the CPU has kernels of its own.
CLOSE = 1e-4


def trainer_on(base: ResidentBase, data: Data, name: str = "a", **changes: Any) -> Trainer:
    recipe = msgspec.structs.replace(RECIPE, **{"max_steps": 3, "dropout": 0.0} | changes)
    base.new_adapter(name, recipe)
    return Trainer(base, name, data, recipe)


def losses(steps: list[Step]) -> list[float]:
    return [number for step in steps for number in (step.loss, step.grad_norm)]


def train(base: ResidentBase, data: Data, name: str = "a", **changes: Any) -> list[float]:
    """Losses and gradient norms of three steps, and the held-out loss after them."""
    trainer = trainer_on(base, data, name, **changes)
    found = [*losses(list(trainer.steps())), trainer.heldout_loss()[0]]
    trainer.close()
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"micro_batch": 4},
        {"micro_batch": 1},
        {"micro_batch": 2, "recompute": "always"},
        {"micro_batch": 4, "clip": 0.0, "weight_decay": 0.1},
    ],
    ids=["packed", "one by one, gradients accumulated", "recomputed", "not clipped"],
)
def test_losses_are_those_of_the_cpu(
    on_cpu: ResidentBase, on_device: ResidentBase, data: Data, changes: dict[str, Any]
) -> None:
    assert train(on_device, data, **changes) == pytest.approx(
        train(on_cpu, data, **changes), rel=CLOSE
    )


def test_padded_rows_give_the_losses_of_packed_ones(on_device: ResidentBase, data: Data) -> None:
    packed = trainer_on(on_device, data)
    assert packed._logits.packs
    expected = losses(list(packed.steps()))
    packed.close()
    padded = trainer_on(on_device, data, "b")
    padded._logits.packs = False
    assert losses(list(padded.steps())) == pytest.approx(expected, rel=CLOSE)


@pytest.mark.parametrize("recompute", ["never", "always"])
def test_dropout_is_drawn_on_the_device_and_a_seed_fixes_it(
    on_device: ResidentBase, data: Data, recompute: str
) -> None:
    changes = {"recompute": recompute, "max_steps": 2}
    plain = train(on_device, data, "plain", **changes)
    one = train(on_device, data, "one", dropout=0.3, **changes)
    assert one == train(on_device, data, "two", dropout=0.3, **changes)
    assert one[2] != plain[2], "the first loss is that of the bare base"


def test_recomputing_draws_the_same_dropout(on_device: ResidentBase, data: Data) -> None:
    kept = train(on_device, data, "kept", dropout=0.3, max_steps=2)
    again = train(on_device, data, "again", dropout=0.3, max_steps=2, recompute="always")
    assert again == pytest.approx(kept, rel=CLOSE)


def test_two_adapters_share_the_base_and_not_their_weights(
    on_cpu: ResidentBase, on_device: ResidentBase, data: Data
) -> None:
    first = train(on_device, data, "a")
    weights = [weight.detach().clone() for weight in on_device.trainable("a")]
    second = train(on_device, data, "b", lr=0.02)
    assert second == pytest.approx(train(on_cpu, data, "b", lr=0.02), rel=CLOSE)
    assert second != first
    for weight, before in zip(on_device.trainable("a"), weights, strict=True):
        assert torch.equal(weight.cpu(), before.cpu())
    on_device.prove()


# --- where tensors are, of what type, and where the card is waited for ---------------------------


def test_nothing_of_a_step_is_left_on_the_cpu(on_device: ResidentBase, data: Data) -> None:
    trainer = trainer_on(on_device, data, dropout=0.1)
    steps = trainer.steps()
    next(steps)
    with cpu_tensors() as made:
        next(steps)
    assert set(made) <= {
        # What is uploaded, and what is read at the end.
        "training/trainer/loss.py:TrainedTokenLogits._tensor",
        "training/trainer/loss.py:token_losses",
        "training/trainer/accumulate.py:read_losses",
        # The states of the generators, for a step that is repeated or resumed.
        "model/device/__init__.py:random_state",
        "model/device/__init__.py:set_random_state",
        "training/trainer/accumulate.py:GradientAccumulator.backward",
    }, made
    for tensor in (*trainer.weights, *on_device.model.parameters(), *on_device.model.buffers()):
        assert isinstance(tensor, SimTensor)
    for state in trainer.optimizer.state.values():
        assert {type(value) for name, value in state.items() if name != "step"} == {SimTensor}


def test_a_step_waits_twice_for_the_card_however_many_passes_it_has(
    on_device: ResidentBase, data: Data
) -> None:
    """For its losses once, after the last pass, and for the norm of its gradients, since weights
    must not be changed by gradients that are not finite."""
    for micro_batch in (4, 1):
        trainer = trainer_on(on_device, data, f"by{micro_batch}", micro_batch=micro_batch)
        steps = trainer.steps()
        next(steps)
        record.clear()
        next(steps)
        assert {wait.where: count for wait, count in record.waits.items()} == {
            "training/trainer/accumulate.py:read_losses": 1,
            "training/trainer/trainer.py:Trainer._clip": 1,
        }
        trainer.close()


def test_a_heldout_loss_waits_once_for_each_pass(on_device: ResidentBase, data: Data) -> None:
    trainer = trainer_on(on_device, data, micro_batch=1)
    record.clear()
    trainer.heldout_loss()
    (wait,) = record.waits
    assert "_plain_loss" in wait.where
    assert record.waits[wait] == len(data.heldout)


def test_everything_is_computed_in_the_type_of_the_base(
    on_device: ResidentBase, data: Data
) -> None:
    trainer = trainer_on(on_device, data, dropout=0.1)
    steps = trainer.steps()
    next(steps)
    record.clear()
    next(steps)
    kinds = {dtype for (_, dtype) in record.dtypes}
    assert kinds <= {"torch.float32", "torch.int64", "torch.bool"}


# --- memory ---------------------------------------------------------------------------------------


def test_a_run_that_cannot_fit_into_the_memory_of_the_card_is_refused(
    on_device: ResidentBase, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = msgspec.structs.replace(RECIPE, recompute="never")
    assert not plan_memory(on_device, data.train, recipe).recompute
    monkeypatch.setattr(SimulatedDevice, "free_bytes", lambda _device: 2**20)
    with pytest.raises(Unavailable, match="a step cannot fit into memory"):
        plan_memory(on_device, data.train, recipe)


def test_the_memory_that_is_measured_is_that_which_is_held(
    on_device: ResidentBase, data: Data
) -> None:
    """The plan's bound is above the peak of real steps, and not far above."""
    from sekft_engine.training.planning.step import Passes
    from sekft_engine.training.run.memory_plan import measure_step

    recipe = msgspec.structs.replace(RECIPE, micro_batch=4, dropout=0.0)
    memory = measure_step(on_device, recipe)
    needed = memory.bytes_of(Passes(data.train, recipe).heaviest(memory))
    before = allocator.held
    trainer = trainer_on(on_device, data, micro_batch=4)
    allocator.peak = allocator.held
    list(trainer.steps())
    taken = allocator.peak - before
    assert 0.5 * taken <= needed
    assert needed <= 4 * taken


def test_memory_that_runs_out_halves_the_passes_and_nothing_else(
    on_device: ResidentBase, data: Data
) -> None:
    peaks = {}
    for micro_batch in (4, 1):
        trainer = trainer_on(on_device, data, f"by{micro_batch}", micro_batch=micro_batch)
        before = allocator.peak = allocator.held
        expected = losses(list(trainer.steps()))
        peaks[micro_batch] = allocator.peak - before
        trainer.close()
        on_device.drop(f"by{micro_batch}")
    assert peaks[1] < peaks[4]
    trainer = trainer_on(on_device, data, micro_batch=4)
    allocator.capacity = allocator.held + (peaks[1] + peaks[4]) // 2
    found = losses(list(trainer.steps()))
    assert trainer.micro_batch < 4
    assert found == pytest.approx(expected, rel=CLOSE)


def test_memory_that_never_suffices_is_told_with_the_way_out(
    on_device: ResidentBase, data: Data
) -> None:
    trainer = trainer_on(on_device, data)
    allocator.capacity = allocator.held + 4096
    with pytest.raises(Unavailable, match="memory does not suffice for step 1"):
        next(trainer.steps())
    allocator.capacity = None
    trainer.close()


def test_gauges_and_speed_are_read_from_the_card(on_device: ResidentBase) -> None:
    seen = Gauges(on_device.device).read()
    assert seen.cuda == allocator.held > 0
    assert seen.cuda_most >= seen.cuda
    assert seen.gpu is None
    assert measure_bound(on_device).rate > 0


# --- resuming, saving -----------------------------------------------------------------------------


def interrupted(
    first: ResidentBase, then: ResidentBase, data: Data, folder: Path, **changes: Any
) -> list[float]:
    """Losses of three steps, where a process on ``first`` is lost after one and another resumes on
    ``then`` from the checkpoint on disk."""
    trainer = trainer_on(first, data, "before", **changes)
    done = [next(trainer.steps())]
    write_checkpoint(folder, Counts(step=1, micro_batch=trainer.micro_batch), trainer.state())
    trainer.close()
    first.drop("before")
    checkpoint = newest_checkpoint(folder)
    assert checkpoint is not None
    assert all(tensor.device.type == "cpu" for tensor in checkpoint.tensors.values())
    torch.manual_seed(99)
    trainer = trainer_on(then, data, "after", **changes)
    counts = checkpoint.counts
    trainer.restore(checkpoint.tensors, counts.step, counts.micro_batch, counts.recompute)
    return losses(done + list(trainer.steps()))


def test_a_resumed_run_ends_in_the_same_bits(
    on_device: ResidentBase, data: Data, tmp_path: Path
) -> None:
    whole = train(on_device, data, "whole", dropout=0.3)[:-1]
    assert interrupted(on_device, on_device, data, tmp_path, dropout=0.3) == whole


def test_a_run_goes_on_on_the_other_device(
    on_cpu: ResidentBase, on_device: ResidentBase, data: Data, tmp_path: Path
) -> None:
    whole = train(on_cpu, data, "whole")[:-1]
    there = interrupted(on_cpu, on_device, data, tmp_path / "there")
    back = interrupted(on_device, on_cpu, data, tmp_path / "back")
    assert there == pytest.approx(whole, rel=CLOSE)
    assert back == pytest.approx(whole, rel=CLOSE)


def test_an_adapter_saved_on_the_device_is_the_same_on_the_cpu(
    on_cpu: ResidentBase, on_device: ResidentBase, data: Data, tmp_path: Path
) -> None:
    trainer = trainer_on(on_device, data)
    list(trainer.steps())
    there = trainer.heldout_loss()[0]
    digest = on_device.save_adapter("a", tmp_path / "adapter", AdapterMeta(name="a"))
    trainer.close()
    assert on_cpu.attach("b", tmp_path) == digest
    assert on_device.attach("again", tmp_path) == digest
    for base, name in ((on_cpu, "b"), (on_device, "again")):
        checked = Trainer(base, name, data, trainer.recipe)
        assert checked.mean_loss(data.heldout)[0] == pytest.approx(there, rel=CLOSE)


def test_attaching_changes_no_random_number(
    on_device: ResidentBase, data: Data, tmp_path: Path
) -> None:
    on_device.new_adapter("a", RECIPE)
    on_device.save_adapter("a", tmp_path / "adapter", AdapterMeta(name="a"))
    torch.manual_seed(5)
    expected = torch.rand(3, device="sim").tolist(), torch.rand(3).tolist()
    torch.manual_seed(5)
    on_device.attach("b", tmp_path)
    assert (torch.rand(3, device="sim").tolist(), torch.rand(3).tolist()) == expected


def test_token_losses_are_those_of_the_cpu(
    on_cpu: ResidentBase, on_device: ResidentBase, data: Data, tmp_path: Path
) -> None:
    on_device.new_adapter("a", RECIPE)
    on_device.save_adapter("a", tmp_path / "adapter", AdapterMeta(name="a"))
    on_cpu.attach("a", tmp_path)
    found = []
    for base in (on_cpu, on_device):
        rows = [one for group in measure(base, "a", data.train[:3], adapter="x") for one in group]
        found.append({one.id: [*one.before, *one.after] for one in rows})
    assert found[0].keys() == found[1].keys()
    for name, numbers in found[0].items():
        assert found[1][name] == pytest.approx(numbers, rel=CLOSE, abs=1e-3)
