"""Torch computes with as many threads as this process may use cores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sekft_engine.core import machine
from sekft_engine.core.machine import SPIN_COUNT, usable_threads


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (["max 100000\n"], 8),
        (["250000 100000\n"], 3),
        (["5000 100000\n"], 1),
        (["1600000 100000\n"], 8),
        (["-1\n", "100000\n"], 8),
        (["200000\n", "100000\n"], 2),
        (["nonsense\n"], 8),
        ([], 8),
    ],
)
def test_a_containers_share_counts(
    files: list[str], wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [tmp_path / str(number) for number in range(len(files))]
    for name, text in zip(names, files, strict=True):
        name.write_text(text)
    monkeypatch.setattr(machine, "_QUOTAS", (tuple(map(str, names)),))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    assert usable_threads() == wanted


@pytest.mark.parametrize(("said", "wanted"), [("", 1), ("2", 2)])
def test_a_process_kept_to_one_core_uses_one_unless_told_otherwise(said: str, wanted: int) -> None:
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "from sekft_engine.model.imports import import_torch; import_torch()\n"
        "import torch; print(torch.get_num_threads())"
    )
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    env |= {"OMP_NUM_THREADS": said} if said else {}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == wanted


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({}, SPIN_COUNT),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, "none"),
    ],
)
def test_threads_that_wait_sleep_soon_unless_told_otherwise(
    said: dict[str, str], wanted: str
) -> None:
    code = (
        "import os, sys\n"
        "from sekft_engine.engine.engine import Engine\n"
        "engine = Engine().start()\n"
        "print('torch' in sys.modules, os.environ.get('GOMP_SPINCOUNT', 'none'))\n"
        "engine.close()"
    )
    ours = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    env = {key: value for key, value in os.environ.items() if key not in ours} | said
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    assert done.stdout.split() == ["False", wanted]
