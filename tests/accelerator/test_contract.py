"""The contract check renders prompts itself. That is no work for a card, and it leaves it alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from sekft_engine.contract.check import check_endpoint
from sekft_engine.model.resident import ResidentBase
from sekft_engine.sources import load_trajectories
from tests.accelerator.simulated import allocator, record
from tests.accelerator.watch import cpu_tensors
from tests.contract.servers import ModelServer, transformers_feed, vllm


@pytest.mark.parametrize("resident", ["on_cpu", "on_device"])
def test_the_prompts_that_a_server_is_judged_by_are_the_same_wherever_the_base_is_resident(
    resident: str, request: pytest.FixtureRequest, tiny_base: Path, sessions: Path
) -> None:
    base: ResidentBase = request.getfixturevalue(resident)
    there = AutoTokenizer.from_pretrained(tiny_base)
    held = allocator.held
    record.clear()
    with (
        cpu_tensors() as made,
        ModelServer(vllm(transformers_feed(there), there)) as server,
    ):
        report = check_endpoint(
            server.url, base.tokenizer, load_trajectories(sessions).trajectories, hostile=False
        )
    assert (report.equal, report.strength) == (True, "tokens")
    assert report.sessions
    assert (allocator.held, dict(record.dtypes), dict(record.waits), dict(made)) == (
        held,
        {},
        {},
        {},
    )
