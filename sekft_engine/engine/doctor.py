"""Check what this machine can do, what is missing, and which command fixes it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from sekft_engine.bases.cache import cache_root
from sekft_engine.bases.store import pattern_fault
from sekft_engine.core.errors import SekftError
from sekft_engine.core.gpu import Driver, ask_driver
from sekft_engine.core.machine import memory_available, memory_total
from sekft_engine.core.terminal import colours, places_text
from sekft_engine.engine.check import Check
from sekft_engine.engine.gpu_checks import gpu_checks
from sekft_engine.engine.torch_probe import probe_torch
from sekft_engine.worlds import probe

__all__ = ["Check", "examine", "tokenizer_checks"]

GIB = 1024**3


def examine(workspace_root: Path) -> tuple[Check, ...]:
    """Run every check; takes a few seconds, most of them for torch."""
    checks: list[Callable[[], Iterator[Check]]] = [
        _python,
        _torch,
        _libraries,
        _memory,
        lambda: _disk(workspace_root),
        lambda: tokenizer_checks(workspace_root),
        _sandboxes,
        _terminal,
        _tmux,
    ]
    return tuple(check for part in checks for check in part())


def _python() -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    enough = sys.version_info >= (3, 11)
    yield Check("python", enough, version, "" if enough else "install Python 3.11 or later")


def _torch() -> Iterator[Check]:
    mend = f"{sys.executable} -m pip install 'sekft-tui[gpu]'"
    if importlib.util.find_spec("torch") is None:
        yield Check("torch", False, "not installed; browsing works, training does not", mend)
        return
    try:
        found = probe_torch()
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        yield Check("torch", False, f"does not start: {_last_line(error)}", mend)
        return
    yield Check("torch", True, f"{found.version}, {found.threads} CPU threads")
    driver = ask_driver()
    if driver is None and shutil.which("nvidia-smi"):
        driver = Driver(error="its library (NVML) is not there")
    yield from gpu_checks(found, driver)


def _libraries() -> Iterator[Check]:
    missing = [
        name
        for name in ("transformers", "peft", "accelerate", "safetensors", "gguf", "bitsandbytes")
        if importlib.util.find_spec(name) is None
    ]
    yield Check(
        "libraries",
        not missing,
        f"missing: {', '.join(missing)}" if missing else "all there, 4-bit included",
        f"{sys.executable} -m pip install 'sekft-tui[gpu]'" if missing else "",
    )


def _memory() -> Iterator[Check]:
    total, free = memory_total(), memory_available()
    enough = total >= 4 * GIB
    yield Check(
        "memory",
        enough,
        f"{total / GIB:.1f} GiB, {free / GIB:.1f} GiB free; {os.cpu_count()} cores",
        "" if enough else "the smallest base trains in about 4 GiB: use a machine with more",
    )


def tokenizer_checks(root: Path) -> Iterator[Check]:
    """Bases whose tokenizer is known to cut text in another way than its vendor's."""
    for folder in sorted({*(root / "bases").glob("*"), *cache_root().glob("*")}):
        fault = pattern_fault(folder)
        if fault is not None:
            yield Check("tokenizer", False, *fault.told(str(folder)))


def _disk(root: Path) -> Iterator[Check]:
    if root.exists() and not root.is_dir():
        yield Check("workspace", False, f"{root}: not a folder", "name another with --workspace")
        return
    folder = root
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    there = "" if folder == root else f"not there yet; in {folder} "
    free = shutil.disk_usage(folder).free
    writable = os.access(folder, os.W_OK)
    fits = writable and free > 2 * GIB
    yield Check(
        "workspace",
        fits,
        f"{root}: {there}{free / GIB:.1f} GiB free" + ("" if writable else ", not writable"),
        "" if fits else "choose another folder with --workspace",
    )


def _sandboxes() -> Iterator[Check]:
    backends = probe()
    usable = any(backend.ok for backend in backends)
    for backend in backends:
        # One working sandbox is enough: the others are reported, but are no problem.
        held = "; ".join(f"{kind}: {means}" for kind, means in backend.holds.items())
        detail = f"{backend.detail} ({backend.userland}); {held}" if backend.ok else backend.detail
        yield Check(
            f"sandbox {backend.name}",
            backend.ok or usable,
            f"{backend.version} {detail}".strip()
            + ("" if backend.ok or not usable else " (not needed)"),
            "" if backend.ok else backend.mend,
        )
    yield from _userlands()


def _userlands() -> Iterator[Check]:
    from sekft_engine.worlds.trees import userlands

    trees = userlands.built()
    for tree in trees:
        try:
            userlands.choose(tree.name)
        except SekftError as error:
            yield Check(f"userland {tree.name}", False, error.what, error.mend or "")
        else:
            yield Check(f"userland {tree.name}", True, f"{tree.digest[:12]}, from {tree.source}")
    if not any(tree.name == "debian" for tree in trees):
        yield Check(
            "userland debian",
            True,
            "not built: scores on the host's own programs compare on this machine only",
            "sekft worlds build",
        )


def _terminal() -> Iterator[Check]:
    system, why = colours(os.environ)
    numbers = {"none": "none", "standard": "few", "256": "256", "truecolor": "16 million"}
    enough = system != "standard"
    mend = "" if enough else "export TERM=xterm-256color"
    yield Check("colours", enough, f"{numbers[system]}: {why}", mend)
    if not places_text(os.environ):
        yield Check(
            "screen",
            False,
            f"this terminal cannot place text (TERM={os.environ.get('TERM') or 'unset'})",
            "sekft train, eval, mask, runs and demo --run need no screen",
        )
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    is_utf8 = encoding == "utf8"
    mend = "" if is_utf8 else "export LANG=C.UTF-8"
    yield Check("utf-8", is_utf8, sys.stdout.encoding or "none", mend)


def _tmux() -> Iterator[Check]:
    if shutil.which("tmux") is None:
        yield Check(
            "tmux",
            not os.environ.get("SSH_CONNECTION"),
            "not installed; over SSH it keeps the workbench alive when the line drops",
            "apt-get install tmux",
        )
        return
    version = _output("tmux", "-V")
    if not os.environ.get("TMUX"):
        remote = bool(os.environ.get("SSH_CONNECTION"))
        yield Check(
            "tmux",
            not remote,
            f"{version}, not inside it",
            "tmux new -A -s sekft" if remote else "",
        )
        return
    yield Check("tmux", True, f"{version}, inside it")
    clipboard = _output("tmux", "show", "-gv", "set-clipboard")
    on = clipboard == "on"
    mend = "" if on else "tmux set -g set-clipboard on"
    yield Check("clipboard", on, f"set-clipboard {clipboard}", mend)


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _last_line(error: Exception) -> str:
    text = getattr(error, "stderr", None) or str(error)
    lines = str(text).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
