"""A base that does not fit into memory."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from sekft_engine.core.errors import JobFailed
from sekft_engine.model.resident import ResidentBase
from tests.models import smollm2_folder


def test_a_base_that_does_not_fit_into_memory_is_not_called_broken(tiny_base: Path) -> None:
    import torch

    cpu = torch.device("cpu")
    ResidentBase.load(tiny_base, place=cpu)  # imports what loading needs
    folder = smollm2_folder()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + (128 << 20)  # the base has 257 MiB
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        with pytest.raises(JobFailed, match="not enough memory to load this base"):
            ResidentBase.load(folder, place=cpu)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
