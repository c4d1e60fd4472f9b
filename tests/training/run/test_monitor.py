"""What one may watch of a run: the batch in training, the machine, and what it could do at most."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sekft_engine.engine.engine import Engine
from sekft_engine.engine.run_job import run_job
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from sekft_engine.training.run import gauges, monitor
from sekft_engine.training.run.gauges import Gauges
from sekft_engine.training.run.monitor import trained_edges
from sekft_engine.training.run.roofline import measure_bound, most_tokens_per_s
from sekft_engine.training.trainer.data import Data, TrainRow
from tests.training.conftest import RECIPE


def test_a_run_tells_each_batch_before_it_trains_on_it(
    tiny_base: Path, sessions: Path, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Even of the quickest steps each trajectory is told once, before it is first trained on.
    monkeypatch.setattr(monitor, "BATCH_EVERY_S", math.inf)
    monkeypatch.setattr(gauges, "EVERY_S", 0.0)
    seen: list[Event] = []
    asked = jobs.Train(
        base=str(tiny_base), data=str(sessions), out=str(tmp_path / "run"), recipe=RECIPE
    )
    engine = Engine(nice=0).start()
    try:
        run_job(asked, None, seen.append, engine=engine)
    finally:
        assert engine.close(timeout=60)
    told = [one for one in seen if isinstance(one, events.StepBegan | events.StepDone)]
    assert [type(one).__name__ for one in told] == ["StepBegan", "StepDone"] * 3
    rows = {row.id: row for row in data.train}
    for began, done in zip(told[::2], told[1::2], strict=True):
        assert isinstance(began, events.StepBegan)
        assert isinstance(done, events.StepDone)
        assert [row.id for row in began.batch] == done.rows
        assert sum(row.tokens for row in began.batch) == done.tokens
        trained = sum(sum(row.edges[1::2]) - sum(row.edges[::2]) for row in began.batch)
        assert trained == done.trained_tokens
        assert all(row.tokens == len(rows[row.id]) for row in began.batch)
    machines = [one for one in seen if isinstance(one, events.MachineSeen)]
    assert len(machines) >= 3
    assert all(0 <= one.cpu <= 1 and 0 < one.rss <= one.rss_most for one in machines)
    bounds = [one for one in seen if isinstance(one, events.BoundMeasured)]
    assert len(bounds) == 1
    assert bounds[0].rate > 0


def test_measuring_the_bound_leaves_the_run_as_it_was(base: ResidentBase) -> None:
    state = torch.get_rng_state()
    found = measure_bound(base)
    assert torch.equal(torch.get_rng_state(), state)
    config = base.model.config
    hidden, inner, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    keys = hidden * config.num_key_value_heads // heads
    layer = 2 * hidden * hidden + 2 * hidden * keys + 3 * hidden * inner
    assert found.layers == config.num_hidden_layers * layer
    assert found.head == config.vocab_size * hidden
    base.new_adapter("one", RECIPE)
    assert measure_bound(base) == found, "an adapter does not count, and nothing is timed again"


def test_the_bound_counts_the_head_for_trained_tokens_alone() -> None:
    assert most_tokens_per_s(4e9, 1000, 500, 100, 0) == 1e6
    assert most_tokens_per_s(4e9, 1000, 500, 100, 100) == pytest.approx(1e6 / 1.5)
    assert most_tokens_per_s(4e9, 0, 0, 100, 0) == 0.0


@given(st.lists(st.booleans(), min_size=2, max_size=60).filter(lambda mask: any(mask[1:])))
def test_edges_are_where_the_mask_changes(mask: list[bool]) -> None:
    import numpy as np

    at = np.flatnonzero(mask[1:])  # the token after a position is trained
    row = TrainRow(id="x", ids=np.zeros(len(mask), np.int32), at=at.astype(np.int32))
    edges = trained_edges(row)
    rebuilt = [False] * len(mask)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        rebuilt[start:end] = [True] * (end - start)
    assert rebuilt == [False, *mask[1:]]
    assert edges == sorted(set(edges)), "neighbours are one span"


def test_gauges_are_not_read_more_often_than_they_tell_anything_new() -> None:
    gauge = Gauges(torch.device("cpu"))
    assert gauge.due()
    read = gauge.read()
    assert not gauge.due()
    assert read.gpu is None
    assert read.cuda == 0
    assert read.memory >= read.rss > 0
