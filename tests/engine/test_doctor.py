"""``sekft doctor``: each trouble of a machine has a line with the way out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from sekft_engine.cli.main import run as sekft
from sekft_engine.core.gpu import Driver
from sekft_engine.engine import doctor
from sekft_engine.engine.check import Check
from sekft_engine.engine.torch_probe import TorchProbe
from sekft_engine.worlds.trees import userlands


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with torch and no sandbox, whose programs are in a folder; a plain terminal."""
    monkeypatch.setattr(doctor, "probe_torch", lambda: TorchProbe(version="2.9.0", threads=2))
    monkeypatch.setattr(doctor, "ask_driver", lambda: None)
    monkeypatch.setattr(doctor, "probe", lambda: ())
    for name in ("TMUX", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("SEKFT_USERLANDS", str(tmp_path / "userlands"))
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    return programs


def install(programs: Path, name: str, script: str) -> None:
    (programs / name).write_text(f"#!/bin/sh\n{script}\n")
    (programs / name).chmod(0o755)


def check(name: str, root: Path = Path("/tmp")) -> Check:
    [found] = [each for each in doctor.examine(root) if each.name == name]
    return found


def test_torch_that_is_well_or_missing_or_broken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check("torch").detail == "2.9.0, 2 CPU threads"

    def broken() -> TorchProbe:
        raise subprocess.CalledProcessError(
            1, "python", stderr="Traceback\nImportError: libcudart.so.12: no such file\n"
        )

    monkeypatch.setattr(doctor, "probe_torch", broken)
    found = check("torch")
    assert not found.ok
    assert found.detail == "does not start: ImportError: libcudart.so.12: no such file"
    assert "pip install 'sekft-tui[gpu]'" in found.mend


def test_a_torch_that_hangs_or_talks_nonsense_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs() -> TorchProbe:
        raise subprocess.TimeoutExpired("python", 60)

    def nonsense() -> TorchProbe:
        raise ValueError

    monkeypatch.setattr(doctor, "probe_torch", hangs)
    assert "timed out after 60 seconds" in check("torch").detail
    monkeypatch.setattr(doctor, "probe_torch", nonsense)
    assert check("torch").detail == "does not start: ValueError"


def test_a_driver_whose_library_is_missing_is_told(machine: Path) -> None:
    install(machine, "nvidia-smi", "true")
    assert "NVML" in " ".join(each.detail for each in doctor.examine(machine) if not each.ok)


def test_a_driver_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ask_driver", lambda: Driver(error="Driver/library mismatch"))
    assert "mismatch" in " ".join(each.detail for each in doctor.examine(Path()) if not each.ok)


def test_the_folder_that_a_workspace_would_be_made_in_is_looked_at(tmp_path: Path) -> None:
    there, not_yet = check("workspace", tmp_path), check("workspace", tmp_path / "a" / "b")
    assert there.ok == not_yet.ok
    assert not_yet.detail.startswith(f"{tmp_path}/a/b: not there yet; in {tmp_path} ")
    assert "not there yet" not in there.detail
    (tmp_path / "file").touch()
    assert not check("workspace", tmp_path / "file").ok


def test_over_ssh_a_missing_tmux_is_worth_a_word(
    monkeypatch: pytest.MonkeyPatch, machine: Path
) -> None:
    assert check("tmux").ok, "here it is not needed"
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22")
    missing = check("tmux")
    assert (missing.ok, missing.mend) == (False, "apt-get install tmux")
    install(machine, "tmux", "echo tmux 3.4")
    outside = check("tmux")
    assert (outside.ok, outside.detail) == (False, "tmux 3.4, not inside it")
    assert outside.mend == "tmux new -A -s sekft"


@pytest.mark.parametrize("setting", ["on", "external"])
def test_inside_tmux_its_clipboard_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, machine: Path, setting: str
) -> None:
    install(machine, "tmux", f'test "$1" = -V && echo tmux 3.4 || echo {setting}')
    monkeypatch.setenv("TMUX", "/tmp/tmux-0/default,1,0")
    assert check("tmux").detail == "tmux 3.4, inside it"
    found = check("clipboard")
    assert found.detail == f"set-clipboard {setting}"
    assert found.mend == ("" if setting == "on" else "tmux set -g set-clipboard on")


def test_a_tmux_that_cannot_be_run_spoils_nothing(
    monkeypatch: pytest.MonkeyPatch, machine: Path
) -> None:
    (machine / "tmux").write_text("no program")
    (machine / "tmux").chmod(0o755)
    assert check("tmux").ok


def test_a_terminal_that_cannot_place_text_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    found = check("screen")
    assert not found.ok
    assert "TERM=dumb" in found.detail
    assert "need no screen" in found.mend


def test_a_userland_that_cannot_be_used_is_told_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "probe", lambda: ())
    folder = userlands.userlands_folder() / "mine"
    (folder / "root").mkdir(parents=True)
    (folder / "root" / "file").write_text("changed since")
    record = {"name": "mine", "digest": "0" * 64, "stamp": "0" * 64, "source": "an image"}
    (folder / "userland.json").write_text(json.dumps(record))
    assert sekft(["doctor"]) == 1
    out = capfd.readouterr().out
    assert "userland mine" in out
    assert "was changed since it was built" in out
    assert "sekft worlds build --again --from-image" in out
    assert "userland debian" in out
