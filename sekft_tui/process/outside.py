"""Other programs on the terminal for a while: a pager, an editor, a shell in a run's folder."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from textual.app import App, SuspendNotSupported

from sekft_engine.core.errors import Unavailable

_EDITORS = ("nano", "vim", "vi")
_PAGERS = ("less", "more")


def pager(environ: Mapping[str, str]) -> list[str]:
    """The user's pager: ``$PAGER``, else one that is there."""
    return _chosen(environ, ("PAGER",), _PAGERS)


def editor(environ: Mapping[str, str]) -> list[str]:
    """The user's editor: ``$VISUAL``, ``$EDITOR``, else one that is there."""
    return _chosen(environ, ("VISUAL", "EDITOR"), _EDITORS)


def _chosen(environ: Mapping[str, str], names: Sequence[str], others: Sequence[str]) -> list[str]:
    for name in names:
        with contextlib.suppress(ValueError):
            if command := shlex.split(environ.get(name, "")):
                return command
    for other in others:
        if shutil.which(other):
            return [other]
    raise Unavailable(
        f"no {' or '.join(others)} here", mend=f"set {names[-1]} to a program that is"
    )


def run_outside(app: App[int], command: Sequence[str], folder: Path | None = None) -> int:
    """Give the terminal to a program until it ends; returns its exit status.

    It has a process group of its own, as in a shell, so a shell in it has its job control.

    Raises:
        Unavailable: the program is not there, or this terminal cannot be handed over.
    """
    try:
        with (
            app.suspend(),
            Path("/dev/tty").open("r+b", buffering=0) as tty,
        ):  # fds 1 and 2 are a log's
            program = subprocess.Popen(
                command, stdin=tty, stdout=tty, stderr=tty, cwd=folder, process_group=0
            )
            with _foreground(tty.fileno(), program.pid):
                return _ended(program)
    except SuspendNotSupported as error:
        raise Unavailable("this terminal cannot be handed to another program") from error
    except OSError as error:
        raise Unavailable(f"{command[0]}: {error.strerror}", mend="set PAGER or EDITOR") from error


@contextlib.contextmanager
def _foreground(tty: int, group: int) -> Iterator[None]:
    """Let a process group have the terminal's keys, ctrl+z and ctrl+c among them: they are for the
    program alone, not for the workbench and the job that runs in it."""
    before = os.tcgetpgrp(tty)
    os.tcsetpgrp(tty, group)
    try:
        yield
    finally:
        # Whoever takes a terminal back is in the background, and would be stopped for it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            os.tcsetpgrp(tty, before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _ended(program: subprocess.Popen[bytes]) -> int:
    """Wait for a program's end; its exit status. One that stops goes on at once: there is no shell
    here to wake it, and the workbench goes on, too."""
    while True:
        _, status = os.waitpid(program.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            program.returncode = os.waitstatus_to_exitcode(status)
            return program.returncode
        os.killpg(program.pid, signal.SIGCONT)


@contextlib.contextmanager
def text_file(text: str, name: str) -> Iterator[Path]:
    """``text`` in a file that only the user can read, as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="sekft-") as folder:
        path = Path(folder) / name
        path.write_bytes(text.encode("utf-8", "replace") + b"\n")
        path.chmod(0o400)
        yield path
