"""What is said of the machine: its processors, its memory, its GPU."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path
from typing import Any

import pynvml
import pytest
import torch

from sekft_engine.core import machine
from sekft_engine.core.gpu import GpuMonitor
from sekft_engine.model.device import device_of


class Driver:
    """Answers as the NVIDIA driver's library does, beneath NVIDIA's own binding."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            self.asked.append(name)
            if self.broken or name.startswith("nvmlDeviceGetHandleByUUID"):
                return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
            if name == "nvmlDeviceGetName":
                arguments[1].value = b"Test GPU"
            elif name == "nvmlDeviceGetUtilizationRates":
                _fill(arguments[1], ctypes.c_uint, (87, 40))
            elif name == "nvmlDeviceGetMemoryInfo":
                _fill(arguments[1], ctypes.c_ulonglong, (80 << 30, 50 << 30, 30 << 30))
            elif name == "nvmlDeviceGetPowerUsage":
                return int(pynvml.NVML_ERROR_NOT_SUPPORTED)  # this GPU cannot say
            elif name == "nvmlDeviceGetTemperature":
                _fill(arguments[2], ctypes.c_uint, (61,))
            return 0

        return call


def _fill(reference: Any, kind: type[Any], values: tuple[int, ...]) -> None:
    target = ctypes.cast(reference, ctypes.POINTER(kind))
    for number, value in enumerate(values):
        target[number] = value


def install(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pynvml, "nvmlLib", driver)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})


def test_the_gpu_is_read_through_the_driver_and_what_it_cannot_say_is_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver = Driver()
    install(driver, monkeypatch)
    read = GpuMonitor("GPU-unknown").read()
    assert (read.name, read.busy, read.celsius, read.watts) == ("Test GPU", 0.87, 61, 0.0)
    assert (read.used, read.total) == (30 << 30, 80 << 30)
    assert "nvmlDeviceGetHandleByIndex_v2" in driver.asked, "an unknown name means the first"


def test_a_driver_that_does_not_answer_is_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(Driver(broken=True), monkeypatch)
    with pytest.raises(OSError, match="does not answer"):
        GpuMonitor()


@pytest.mark.parametrize("limited", [True, False])
def test_a_control_groups_memory_limit_counts(
    limited: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, used = tmp_path / "memory.max", tmp_path / "memory.current"
    limit.write_text("3000\n" if limited else "max\n")
    used.write_text("1000\n")
    monkeypatch.setattr(machine, "_MEMORY_LIMITS", ((str(limit), str(used)),))
    cpu = device_of(torch.device("cpu"))
    if limited:
        assert (machine.memory_total(), cpu.free_bytes()) == (3000, 2000)
        used.write_text("4000\n")
        assert cpu.free_bytes() == 0, "never less than nothing"
    else:
        assert machine.memory_total() > machine.memory_used() > 0
        assert cpu.free_bytes() > 3000


def test_the_processors_load_is_a_share_of_all_of_them() -> None:
    load = machine.ProcessorLoad()
    assert sum(range(10**6)) > 0  # some work in between
    assert 0 <= load.read() <= 1


_NO_LIBRARY = """
import pynvml
from sekft_engine.core.gpu import ask_driver
searches = []
def search(name):
    searches.append(name)
    raise OSError(name)
pynvml.CDLL = search
print(ask_driver(), ask_driver(), len(searches))
"""


def test_a_driver_that_is_not_there_is_looked_for_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NO_LIBRARY], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["None", "None", "1"]
