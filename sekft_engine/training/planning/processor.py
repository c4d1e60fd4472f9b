"""What this machine's processor reaches, from two short measurements: nobody publishes it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import numpy as np

from sekft_engine.training.planning.cards import Card

#: Rows and columns of the product, and bytes of the copy, which no cache holds.
_PRODUCT, _COPY = 384, 1 << 25
#: Times each is done, in so many seconds at most, but a few times at least. The fastest counts:
#: beside other busy processes most products take twenty times as long.
_TIMES, _SECONDS, _FEW = 60, 0.5, 3
MEASURED = "one matrix product and one copy, measured on this machine"


@functools.cache
def processor() -> Card:
    """This machine's processor with its figures in float32, measured at the first call (up to 1 s).

    Needs no torch, whose products may be somewhat faster or slower than NumPy's.
    """
    x = np.ones((_PRODUCT, _PRODUCT), dtype=np.float32)
    out = np.empty_like(x)
    product = _fastest(lambda: np.matmul(x, x, out=out))
    source = np.ones(_COPY // 4, dtype=np.float32)
    target = np.ones_like(source)
    copy = _fastest(lambda: np.copyto(target, source))
    return Card(
        name="this machine's processor",
        memory_gib=0,
        peak_tflops=2 * _PRODUCT**3 / product / 1e12,
        bandwidth_gbs=2 * _COPY / copy / 1e9,
        source=MEASURED,
        bf16=False,
    )


def known_processor() -> Card | None:
    """The same if it has been measured; None = not yet."""
    return processor() if processor.cache_info().currsize else None


def _fastest(work: Callable[[], object]) -> float:
    """Seconds of the fastest of a few times."""
    seconds: list[float] = []
    while len(seconds) < _TIMES and (len(seconds) < _FEW or sum(seconds) < _SECONDS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return max(min(seconds), 1e-9)
