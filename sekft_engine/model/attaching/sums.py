"""A checksum over every bit of a tensor.

Each run of 32 bits is multiplied by a random number of 64 bits that this process drew, modulo 2^64,
and added up for every 128 KiB. For any change of any number of bits, the probability
that a sum stays the same is at most 2^-33, since it does not depend on the numbers drawn (Carter
and Wegman, Universal classes of hash functions, 1979). Sums run at
memory bandwidth on CPU and GPU, and only the sums leave the device.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

from sekft_engine.core.machine import usable_threads

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: How many runs of 32 bits share a sum. Torch processes so many in the calling thread.
WORDS = 1 << 15
#: Sums that a GPU computes at once: of 16 MiB of weights, which takes twice as much temporarily.
SUMS_AT_ONCE = 128
#: More threads would only wait for memory.
MOST_THREADS = 8
#: The random numbers of this process, one for each place in a run. They are secret, and drawing
#: them does not affect other random generators.
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
            if words.device.type != "cpu":  # one after another takes less device memory
                digest.update(sums_on_device(words, factors[words.device]))
    return [digest.digest() for digest in digests]


def words_of(tensor: Tensor) -> Tensor:
    """The bits of a tensor, flat [N]: as int32, or as uint8 if they do not fill or align to it."""
    import torch

    flat = local_part(tensor).detach().contiguous().reshape(-1)
    octets = flat.view(torch.uint8)
    if octets.numel() % 4 or octets.data_ptr() % 4 or octets.storage_offset() % 4:
        return octets
    return octets.view(torch.int32)


def runs(words: Tensor) -> list[Tensor]:
    """Split words [N] into parts for the threads of a CPU."""
    import torch

    if words.device.type != "cpu" or not words.numel():
        return []
    return [*torch.split(words, WORDS * 64)]


def sums_on_cpu(words: Tensor, factors: Tensor) -> bytes:
    """Sums over words [N], 128 KiB each, with memory for one such part only."""
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


def local_part(tensor: Tensor) -> Tensor:
    """This process's part of a sharded tensor; any other tensor as it is."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor
