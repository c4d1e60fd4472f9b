"""Commands that other packages add to ``sekft``, the screens among them."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages."""
    (tmp_path / "greeting.py").write_text(
        "import click\n"
        "@click.command('greet', short_help='Say hello.')\n"
        "def command():\n"
        "    click.echo('hello')\n"
    )
    return tmp_path


def install(site: Path, name: str, value: str) -> None:
    """Install a package that adds the command ``name``."""
    folder = site / f"{name}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[sekft.commands]\n{name} = {value}\n")


def sekft(*arguments: str, site: Path) -> subprocess.CompletedProcess[str]:
    """Run ``sekft`` where only the packages in ``site`` add commands."""
    code = (
        "import sys, importlib.metadata as metadata\n"
        f"found = metadata.entry_points\n"
        "def only(**wanted):\n"
        f"    path = [{str(site)!r}]\n"
        "    points = [p for d in metadata.distributions(path=path) for p in d.entry_points]\n"
        "    return metadata.EntryPoints(points).select(**wanted)\n"
        "metadata.entry_points = only\n"
        "from sekft_engine.cli.main import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{site}"},
    )


def test_a_command_of_another_package_is_listed_and_runs(site: Path) -> None:
    install(site, "greet", "greeting:command")
    assert "Say hello." in sekft("--help", site=site).stdout
    assert sekft("greet", site=site).stdout == "hello\n"


@pytest.mark.parametrize("value", ["not_there:command", "greeting:nothing", "greeting:click"])
def test_a_broken_package_is_named_and_spoils_nothing_else(site: Path, value: str) -> None:
    install(site, "greet", value)
    done = sekft("greet", site=site)
    assert done.returncode == 2
    assert value in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = sekft("--help", site=site)
    assert done.returncode == 0
    assert "train" in done.stdout


def test_a_slip_in_the_name_of_a_command_is_answered_with_the_one_that_was_meant(
    site: Path,
) -> None:
    install(site, "tui", "greeting:command")
    for slip, meant in (("tun", "tui"), ("tarin", "train"), ("exprot", "export")):
        done = sekft(slip, site=site)
        assert done.returncode == 2
        assert f"No such command '{slip}'. Did you mean '{meant}'" in done.stderr
    assert "Did you mean" not in sekft("qqqqq", site=site).stderr


def test_a_command_of_the_engine_is_not_replaced(site: Path) -> None:
    install(site, "doctor", "greeting:command")
    assert "Say hello." not in sekft("--help", site=site).stdout
    assert "machine" in sekft("doctor", "--help", site=site).stdout


@pytest.mark.parametrize("arguments", [(), ("tui",)])
def test_an_installation_without_the_screens_says_how_to_get_them(
    site: Path, arguments: tuple[str, ...]
) -> None:
    done = sekft(*arguments, site=site)
    assert done.returncode == 2
    assert "pip install" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_package_lists_the_workbench_as_a_command(site: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    install(site, "tui", project["entry-points"]["sekft.commands"]["tui"])
    assert "Open the workbench (plain `sekft` is the same)." in sekft("--help", site=site).stdout
    assert "needs a terminal" in sekft("tui", "--help", site=site).stdout
