"""Torch is imported so that a front end in the same process can answer meanwhile."""

from __future__ import annotations

import subprocess
import sys

import pytest

_LOADED = """
import sys
from pathlib import Path
from sekft_engine.model.imports import import_torch, load_libraries
load_libraries()
assert "torch" not in sys.modules
print("libtorch_cpu.so" in Path("/proc/self/maps").read_text())
import_torch()
import torch
print(float((torch.ones(8, 8) @ torch.ones(8, 8)).sum()), torch.get_num_threads())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the import loads the libraries")
def test_torchs_libraries_are_loaded_before_its_import_which_would_hold_the_interpreter() -> None:
    plain = "import torch\nprint(torch.get_num_threads())"
    told, expected = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for code in (_LOADED, plain)
    )
    loaded, computed = told.stdout.splitlines()
    assert loaded == "True"
    assert computed == f"512.0 {expected.stdout.strip()}"
