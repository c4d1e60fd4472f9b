"""Token losses: what plain arithmetic gives, measured without disturbing anything, kept on disk."""

from __future__ import annotations

import copy
import json
import math
import multiprocessing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer

from sekft_engine.core.errors import DigestMismatch, JobFailed
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records.runs import TOKEN_LOSSES
from sekft_engine.render import Row, build_row
from sekft_engine.training.token_losses import measure as measuring
from sekft_engine.training.token_losses.losses import (
    LossFile,
    TokenLosses,
    ids_digest,
    read_token_losses,
    write_token_losses,
)
from sekft_engine.training.token_losses.measure import choose_measured, measure
from sekft_engine.training.trainer import loss
from sekft_engine.training.trainer.data import Data, TrainRow, load_data, train_row
from sekft_engine.training.trainer.trainer import Trainer
from tests.models import weights_digest
from tests.training.conftest import RECIPE
from tests.training.sessions import session


def recipe(**changes: Any) -> Any:
    return msgspec.structs.replace(RECIPE, **changes)


def rows_of(base: ResidentBase, count: int) -> list[Row]:
    built = [
        build_row(Trajectory.from_json(session(number), "here"), base.tokenizer)
        for number in range(count)
    ]
    return [row for row in built if isinstance(row, Row)]


def trained_adapter(base: ResidentBase, data: Data, **changes: Any) -> None:
    """An adapter ``a`` that has learnt something."""
    base.new_adapter("a", recipe(**changes))
    trainer = Trainer(base, "a", data, recipe(**changes))
    list(trainer.steps())
    trainer.close()


def measured(base: ResidentBase, rows: list[TrainRow], **options: Any) -> dict[str, TokenLosses]:
    groups = measure(base, "a", rows, adapter="", **options)
    return {one.id: one for group in groups for one in group}


def plainly(base: ResidentBase, row: Row, *, adapter: bool) -> list[float]:
    """-log p of each trained token, by one plain forward pass over the whole row in float64."""
    model = copy.deepcopy(base.model).double().eval()
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.enable_adapters(adapter)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([row.ids.tolist()])).logits[0]
    likely = torch.log_softmax(logits, dim=-1)
    return [
        -float(likely[place - 1, label])
        for place, label in enumerate(row.labels.tolist())
        if label != -100
    ]


def test_each_trained_token_has_the_loss_that_plain_arithmetic_gives(
    base: ResidentBase, data: Data
) -> None:
    trained_adapter(base, data)
    rows = rows_of(base, 6)
    found = measured(base, [train_row(row) for row in rows])
    for row in rows:
        one = found[row.id]
        assert one.positions == [n for n, label in enumerate(row.labels) if label != -100]
        assert one.before == pytest.approx(plainly(base, row, adapter=False), abs=2e-5)
        assert one.after == pytest.approx(plainly(base, row, adapter=True), abs=2e-5)
        assert one.before != one.after


def test_masked_tokens_have_none(base: ResidentBase, data: Data) -> None:
    trained_adapter(base, data)
    [row] = rows_of(base, 1)
    one = measured(base, [train_row(row)])[row.id]
    before, after = one.arrays(row)
    for array, values in ((before, one.before), (after, one.after)):
        assert array.dtype == np.float32
        assert len(array) == len(row)
        assert np.array_equal(~np.isnan(array), row.trained)
        assert array[row.trained] == pytest.approx(values)


def test_training_reports_the_same_loss_on_the_same_rows(base: ResidentBase, data: Data) -> None:
    plain = recipe(dropout=0.0)
    base.new_adapter("a", plain)
    trainer = Trainer(base, "a", data, plain)
    steps = trainer.steps()
    for batch in trainer.plan:
        rows = [data.train[number] for number in batch]
        found = measured(base, rows)
        losses = [loss for row in rows for loss in found[row.id].after]
        assert next(steps).loss == pytest.approx(sum(losses) / len(losses), abs=1e-4)
    trainer.close()


def test_training_lowers_the_loss_of_what_was_trained_on(base: ResidentBase, data: Data) -> None:
    trained_adapter(base, data, epochs=6)
    for one in measured(base, list(data.train)).values():
        assert one.mean_after < one.mean_before


def test_measuring_between_two_steps_changes_no_bit_of_the_training(
    base: ResidentBase, data: Data
) -> None:
    wanted = recipe(dropout=0.2, epochs=2)
    ends: list[tuple[list[float], list[torch.Tensor]]] = []
    for watched in (False, True):
        base.new_adapter("a", wanted)
        trainer = Trainer(base, "a", data, wanted)
        losses = []
        for step in trainer.steps():
            losses.append(step.loss)
            if watched:
                measured(base, list(data.heldout))
        moments = [
            state[name].clone()
            for state in trainer.optimizer.state.values()
            for name in ("exp_avg", "exp_avg_sq")
        ]
        weights = [weight.detach().clone() for weight in trainer.weights]
        ends.append((losses, [*weights, *moments, torch.get_rng_state()]))
        trainer.close()
        base.drop("a")
    (losses, tensors), (same_losses, same_tensors) = ends
    assert losses == same_losses
    assert all(torch.equal(a, b) for a, b in zip(tensors, same_tensors, strict=True))


def test_measuring_leaves_everything_as_it_was(base: ResidentBase, data: Data) -> None:
    base.new_adapter("other", RECIPE)
    base.new_adapter("a", RECIPE)
    trainer = Trainer(base, "a", data, recipe(dropout=0.3))
    trainer.backward(1, data.train[:2])

    def state() -> tuple[Any, ...]:
        return (
            base.active,
            dict(base.adapters),
            weights_digest(base),
            [module.training for module in base.model.modules()],
            [tensor.requires_grad for tensor in base.model.parameters()],
            [None if w.grad is None else w.grad.sum().item() for w in trainer.weights],
            torch.get_rng_state().tolist(),
        )

    before = state()
    first = measured(base, list(data.train[:4]))
    assert state() == before
    torch.manual_seed(99)
    assert measured(base, list(data.train[:4])) == first, "nothing is drawn at random"
    trainer.close()
    base.activate("other")
    before = state()
    assert measured(base, list(data.train[:4])) == first
    assert state() == before


def test_measuring_that_is_left_in_the_middle_leaves_everything_as_it_was(
    base: ResidentBase, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "TOKENS", 1)
    base.new_adapter("a", RECIPE)
    trainer = Trainer(base, "a", data, RECIPE)
    asked = iter([False, False])
    found = measured(base, list(data.train), leave=lambda: next(asked, True))
    assert len(found) == 2
    assert base.model.training
    assert all(weight.requires_grad for weight in trainer.weights)
    trainer.close()


def test_how_rows_share_forward_passes_changes_no_loss(
    base: ResidentBase, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_adapter(base, data)
    together = measured(base, list(data.train))
    monkeypatch.setattr(measuring, "TOKENS", 1)
    alone = measured(base, list(data.train))
    assert set(together) == set(alone) == {row.id for row in data.train}
    for name, one in together.items():
        assert one.before == pytest.approx(alone[name].before, abs=2e-5)
        assert one.after == pytest.approx(alone[name].after, abs=2e-5)


def test_little_padding_is_computed_and_every_row_is_measured_once(data: Data) -> None:
    groups = measuring._groups([*data.train, *data.heldout])
    assert sorted(row.id for group in groups for row in group) == sorted(
        row.id for row in (*data.train, *data.heldout)
    )
    for group in groups:
        padded = max(map(len, group)) * len(group)
        assert padded <= measuring.TOKENS
        assert padded - sum(map(len, group)) <= measuring.PADDING * padded


def test_too_little_memory_means_fewer_rows_at_once(
    base: ResidentBase, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_adapter(base, data)
    wanted = measured(base, list(data.train))
    real = loss.token_losses

    def cramped(logits: Any, rows: Any) -> Any:
        if len(rows) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(logits, rows)

    monkeypatch.setattr(measuring, "token_losses", cramped)
    found = measured(base, list(data.train))
    assert set(found) == set(wanted)
    for name, one in wanted.items():
        assert found[name].after == pytest.approx(one.after, abs=2e-5)


def test_a_loss_that_is_no_number_names_the_trajectory(
    base: ResidentBase, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    base.new_adapter("a", RECIPE)
    real = loss.token_losses

    def broken(*arguments: Any) -> Any:
        found, owners = real(*arguments)
        return found * math.inf, owners

    monkeypatch.setattr(measuring, "token_losses", broken)
    with pytest.raises(JobFailed, match=f"{data.train[0].id}: the loss of the bare base is not"):
        measured(base, [data.train[0]])


# --- which trajectories -------------------------------------------------------------------------


def test_half_of_the_chosen_are_held_out_and_the_seed_decides(data: Data) -> None:
    chosen = choose_measured(data, recipe(token_losses=6))
    assert [part for _, part in chosen] == ["heldout"] * 3 + ["train"] * 3
    assert {row.id for row, part in chosen if part == "heldout"} <= {r.id for r in data.heldout}
    assert {row.id for row, part in chosen if part == "train"} <= {r.id for r in data.train}

    def names(**changes: Any) -> list[str]:
        return [row.id for row, _ in choose_measured(data, recipe(token_losses=6, **changes))]

    assert names() == names()
    assert names(seed=1) != names(seed=2)
    assert choose_measured(data, recipe(token_losses=0)) == []


def test_where_one_kind_is_short_the_other_fills_in(data: Data) -> None:
    def parts(held: Data, count: int, **changes: Any) -> tuple[int, int]:
        found = [part for _, part in choose_measured(held, recipe(token_losses=count, **changes))]
        return found.count("heldout"), found.count("train")

    assert parts(data, 8) == (4, 4)
    assert parts(data, 14) == (4, 10)
    assert parts(data, 99) == (4, 12)
    nothing_aside = msgspec.structs.replace(data, heldout=())
    assert parts(nothing_aside, 8) == (0, 8)
    # One step of two trajectories: nothing else was trained on.
    assert parts(data, 8, max_steps=1, batch=2) == (4, 2)


# --- the file -----------------------------------------------------------------------------------


def record(name: str = "one", adapter: str = "aa", **changes: Any) -> TokenLosses:
    fields: dict[str, Any] = {
        "render": "r", "ids_digest": "i", "positions": [3, 4], "before": [2.5, 1.0],
        "after": [0.5, 0.25], "part": "train",
    }  # fmt: skip
    return TokenLosses(id=name, adapter=adapter, **(fields | changes))


def test_what_is_written_is_read_back_by_id(tmp_path: Path) -> None:
    assert dict(LossFile(tmp_path / TOKEN_LOSSES)) == {}
    written = [record("one"), record("two", part="heldout"), record("three\n\x1b[2J\ud800")]
    write_token_losses(tmp_path, written)
    found = LossFile(tmp_path / TOKEN_LOSSES)
    assert list(found.values()) == written
    assert found["two"].part == "heldout"
    assert (found["one"].mean_before, found["one"].mean_after) == (1.75, 0.375)
    assert found.get("three") is None
    assert (tmp_path / TOKEN_LOSSES).read_text().count("\n") == 3


def test_what_was_measured_last_counts(tmp_path: Path) -> None:
    write_token_losses(tmp_path, [record("one"), record("two")])
    found = LossFile(tmp_path / TOKEN_LOSSES)
    assert not found.refresh()
    write_token_losses(tmp_path, [record("one", after=[0.0, 0.0])])
    assert found["one"].after == [0.5, 0.25], "nothing is read again before one asks for it"
    assert found.refresh()
    assert found["one"].after == [0.0, 0.0]
    assert list(found) == ["two", "one"]


def test_a_line_that_a_killed_writer_left_torn_harms_no_other(tmp_path: Path) -> None:
    write_token_losses(tmp_path, [record("one"), record("two")])
    path = tmp_path / TOKEN_LOSSES
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        path.write_bytes(whole[:cut])
        assert list(LossFile(path)) == ["one"] * (cut >= whole.index(b"\n") + 1)
    path.write_bytes(whole[:-9])
    growing = LossFile(path)
    write_token_losses(tmp_path, [record("three")])
    assert growing.refresh()
    assert list(growing) == list(LossFile(path)) == ["one", "three"]
    path.write_bytes(b"\xff\n{}\n[]\nnull\n" + whole)
    assert list(LossFile(path)) == ["one", "two"]
    path.write_bytes(b"")
    growing.refresh()
    assert list(growing) == []


def test_losses_of_earlier_weights_are_left_out(
    base: ResidentBase, data: Data, tmp_path: Path
) -> None:
    from sekft_engine.records.adapters import AdapterMeta

    trained_adapter(base, data)
    first = base.save_adapter("a", tmp_path / "adapter", AdapterMeta())
    write_token_losses(tmp_path, [record("one", first), record("two", "other")])
    assert list(read_token_losses(tmp_path)) == ["one"]
    base.drop("a")
    trained_adapter(base, data, seed=5)
    base.save_adapter("a", tmp_path / "adapter", AdapterMeta())
    assert list(read_token_losses(tmp_path)) == []


def _append(folder: Path, name: str) -> None:
    for number in range(50):
        write_token_losses(folder, [record(f"{name}{number}")])


def test_two_processes_may_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append, args=(tmp_path, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert len(LossFile(tmp_path / TOKEN_LOSSES)) == 100
    assert len((tmp_path / TOKEN_LOSSES).read_text().splitlines()) == 100


def test_losses_are_shown_on_the_row_they_are_of_and_on_no_other(
    base: ResidentBase, data: Data
) -> None:
    base.new_adapter("a", RECIPE)
    one, two = rows_of(base, 2)
    losses = measured(base, [train_row(one)])[one.id]
    losses.refuse_other(one)
    with pytest.raises(DigestMismatch, match=f"{one.id}: .*on other text"):
        losses.arrays(two)
    with pytest.raises(DigestMismatch, match="another tokenizer, template or normaliser"):
        losses.arrays(msgspec.structs.replace(one, render_digest="other"))
    renamed = msgspec.structs.replace(losses, id=two.id)
    with pytest.raises(DigestMismatch, match="on other text"):
        renamed.arrays(two)


def test_what_follows_the_last_trained_token_is_no_part_of_the_digest(base: ResidentBase) -> None:
    raw = session(1)
    turns = raw["turns"]
    assert isinstance(turns, list)
    longer = raw | {"turns": [*turns, {"role": "user", "content": "logout"}]}
    digests = set()
    for each in (raw, longer):
        row = build_row(Trajectory.from_json(each, "here"), base.tokenizer)
        assert isinstance(row, Row)
        digests.add(ids_digest(train_row(row)))
    assert len(digests) == 1


def test_a_damaged_record_is_not_taken_for_numbers(tmp_path: Path) -> None:
    raw = msgspec.to_builtins(record("one")) | {"after": [0.5]}
    (tmp_path / TOKEN_LOSSES).write_text(json.dumps(raw) + "\n")
    found = LossFile(tmp_path / TOKEN_LOSSES)
    assert found.get("one") is None


@pytest.mark.slow
def test_the_real_base_learns_to_end_its_commands(smollm2: Path, sessions: Path) -> None:
    real = ResidentBase.load(smollm2)
    few = {"lr": 2e-3, "batch": 2, "max_steps": 6, "dropout": 0.0}
    data = load_data(str(sessions), "", real.tokenizer, recipe(**few))
    base_weights = weights_digest(real)
    trained_adapter(real, data, **few)
    found = measured(real, [*data.train[:2], *data.heldout[:2]])
    for row in rows_of(real, 16):
        if (one := found.get(row.id)) is None:
            continue
        if row.id == data.train[0].id:
            assert one.before == pytest.approx(plainly(real, row, adapter=False), abs=2e-3)
            assert one.after == pytest.approx(plainly(real, row, adapter=True), abs=2e-3)
        before, after = one.arrays(row)
        ends = [span.end - 1 for span in row.spans]
        assert after[ends].mean() < before[ends].mean() / 2, "commands end where prose went on"
        assert one.mean_after < one.mean_before
    assert weights_digest(real) == base_weights
