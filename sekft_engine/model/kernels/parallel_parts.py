"""Parts of a batch computed in parallel on a CPU, each on its share of the threads.

Threads of one pass wait for each other at the end of each of its thousands of operations; threads
of two passes do not, and while Python prepares an operation of one pass the other computes. On two
cores, rows without shared prefixes train a tenth more tokens per second; the gain is smaller if the
parts share less of their prefixes than the whole did (see :func:`.batches.halves`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

Part = TypeVar("Part")
Result = TypeVar("Result")

#: More parts would share less of their prefixes, and wait for each other in Python.
PARTS = 2


def parallel_parts(device: torch.device) -> int:
    """How many parts ``device`` computes in parallel: 1 if the threads cannot be divided evenly."""
    import torch

    even = device.type == "cpu" and torch.get_num_threads() % PARTS == 0
    return PARTS if even else 1


def run_parallel(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """Run ``work`` on all parts in parallel; returns the results in the order of the parts.

    Raises:
        Exception: the error of the first part that failed, once all have ended.
    """
    import torch

    if len(parts) < 2:
        return [work(part) for part in parts]
    results: dict[int, Result] = {}
    errors: dict[int, BaseException] = {}

    def run(number: int) -> None:
        try:
            results[number] = work(parts[number])
        except BaseException as error:  # noqa: BLE001 - raised below, in the calling thread
            errors[number] = error

    threads = torch.get_num_threads()
    others = [
        threading.Thread(target=run, args=(number,), name=f"part {number}", daemon=True)
        for number in range(1, len(parts))
    ]
    # MKL has one thread count for the process, so it is set here and not in each thread.
    torch.set_num_threads(max(1, threads // len(parts)))
    try:
        for other in others:
            other.start()
        run(0)
        for other in others:
            other.join()
    finally:
        torch.set_num_threads(threads)
    if errors:
        raise errors[min(errors)]
    return [results[number] for number in range(len(parts))]
