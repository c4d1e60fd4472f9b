"""Passes side by side on a CPU, each on its share of the threads.

Threads that work on one pass wait for each other at the end of each of its thousands of operations;
threads of two passes never do, and what Python does for one of them the other computes through. On
two cores rows of unlike beginnings train at a tenth more tokens per second; less where the halves
of a pass share less of what rows begin with than the whole did (see :func:`.batches.halves`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

Given = TypeVar("Given")
Found = TypeVar("Found")

#: Passes at a time. More of them would share less still, and wait for each other in Python.
LANES = 2


def lanes_on(device: torch.device) -> int:
    """How many passes at a time can be made on ``device``: all of a CPU's threads are to work."""
    import torch

    even = device.type == "cpu" and torch.get_num_threads() % LANES == 0
    return LANES if even else 1


def side_by_side(work: Callable[[Given], Found], parts: Sequence[Given]) -> list[Found]:
    """``work`` of each part at the same time; what it gives, in the order of the parts.

    Raises:
        Exception: what the first part that failed raised, once all have ended.
    """
    import torch

    if len(parts) < 2:
        return [work(part) for part in parts]
    found: dict[int, Found] = {}
    failed: dict[int, BaseException] = {}

    def lane(number: int) -> None:
        try:
            found[number] = work(parts[number])
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that asked
            failed[number] = error

    threads = torch.get_num_threads()
    others = [
        threading.Thread(target=lane, args=(number,), name=f"lane {number}", daemon=True)
        for number in range(1, len(parts))
    ]
    # MKL knows one number for all threads: it is set here and not by each.
    torch.set_num_threads(max(1, threads // len(parts)))
    try:
        for other in others:
            other.start()
        lane(0)
        for other in others:
            other.join()
    finally:
        torch.set_num_threads(threads)
    if failed:
        raise failed[min(failed)]
    return [found[number] for number in range(len(parts))]
