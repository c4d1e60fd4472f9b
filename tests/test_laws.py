"""The three laws of the house: a headless engine, a light start, and one engine for all."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import sekft_engine
from sekft_engine.cli.main import COMMANDS

HEAVY = ("torch", "transformers", "peft", "bitsandbytes", "accelerate")


def modules_after(code: str) -> set[str]:
    """Names of the top-level modules that a fresh Python holds after ``code``."""
    script = code + "\nimport sys; print(' '.join(sorted({n.split('.')[0] for n in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.splitlines()[-1].split())


ENGINE_MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(sekft_engine.__path__, "sekft_engine.")
    if not module.name.endswith("__main__")
)


def test_importing_the_whole_engine_loads_neither_a_screen_nor_a_model_library() -> None:
    loaded = modules_after("\n".join(f"import {name}" for name in ENGINE_MODULES))
    assert not loaded & {"textual", "sekft_tui", *HEAVY}


def test_sekft_help_needs_neither_torch_nor_textual() -> None:
    loaded = modules_after("from sekft_engine.cli.main import run\nassert run(['--help']) == 0")
    assert not loaded & {"textual", "rich", *HEAVY}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_tells_its_flags_without_torch(name: str) -> None:
    loaded = modules_after(
        f"from sekft_engine.cli.main import run\nassert run([{name!r}, '--help']) == 0"
    )
    assert not loaded & set(HEAVY)


def test_the_engine_never_imports_the_screens_statically() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports; exit(lint_imports())"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
