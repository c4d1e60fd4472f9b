"""What a command says when it cannot do what it was asked: one line, one document, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def sekft(
    *arguments: str, environ: Mapping[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m sekft_engine``."""
    return subprocess.run(
        [sys.executable, "-m", "sekft_engine", *arguments],
        stdin=subprocess.DEVNULL,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | dict(environ or {}),
    )


@pytest.fixture
def stumbling(tmp_path: Path) -> dict[str, str]:
    """An environment with a package whose command fails in a way that nobody foresaw."""
    (tmp_path / "stumbling.py").write_text(
        "import click, threading\n"
        "@click.command('stumble')\n"
        "@click.option('--json', is_flag=True)\n"
        "@click.option('--thread', is_flag=True)\n"
        "def command(json, thread):\n"
        "    if thread:\n"
        "        one = threading.Thread(target=fall)\n"
        "        one.start()\n"
        "        one.join()\n"
        "    else:\n"
        "        fall()\n"
        "def fall():\n"
        "    raise ZeroDivisionError('over a stone')\n"
    )
    folder = tmp_path / "stumbling-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: stumbling\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[sekft.commands]\nstumble = stumbling:command\n")
    return {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }


def report_in(line: str) -> str:
    """The crash report that a line names."""
    return Path(line.partition("a report is in ")[2].partition(";")[0].rstrip(")\n")).read_text()


def test_an_error_that_nobody_foresaw_is_one_line_and_a_report(stumbling: dict[str, str]) -> None:
    done = sekft("stumble", environ=stumbling)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("sekft: error: unexpected ZeroDivisionError: over a stone")
    assert "--debug" in line
    report = report_in(line)
    assert "in fall" in report
    assert "sekft stumble" in report


@pytest.mark.parametrize("words", [("--debug", "stumble"), ("stumble", "--debug")])
def test_debug_shows_the_trace(stumbling: dict[str, str], words: tuple[str, ...]) -> None:
    done = sekft(*words, environ=stumbling)
    assert done.returncode == 1
    assert "in fall" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("sekft: error: unexpected")


def test_an_error_of_a_thread_is_a_line_and_a_report_too(stumbling: dict[str, str]) -> None:
    done = sekft("stumble", "--thread", environ=stumbling)
    (line,) = done.stderr.splitlines()
    assert "in fall" in report_in(line)


def test_a_report_goes_to_the_temporary_folder_where_there_is_no_other(
    stumbling: dict[str, str], tmp_path: Path
) -> None:
    environ = stumbling | {"XDG_STATE_HOME": "/proc/nothing", "TMPDIR": str(tmp_path)}
    done = sekft("stumble", environ=environ)
    assert "in fall" in report_in(done.stderr.splitlines()[-1])
    assert list(tmp_path.rglob("crash-*.txt"))


def test_a_report_holds_no_password_of_an_address(stumbling: dict[str, str]) -> None:
    done = sekft("stumble", "https://me:secret@host/v1", environ=stumbling)
    assert done.returncode == 2, "a usage error"
    done = sekft("stumble", "--json", "--", environ=stumbling)
    assert "secret" not in report_in(done.stderr)


def test_an_unexpected_error_is_a_document_too(stumbling: dict[str, str]) -> None:
    done = sekft("stumble", "--json", environ=stumbling)
    document = json.loads(done.stdout)
    assert document["exit"] == done.returncode == 1
    assert document["error"]["what"] == "unexpected ZeroDivisionError: over a stone"
    assert "trace" not in document["error"]
    debugged = json.loads(sekft("stumble", "--json", "--debug", environ=stumbling).stdout)
    assert "in fall" in debugged["error"]["trace"]


WRONG: tuple[tuple[str, ...], ...] = (
    ("train", "--data", "nowhere", "--base", "nowhere"),
    ("train", "--inspect", "--data", "nowhere", "--base", "nowhere"),
    ("train", "--resume", "--out", "nowhere"),
    ("train", "--no-such-option"),
    ("train", "--rank", "many"),
    ("eval", "--base", "nowhere"),
    ("eval", "--base", "nowhere", "--scenarios", "nowhere"),
    ("mask", "--data", "nowhere", "--base", "nowhere"),
    ("contract", "check", "--data", "nowhere", "--base", "nowhere", "--endpoint", "nowhere"),
    ("base", "add", "nowhere"),
    ("base", "check", "nowhere"),
    ("export", "nowhere", "--merged", "there"),
    ("factory", "admit", "nowhere"),
    ("queue", "list"),
    ("runs", "show", "nothing"),
    ("runs", "nothing"),
    ("takeover", "nowhere"),
    ("nothing",),
)


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_with_json_an_error_is_the_one_document(words: tuple[str, ...], tmp_path: Path) -> None:
    done = sekft(*words, "--json", cwd=tmp_path)
    assert done.returncode == 2
    document = json.loads(done.stdout)
    assert set(document) == {"error", "exit"}
    assert document["exit"] == 2
    assert document["error"]["what"]
    assert set(document["error"]) == {"what", "where", "mend"}
    assert document["error"]["what"] in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("base", "list"), ("base", "list", "--json"), ("--help",)])
def test_a_full_disk_is_a_failure_and_no_wrong_usage(words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = sekft(*words, stdout=full)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "the disk is full" in line


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("words", [("mask", "--all"), ("mask", "--stats"), ("train", "--inspect")])
def test_output_that_is_not_utf_8_shows_other_marks(
    encoding: str, words: tuple[str, ...], tiny_base: Path, sessions: Path
) -> None:
    done = sekft(
        *words,
        *("--data", str(sessions), "--base", str(tiny_base)),
        environ={"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert done.stderr == ""


SEKFT = "from sekft_engine.cli.main import main; main()"
HOMELESS = """
import os, pwd, sys

def unknown(_uid):
    raise KeyError("uid not found")

pwd.getpwuid = unknown
from sekft_engine.cli.main import main
main()
"""


@pytest.mark.parametrize("words", [("mask", "--stats"), ("train", "--inspect"), ("base", "list")])
@pytest.mark.parametrize("home", [None, "/proc", "/dev/null/home"])
def test_a_home_is_not_needed(
    home: str | None, words: tuple[str, ...], tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("HOME", "SEKFT_CACHE") and not name.startswith("XDG_")
    }
    environ = kept | {"TMPDIR": str(tmp_path), "SEKFT_ROWS": ""}
    if home is not None:
        environ["HOME"] = home
    code = HOMELESS if home is None else SEKFT
    needs = () if words[0] == "base" else ("--data", str(sessions), "--base", str(tiny_base))
    done = subprocess.run(
        [sys.executable, "-c", code, *words, *needs],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) <= 1, "one note at most"
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize(
    ("package", "word", "said"),
    [
        ("sekft_engine", "--help", "Usage: sekft"),
        ("sekft_tui", "--help", "Usage: sekft"),
        ("sekft_engine.cli.main", "--help", "Usage: sekft"),
        ("sekft_engine", "--version", "sekft, version"),
        ("sekft_tui", "--version", "sekft, version"),
    ],
)
def test_the_packages_run_as_programs(package: str, word: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", package, word],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0
    assert said in done.stdout
