"""The quicker kernels give what the usual ones give, and leave no trace on the base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sekft_engine.data.recipe import Recipe
from sekft_engine.model.kernels import packed_linear
from sekft_engine.model.kernels.packed_linear import PackedLinears
from sekft_engine.model.resident import ResidentBase
from tests.models import weights_digest


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> ResidentBase:
    """The tiny base with an adapter that does something."""
    import torch

    base = ResidentBase.load(tiny_base)
    base.new_adapter("mine", Recipe(rank=4))
    torch.manual_seed(3)
    for name, weight in base.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    base.activate("mine")
    return base


def logits(base: ResidentBase, rows: int) -> Any:
    import torch

    with torch.inference_mode():
        return base.model(torch.arange(rows * 9).reshape(rows, 9) + 5).logits


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("active", ["mine", None])
def test_logits_are_the_same_but_for_rounding(
    base: ResidentBase, packed: bool, active: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    if not packed:
        monkeypatch.setattr(packed_linear, "PACKED_BYTES", 0)
    base.activate(active)
    for rows in (1, 16):
        usual = logits(base, rows)
        with PackedLinears(base.model):
            quick = logits(base, rows)
            again = logits(base, rows)
        assert torch.allclose(quick, usual, rtol=1e-4, atol=1e-4)
        assert torch.equal(quick, again)


def test_the_base_is_afterwards_what_it_was(base: ResidentBase) -> None:
    import torch

    base.activate("mine")
    before, usual = weights_digest(base), logits(base, 2)
    kernels = PackedLinears(base.model)
    with pytest.raises(ValueError, match="stop"), kernels:
        raise ValueError("stop")
    assert torch.equal(logits(base, 2), usual)
    assert weights_digest(base) == before


def test_an_adapter_that_is_trained_meanwhile_is_not_frozen_in(base: ResidentBase) -> None:
    import torch

    base.activate("mine")
    kernels = PackedLinears(base.model)
    with kernels:
        before = logits(base, 1)
    with torch.no_grad():
        for name, weight in base.model.named_parameters():
            if "lora_B" in name:
                weight.mul_(2)
    with kernels:
        after = logits(base, 1)
    assert torch.allclose(after, logits(base, 1), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(after, before, rtol=1e-2)
