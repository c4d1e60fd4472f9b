"""A sum over every bit of a tensor that nothing which changes it leaves as it was.

Each run of 32 bits is multiplied by a random number of 64 bits that this process drew, modulo 2^64,
and added up for every 128 KiB. Whatever a change is, and however many bits it has, the chance that
a sum is the same after it is at most 2^-33, since it does not depend on the numbers drawn (Carter
and Wegman, Universal classes of hash functions, 1979). Sums are made at the speed of memory on a
CPU and on a GPU, and take nothing off the device but themselves.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

from sekft_engine.threads import usable_threads

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Runs of 32 bits that have one sum. Torch does so many in the thread that asks.
WORDS = 1 << 15
#: Sums that a GPU makes at a time: of 16 MiB of weights, which takes twice as much for a moment.
SUMS_AT_ONCE = 128
#: More threads than that wait for memory only.
MOST_THREADS = 8
#: The random numbers of this process, one for each place in a run. Nobody can know them, and what
#: draws at random elsewhere goes on as if this had not.
_SECRET = os.urandom(8 * WORDS)


def sums_of(tensors: Sequence[Tensor]) -> list[bytes]:
    """For each tensor a digest of the sums over its bits."""
    plain = [words_of(tensor) for tensor in tensors]
    factors = {device: factors_on(device) for device in {words.device for words in plain}}
    digests = [hashlib.sha256(f"{words.numel()} {words.dtype}".encode()) for words in plain]
    with ThreadPoolExecutor(min(MOST_THREADS, usable_threads())) as pool:
        tasks = [
            [pool.submit(sums_on_cpu, run, factors[words.device]) for run in runs(words)]
            for words in plain
        ]
        for words, parts, digest in zip(plain, tasks, digests, strict=True):
            for part in parts:
                digest.update(part.result())
            if words.device.type != "cpu":  # one after another: that takes less of its memory
                digest.update(sums_on_device(words, factors[words.device]))
    return [digest.digest() for digest in digests]


def words_of(tensor: Tensor) -> Tensor:
    """The bits of a tensor in a row: in runs of 32, or of 8 where they do not go into 32."""
    import torch

    flat = own_part(tensor).detach().contiguous().reshape(-1)
    octets = flat.view(torch.uint8)
    if octets.numel() % 4 or octets.data_ptr() % 4 or octets.storage_offset() % 4:
        return octets
    return octets.view(torch.int32)


def runs(words: Tensor) -> list[Tensor]:
    """Parts of a tensor for the threads of a CPU."""
    import torch

    if words.device.type != "cpu" or not words.numel():
        return []
    return [*torch.split(words, WORDS * 64)]


def sums_on_cpu(words: Tensor, factors: Tensor) -> bytes:
    """Sums over some 128 KiB each, with room for one such part only."""
    import torch

    with torch.no_grad():
        room = torch.empty(WORDS, dtype=torch.int64)
        sums = torch.empty(-(-words.numel() // WORDS), dtype=torch.int64)
        for number, part in enumerate(torch.split(words, WORDS)):
            size = part.numel()
            products = room[:size]
            products.copy_(part)
            products.mul_(factors[:size])
            torch.sum(products, dim=0, out=sums[number])
        return sums.numpy().tobytes()


def sums_on_device(words: Tensor, factors: Tensor) -> bytes:
    import torch

    with torch.no_grad():
        count = words.numel() // WORDS
        parts = torch.split(words[: count * WORDS].view(count, WORDS), SUMS_AT_ONCE)
        sums = [part.to(torch.int64).mul_(factors).sum(dim=1) for part in parts]
        rest = words[count * WORDS :]
        if rest.numel():
            sums.append(rest.to(torch.int64).mul_(factors[: rest.numel()]).sum().reshape(1))
        return torch.cat(sums).cpu().numpy().tobytes()


@cache
def factors_on(device: torch.device) -> Tensor:
    import torch

    return torch.frombuffer(bytearray(_SECRET), dtype=torch.int64).to(device)


def own_part(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor that is spread over several."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor
