"""Other programs on the terminal for a while: a pager, an editor, a shell in a run's folder."""

from __future__ import annotations

import contextlib
import shlex
import shutil
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

    Raises:
        Unavailable: the program is not there, or this terminal cannot be handed over.
    """
    try:
        with (
            app.suspend(),
            Path("/dev/tty").open("r+b", buffering=0) as tty,
        ):  # fds 1 and 2 are a log's
            done = subprocess.run(
                command, stdin=tty, stdout=tty, stderr=tty, cwd=folder, check=False
            )  # fmt: skip
    except SuspendNotSupported as error:
        raise Unavailable("this terminal cannot be handed to another program") from error
    except OSError as error:
        raise Unavailable(f"{command[0]}: {error.strerror}", mend="set PAGER or EDITOR") from error
    return done.returncode


@contextlib.contextmanager
def text_file(text: str, name: str) -> Iterator[Path]:
    """``text`` in a file that only the user can read, as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="sekft-") as folder:
        path = Path(folder) / name
        path.write_bytes(text.encode("utf-8", "replace") + b"\n")
        path.chmod(0o400)
        yield path
