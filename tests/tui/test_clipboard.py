"""A copy reaches the terminal's clipboard, through tmux and screen, or a file where it is big."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekft_engine.core.errors import BadInput
from sekft_tui.input import clipboard
from tests.tui.terminal import ROOT

TEXT = "ls -l 日本\n" * 2_000


def payload(sequence: str) -> str:
    found = re.search(r"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", sequence)
    assert found is not None
    return base64.b64decode(found[1]).decode()


def test_screen_gets_pieces_that_it_does_not_cut() -> None:
    wrapped = clipboard.osc52(TEXT, {"STY": "1.box"})
    parts = re.findall(r"\x1bP(.*?)\x1b\\", wrapped, re.DOTALL)
    assert max(map(len, parts)) <= 240
    assert payload("".join(parts)) == TEXT


def test_tmux_gets_both_requests_that_it_may_take() -> None:
    both = clipboard.requests("x", {"TMUX": "/tmp/tmux"})
    assert both == clipboard.osc52("x", {}) + clipboard.osc52("x", {"TMUX": "/tmp/tmux"})
    assert clipboard.requests("x", {}) == clipboard.osc52("x", {})


def test_what_is_cut_is_cut_between_characters() -> None:
    assert set(payload(clipboard.osc52("日" * 100_000, {}))) == {"日"}


def test_one_is_told_what_was_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.delenv("STY", raising=False)
    written: list[str] = []
    said = clipboard.copy("exit", "command 3", written.append, tmp_path)
    assert said == "command 3: 4 characters sent to the terminal's clipboard"
    assert payload(written[0]) == "exit"
    monkeypatch.setenv("TMUX", "x")
    assert "set-clipboard" in clipboard.copy("e", "command 3", written.append, tmp_path)


def test_what_is_too_big_goes_to_a_file_and_is_whole(tmp_path: Path) -> None:
    written: list[str] = []
    text = "日" * 50_000
    said = clipboard.copy(text, "turn 2", written.append, tmp_path)
    (path,) = tmp_path.iterdir()
    assert said == f"turn 2: 50,000 characters, too many for a clipboard, written to {path}"
    assert path.read_text(encoding="utf-8") == text
    assert not written
    with pytest.raises(BadInput, match="cannot be written"):
        clipboard.copy(text, "turn 2", written.append, tmp_path / "none")


@pytest.fixture
def sockets() -> Iterator[tuple[str, str]]:
    """Names of two tmux servers, ended afterwards."""
    if shutil.which("tmux") is None:
        pytest.skip("no tmux")
    names = (f"sekft-in-{time.time_ns()}", f"sekft-out-{time.time_ns()}")
    yield names
    for name in names:
        tmux(name, "kill-server")


def tmux(server: str, *words: str) -> str:
    done = subprocess.run(
        ["tmux", "-L", server, "-f", "/dev/null", *words],
        capture_output=True, text=True, encoding="utf-8", check=False,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "LANG": "C.UTF-8", "TERM": "xterm-256color"},
    )  # fmt: skip
    return done.stdout


def buffer_of(server: str) -> str:
    end = time.monotonic() + 60
    while not (found := tmux(server, "show-buffer")) and time.monotonic() < end:
        time.sleep(0.05)
    return found


SEND = (
    f"cd {ROOT} && {sys.executable} -c "
    "'import sys; from sekft_tui.input.clipboard import requests; "
    f'sys.stdout.write(requests("ls -l 日本\\n" * 2000))\'; sleep 60'
)


def test_a_real_tmux_takes_it(sockets: tuple[str, str]) -> None:
    inner, _ = sockets
    tmux(inner, "new-session", "-d", "-x", "80", "-y", "24", "sleep 600")
    tmux(inner, "set", "-g", "set-clipboard", "on")
    tmux(inner, "new-window", SEND)
    assert buffer_of(inner) == TEXT


def test_a_real_tmux_hands_it_on_to_the_terminal_around_it(sockets: tuple[str, str]) -> None:
    inner, outer = sockets
    tmux(inner, "new-session", "-d", "-x", "80", "-y", "24", "sleep 600")
    tmux(inner, "set", "-g", "set-clipboard", "off")
    tmux(inner, "set", "-g", "allow-passthrough", "on")
    tmux(outer, "new-session", "-d", "-x", "80", "-y", "24", f"env -u TMUX tmux -L {inner} attach")
    tmux(outer, "set", "-g", "set-clipboard", "on")
    end = time.monotonic() + 60
    while not tmux(inner, "list-clients") and time.monotonic() < end:
        time.sleep(0.05)
    tmux(inner, "new-window", SEND)
    assert buffer_of(outer) == TEXT
