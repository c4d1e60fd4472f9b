"""The benchmark of a large base on a GPU goes the same way on a toy one without."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import large


def test_a_random_base_in_four_bits_is_trained_and_its_adapters_change(smollm2: Path) -> None:
    options = argparse.Namespace(
        base=str(smollm2), batch=2, micro_batch=2, steps=2, recompute="never"
    )
    result = large.measure(options, "toy")
    assert result["tokens_per_s"] > 0
    assert result["swap_ms"] > 0
    assert result["weights_mib"] > 0
    assert result["base"] == "toy, random, NF4"
