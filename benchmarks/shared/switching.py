"""Switching among many adapters on one base, against PEFT's ``set_adapter``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

COUNTS = (1, 2, 4, 8, 16, 32)
TIMES = 30


def switch_ms(path: str, adapter: Path, counts: tuple[int, ...] = COUNTS) -> dict[str, Any]:
    """Median milliseconds of a switch with so many adapters attached; with one, of a switch between
    it and the bare base.

    Args:
        path: the base's folder.
        adapter: is attached again and again, under other names.
        counts: how many adapters.
    """
    own, peer = _own(path, adapter, counts), _peft(path, adapter, counts)
    return {
        "adapters": list(counts),
        "own": own,
        "peft": peer,
        "ratio": [round(theirs / ours, 2) for ours, theirs in zip(own, peer, strict=True)],
    }


def _own(path: str, adapter: Path, counts: tuple[int, ...]) -> list[float]:
    from sekft_engine.model.resident import ResidentBase

    base = ResidentBase.load(path)
    found = []
    for count in counts:
        for number in range(len(base.adapters), count):
            base.attach(str(number), adapter)

        def switch(number: int, count: int = count) -> None:
            alone = count == 1 and number % 2 == 1
            base.activate(None if alone else str(number % count))

        found.append(_median_ms(switch))
    return found


def _peft(path: str, adapter: Path, counts: tuple[int, ...]) -> list[float]:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(path, local_files_only=True)
    model = PeftModel.from_pretrained(model, str(adapter), adapter_name="0")
    attached, found = 1, []
    for count in counts:
        for number in range(attached, count):
            model.load_adapter(str(adapter), adapter_name=str(number))
        attached = max(attached, count)

        def switch(number: int, count: int = count) -> None:
            if count == 1:
                layers = model.base_model
                (layers.disable_adapter_layers if number % 2 else layers.enable_adapter_layers)()
            else:
                model.set_adapter(str(number % count))

        found.append(_median_ms(switch))
    return found


def _median_ms(do: Callable[[int], object]) -> float:
    took = []
    for number in range(TIMES):
        began = time.perf_counter()
        do(number)
        took.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(took), 2)
