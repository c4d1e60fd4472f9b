"""What cannot fit into memory is refused before the run, with what would."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pytest
import torch

from sekft_engine.core.errors import BadInput, SekftError, Unavailable
from sekft_engine.engine.engine import Engine
from sekft_engine.model.device import Device
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from sekft_engine.training.run.memory_plan import (
    MemoryPlan,
    measure_step,
    plan_memory,
)
from sekft_engine.training.run.peak import peak_bytes
from sekft_engine.training.trainer.batches import plan_steps, split_rows
from sekft_engine.training.trainer.data import Data, TrainRow
from sekft_engine.training.trainer.loss import token_losses, trained_token_logits
from sekft_engine.training.trainer.ranks import Ranks
from tests.documents import run_document
from tests.gpu.planned import peak_of_pass
from tests.models import weights_digest
from tests.training.conftest import RECIPE


def long_row(tokens: int, trained: int) -> TrainRow:
    ids = np.arange(tokens, dtype=np.int32)
    return TrainRow(id="long", ids=ids, at=np.arange(tokens - trained - 1, tokens - 1, dtype="i4"))


def test_what_tensors_hold_at_once_is_counted() -> None:
    def work() -> None:
        first = torch.zeros(1000)
        second = first + 1
        del first
        torch.ones(500)
        second.view(10, 100).add_(1)

    assert peak_bytes(work) == 8000
    assert peak_bytes(lambda: [torch.ones(250), torch.ones(250)]) == 2000


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(("tokens", "trained"), [(700, 150), (1500, 700)])
def test_the_memory_of_long_rows_is_predicted_from_short_ones(
    base: ResidentBase, recompute: bool, tokens: int, trained: int
) -> None:
    before = weights_digest(base)
    base.new_adapter("in use", RECIPE)
    memory = measure_step(base, RECIPE, recompute=recompute)
    assert (list(base.adapters), base.active) == (["in use"], "in use")
    base.drop("in use")
    assert weights_digest(base) == before
    base.new_adapter("a", RECIPE)
    weights = base.trainable("a")
    logits = trained_token_logits(base.model)
    logits.recompute = recompute
    one = long_row(tokens, trained)  # the other begins otherwise, or they would share their work
    two = [one, msgspec.structs.replace(one, ids=one.ids[::-1].copy())]
    moments = 3 * sum(weight.numel() * weight.element_size() for weight in weights)

    def step() -> None:
        with logits.kernels:
            losses, _ = token_losses(logits, two)
            torch.autograd.backward(losses.sum())

    with ThreadPoolExecutor(max_workers=1) as fresh:  # a thread that holds no buffers yet
        real = fresh.submit(peak_bytes, step).result()
    size = memory.size_of(two)
    estimate = memory.bytes_of(size) - moments
    # Rows beyond some 1000 tokens hold no attention weights, which shorter ones hold on some CPUs.
    unused = memory.per_squared_length * size.squared_lengths if tokens > 1024 else 0
    assert real <= estimate < 1.15 * real + unused, "decoder and head are added up, so never less"


def test_what_fits_is_found(
    base: ResidentBase, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = msgspec.structs.replace(RECIPE, micro_batch=4)

    def heaviest(size: int, *, recompute: bool = False) -> int:
        memory = measure_step(base, RECIPE, recompute=recompute)
        steps = plan_steps(len(data.train), recipe)
        rows = ([data.train[row] for row in step] for step in steps)
        groups = (group for step in rows for group in split_rows(step, size))
        return max(memory.bytes_of(memory.size_of(group)) for group in groups)

    def with_free(bytes_: int, way: Literal["auto", "never", "always"] = "never") -> MemoryPlan:
        monkeypatch.setattr(Device, "free_bytes", lambda _device: bytes_)
        changed = msgspec.structs.replace(recipe, recompute=way)
        return plan_memory(base, data.train, changed)

    assert "a step takes up to" in with_free(heaviest(4)).summary
    with pytest.raises(Unavailable, match=r"a step cannot .*--micro-batch 3 fits"):
        with_free(heaviest(3))
    with pytest.raises(Unavailable, match="--micro-batch 1 fits"):
        with_free(heaviest(1))
    with pytest.raises(Unavailable, match="--recompute auto needs less"):
        with_free(heaviest(1) - 1)

    assert not with_free(heaviest(4), "auto").recompute
    plan = with_free(heaviest(4, recompute=True), "auto")
    assert plan.recompute
    assert "activations are computed again" in plan.summary
    assert "with --micro-batch 3 they need not be" in plan.summary
    assert with_free(heaviest(4), "always").recompute
    cramped = heaviest(1, recompute=True) - 1
    with pytest.raises(Unavailable, match=r"--micro-batch 1 --max-length (\d+) fits") as caught:
        with_free(cramped, "auto")
    found = re.search(r"max-length (\d+)", str(caught.value))
    assert found is not None
    assert 16 <= int(found[1]) < max(len(row) for row in data.train)
    with pytest.raises(Unavailable, match="smaller base"):
        with_free(0, "auto")


@pytest.mark.parametrize(("way", "rank"), [("auto", 3), ("always", 5), ("never", 7)])
def test_where_plenty_is_free_no_run_waits_for_a_measurement(
    base: ResidentBase, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    way: str, rank: int,
) -> None:  # fmt: skip
    reported: list[int] = []
    # Of this rank nothing was measured before, in this process or another.
    monkeypatch.setenv("SEKFT_CACHE", str(tmp_path / "cache"))
    recipe = msgspec.structs.replace(RECIPE, rank=rank, recompute=way)

    def plan() -> MemoryPlan:
        return plan_memory(
            base, data.train, recipe, report=lambda done, _total: reported.append(done)
        )

    monkeypatch.setattr(Device, "free_bytes", lambda _device: 1 << 40)
    found = plan()
    assert found.recompute == (way == "always")
    assert "as computed from the shape of the base; 1024.00 GiB are free" in found.summary
    assert not reported
    assert not base.adapters
    with monkeypatch.context() as patch:
        patch.setattr(Device, "free_bytes", lambda _device: 1 << 10)
        with pytest.raises(Unavailable):
            plan()
    assert reported
    reported.clear()
    # A base of a family whose memory is not known in advance is measured, however much is free.
    config = json.loads((base.path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "tomorrow"}))
    monkeypatch.setattr(base, "path", tmp_path)
    recipe = msgspec.structs.replace(recipe, rank=rank + 10)
    assert "for a pass over" in plan().summary
    assert reported


def test_where_nothing_is_measured_almost_twice_as_much_is_free_as_a_step_takes(
    base: ResidentBase, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = msgspec.structs.replace(RECIPE, micro_batch=4, recompute="never")
    steps = [[data.train[row] for row in step] for step in plan_steps(len(data.train), recipe)]
    longest = max((group for rows in steps for group in split_rows(rows, 4)), key=_tokens)
    base.new_adapter("a", recipe)
    held = sum(weight.nbytes for weight in base.trainable("a"))
    real = peak_of_pass(base.model, longest, recompute=False) + 3 * held
    base.drop("a")
    ways = []
    for tenths in range(1, 60):
        free = real * tenths // 10
        monkeypatch.setattr(Device, "free_bytes", lambda _device, free=free: free)
        try:
            summary = plan_memory(base, data.train, recipe).summary
        except Unavailable:
            ways.append("refused")
            continue
        assert free >= real
        ways.append("computed" if "as computed" in summary else "measured")
        assert ways[-1] == "measured" or free >= 1.8 * real
    assert {"refused", "computed"} <= {*ways}
    assert ways == sorted(ways, key=["refused", "measured", "computed"].index)


def _tokens(rows: Sequence[TrainRow]) -> int:
    return sum(map(len, rows))


class _TwoHere(Ranks):
    """The first of two processes on this machine: every other row is its own."""

    size = neighbours = 2

    def share(self, rows: Sequence[TrainRow]) -> Sequence[TrainRow]:
        return rows[::2]


def test_several_processes_on_one_machine_share_its_memory_and_the_rows(
    base: ResidentBase, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = msgspec.structs.replace(RECIPE, batch=4, micro_batch=4, recompute="never")
    memory = measure_step(base, RECIPE)
    steps = [[data.train[row] for row in step] for step in plan_steps(len(data.train), recipe)]
    own = max(memory.bytes_of(memory.size_of(rows[::2])) for rows in steps)
    assert own < max(memory.bytes_of(memory.size_of(rows)) for rows in steps)
    wanted = 2 * own + base.memory()  # two steps, and the base that the other is yet to load

    monkeypatch.setattr(Device, "free_bytes", lambda _device: wanted)
    plan_memory(base, data.train, recipe, _TwoHere())
    monkeypatch.setattr(Device, "free_bytes", lambda _device: wanted - 4)
    with pytest.raises(Unavailable, match="a step cannot fit into memory"):
        plan_memory(base, data.train, recipe, _TwoHere())
    # In the next run of a sweep the other has its base already.
    monkeypatch.setattr(Device, "free_bytes", lambda _device: 2 * own)
    plan_memory(base, data.train, recipe, _TwoHere(), others_load=False)


def test_a_run_that_cannot_fit_leaves_nothing_and_one_that_does_says_what_it_takes(
    tiny_base: Path, sessions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(nice=0).start()
    out = tmp_path / "run"
    seen: list[Event] = []

    def train(**changes: Any) -> dict[str, Any]:
        recipe = msgspec.structs.replace(RECIPE, max_steps=1, **changes)
        job = jobs.Train(base=str(tiny_base), data=str(sessions), out=str(out), recipe=recipe)
        return run_document(job, None, seen.append, engine=engine)

    try:
        with pytest.raises(
            BadInput, match=r"no linear layer called nothing_of_the_kind.* o_proj, q_proj"
        ):
            train(targets="q_proj,nothing_of_the_kind")
        assert not [event for event in seen if isinstance(event, events.BaseLoaded)]
        with pytest.raises(BadInput, match="no linear layer called embed_tokens"):
            train(targets="embed_tokens")
        with monkeypatch.context() as patch:
            patch.setattr(Device, "free_bytes", lambda _device: 1000)
            with pytest.raises(SekftError, match="a step cannot fit into memory"):
                train()
        assert list(tmp_path.iterdir()) == []
        assert train()["steps"] == 1
    finally:
        engine.close()
    told = [event.text for event in seen if isinstance(event, events.Log)]
    assert any(text.startswith("a step takes up to") for text in told)
