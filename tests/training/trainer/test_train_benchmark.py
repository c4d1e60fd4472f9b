"""The benchmarks of training go all their ways on toys; their figures say nothing there."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import large, train

SMALL = ("--batch", "2", "--micro-batch", "2", "--steps", "2")


def test_a_random_base_in_four_bits_is_trained_and_its_adapters_change(smollm2: Path) -> None:
    options = train.options_of([*SMALL, "--base", str(smollm2), "--no-trl"])
    result = large.measure(options, "toy")
    assert result["sekft"]["tokens_per_s"] > 0
    assert result["swap_ms"] > 0
    assert result["weights_mib"] > 0
    assert (result["base"], result["quantised"]) == ("toy, random", True)
    assert "trl" not in result


@pytest.mark.slow
def test_sekft_and_trl_and_every_lever_are_measured_and_end_in_the_same_losses(
    tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = train.measure(
        train.options_of([*SMALL, "--base", str(tiny_base), "--lever-steps", "2"])
    )
    assert set(result["trl_ways"]) == {"1 x plain", "2 x plain"}
    assert result["trl_best"] in result["trl_ways"]
    assert not result["trl_failed"]
    assert result["ratio_trl"] > 0
    assert result["share_of_bound"] > 0
    assert result["loss_difference"] < 1e-5
    assert len(result["levers"]) == 10
    assert not capsys.readouterr().out, "the document of --json stands alone"
    train.show(result)
    assert "ratio to TRL" in capsys.readouterr().out
