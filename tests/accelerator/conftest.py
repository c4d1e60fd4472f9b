"""A tiny base on the simulated device, and the same one on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sekft_engine.model.resident import ResidentBase
from sekft_engine.training.trainer.data import Data, load_data
from tests.accelerator import simulated
from tests.training.conftest import RECIPE
from tests.training.sessions import write_sessions

SIM = "sim"


@pytest.fixture(scope="session", autouse=True)
def _device() -> None:
    simulated.set_up()


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Memory without a limit, and nothing recorded."""
    yield
    simulated.allocator.capacity = None
    simulated.SimulatedDevice.base_dtype = torch.float32
    simulated.record.clear()


@pytest.fixture(scope="session")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 12 short trajectories."""
    return write_sessions(tmp_path_factory.mktemp("data") / "trajectories", 12)


@pytest.fixture(scope="module")
def on_cpu(tiny_base: Path) -> ResidentBase:
    return ResidentBase.load(tiny_base, place=torch.device("cpu"))


@pytest.fixture(scope="module")
def on_device(tiny_base: Path) -> ResidentBase:
    return ResidentBase.load(tiny_base, place=torch.device(SIM, 0))


@pytest.fixture(scope="module")
def data(on_cpu: ResidentBase, sessions: Path) -> Data:
    return load_data(str(sessions), "", on_cpu.tokenizer, RECIPE)


@pytest.fixture(autouse=True)
def _bare(request: pytest.FixtureRequest) -> Iterator[None]:
    """Bases are left without adapters."""
    yield
    for name in ("on_cpu", "on_device"):
        if name in request.fixturenames:
            base: ResidentBase = request.getfixturevalue(name)
            for adapter in base.adapters:
                base.drop(adapter)
