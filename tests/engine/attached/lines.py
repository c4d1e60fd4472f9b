"""Lines to another machine, real ones: ``ssh -L`` to a server on this one, or two processes that
carry a socket's connections over TCP."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine.socket.conftest import PATIENCE

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
HAS_SSH = SSHD is not None and shutil.which("ssh") is not None


class Line:
    """Leads from a socket here to the one of an engine; may be lost, and be there again.

    Args:
        command: makes the line, and has it as long as it lives.
        here: the socket that it makes.
    """

    def __init__(self, command: Sequence[str], here: Path) -> None:
        self._command = command
        self.here = here
        self._process: subprocess.Popen[bytes] | None = None

    def up(self) -> Line:
        """Return when the line leads there."""
        self._process = subprocess.Popen(self._command, start_new_session=True)
        until = time.monotonic() + PATIENCE
        while not _answers(self.here):
            assert self._process.poll() is None, "the line ended"
            assert time.monotonic() < until
            time.sleep(0.05)
        return self

    def lose(self) -> None:
        """Kill what makes the line. The socket's file stays."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def _answers(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(PATIENCE)
        peer.connect(str(path))
        return bool(peer.recv(1))
    return False


def relay(here: Path, there: str) -> Line:
    """A line over TCP that needs nothing to be installed."""
    return Line([sys.executable, "-m", "tests.engine.attached.lines", str(here), there], here)


class Sshd:
    """An SSH server on the loopback, for this user alone.

    Args:
        folder: for its keys and settings.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        for name in ("host", "user"):
            words = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
            subprocess.run(words, check=True)
        (folder / "config").write_text(
            f"Port {self._port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\n"
            f"AuthorizedKeysFile {folder}/user.pub\nPidFile none\nStrictModes no\n"
            "PermitRootLogin prohibit-password\nPasswordAuthentication no\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        assert SSHD is not None
        self._process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(folder / "config")],
            stderr=(folder / "log").open("wb"),
        )

    def ssh(self, *options: str) -> list[str]:
        """The command line of a client, up to the host."""
        settings = (
            "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR",
            "IdentitiesOnly=yes", "ConnectionAttempts=50", "ExitOnForwardFailure=yes",
            "StreamLocalBindUnlink=yes",
        )  # fmt: skip
        given = [word for setting in settings for word in ("-o", setting)]
        user = pwd.getpwuid(os.geteuid()).pw_name
        where = ["-i", str(self._folder / "user"), "-p", str(self._port)]
        return [
            "ssh",
            "-F",
            "/dev/null",
            *given,
            *where,
            *options,
            f"{user}@127.0.0.1",
        ]

    def line(self, here: Path, there: str) -> Line:
        """What the documents say: ``ssh -N -L HERE:THERE HOST``."""
        return Line(self.ssh("-N", "-L", f"{here}:{there}"), here)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def ssh_server(folder: Path) -> Iterator[Sshd]:
    """A server until the end of the block; the test is skipped where none is installed."""
    if not HAS_SSH:
        pytest.skip("openssh-server is not installed")
    server = Sshd(folder)
    try:
        yield server
    finally:
        server.close()


# --- the line over TCP ----------------------------------------------------------------------------


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _end(listener: socket.socket, family: socket.AddressFamily, target: object) -> None:
    """One end of the line: what connects here is connected there."""
    while True:
        peer, _ = listener.accept()
        other = socket.socket(family)
        try:
            other.connect(target)  # type: ignore[arg-type]
        except OSError:
            peer.close()
            continue
        for ends in ((peer, other), (other, peer)):
            threading.Thread(target=_carry, args=ends, daemon=True).start()


def main(here: str, there: str) -> None:
    """Be the line: an end for each of the two machines, in a process each."""
    far = socket.create_server(("127.0.0.1", 0))
    if os.fork() == 0:
        _end(far, socket.AF_UNIX, there)
    near = socket.socket(socket.AF_UNIX)
    Path(here).unlink(missing_ok=True)
    near.bind(here)
    near.listen()
    address = far.getsockname()
    far.close()
    _end(near, socket.AF_INET, address)


if __name__ == "__main__":
    main(*sys.argv[1:])
