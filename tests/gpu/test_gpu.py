"""What only a card can show; each check of ``python -m tests.gpu`` is a test where there is one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.gpu.__main__ import main
from tests.gpu.checks import CHECKS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no card that torch can use")


# The suite is what is running, and benchmarks are no tests.
@pytest.mark.parametrize(
    "name", [name for name in CHECKS if name != "suite" and not name.endswith("_benchmark")]
)
def test_the_card_does_what_the_cpu_does(name: str, tmp_path: Path) -> None:
    status = main(["--only", name, "--out", str(tmp_path)])
    (finding,) = json.loads((tmp_path / "gpu.json").read_text())["findings"]
    assert status == 0, finding["why"]
    assert finding["state"] == "passed"
