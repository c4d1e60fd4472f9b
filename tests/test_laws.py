"""The laws of the house: a headless engine, a light start, and folders that one can read."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import click
import pytest

import sekft_engine
import sekft_tui
from sekft_engine.cli.commands import COMMANDS, DEFAULT, GROUP
from sekft_engine.engine.registry import HANDLERS

ROOT = Path(__file__).parents[1]
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


def test_the_workbench_paints_its_frame_before_it_reads_what_stands_in_it(tmp_path: Path) -> None:
    loaded = modules_after(
        "from sekft_engine.data.workspace import Workspace\n"
        "from sekft_tui.app import Workbench\n"
        f"list(Workbench(lambda: 1 / 0, Workspace({str(tmp_path)!r})).compose())"
    )
    assert "textual" in loaded
    assert not loaded & {"numpy", "psutil", "pynvml", *HEAVY}


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


@pytest.mark.parametrize("handler", [name for name in HANDLERS.values() if isinstance(name, str)])
def test_every_job_has_a_function_where_the_registry_names_one(handler: str) -> None:
    module, _, name = handler.partition(":")
    assert module.startswith("sekft_engine.")
    assert not module.startswith(("sekft_engine.cli", "sekft_engine.engine")), "these stand above"
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_where_the_table_names_one(name: str) -> None:
    module = COMMANDS[name][0]
    assert module.startswith("sekft_engine.cli.")
    assert isinstance(importlib.import_module(module).command, click.Command)


def test_every_command_that_this_package_adds_is_where_it_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    added = project["entry-points"][GROUP]
    assert DEFAULT in added
    for point in added.values():
        module, _, name = point.partition(":")
        assert isinstance(getattr(importlib.import_module(module), name), click.Command)


#: So many modules of one folder can be read at a glance.
MOST_MODULES = 16


def test_no_folder_holds_more_modules_than_one_can_read_at_a_glance() -> None:
    modules = Counter(
        str(path.parent)
        for package in (sekft_engine, sekft_tui)
        for path in Path(package.__path__[0]).rglob("*.py")
        if path.name != "__init__.py"
    )
    assert modules
    assert {folder: count for folder, count in modules.items() if count > MOST_MODULES} == {}
