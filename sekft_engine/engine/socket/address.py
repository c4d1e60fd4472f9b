"""Where a workspace's engine is found, and how there is only one of them.

A lock file in the workspace says that an engine has it; a pointer file beside it names the sockets,
which lie in a private folder with short paths. An engine is alive if the lock is held *and* its
socket answers: ids of processes are used again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import socket
import stat
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from sekft_engine.core.documents import NOT_JSON
from sekft_engine.core.errors import SekftError, Unavailable
from sekft_engine.core.files import write_whole
from sekft_engine.core.locks import is_held, take_lock
from sekft_engine.core.paths import APP
from sekft_engine.core.process import ProcessMark
from sekft_engine.data.workspace import Workspace, naming

POINTER = "resident.json"
LOCK = "resident.lock"
#: A Unix socket's path has 108 bytes, the last of which is zero.
LONGEST_PATH = 107
#: How many connections may wait to be accepted.
BACKLOG = 256


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """What the pointer file says: the engine's process and its sockets."""

    protocol: int
    workspace: str
    mark: ProcessMark
    started: float
    socket: str
    viewer_socket: str
    log: str = ""

    @property
    def pid(self) -> int:
        return self.mark.pid


class Claim:
    """The right to be a workspace's engine, and the sockets that come with it.

    Args:
        workspace: its folder must be there.

    Raises:
        Unavailable: another engine has the workspace; names its process.
        OSError: the workspace cannot be written.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._address: Address | None = None
        self._listeners: tuple[socket.socket, ...] = ()
        self._fd = os.open(workspace.root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            lock = take_lock(self._fd)
            if lock == "held" or (lock == "none" and _pointed_process_lives(workspace)):
                raise _taken(workspace, os.pread(self._fd, 32, 0))
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(self._fd)
            raise

    def bind(self, protocol: int, log: str = "") -> tuple[socket.socket, socket.socket]:
        """Make the sockets and write the pointer. Call it before any thread is started: it sets the
        umask for a moment.

        Returns:
            The listening sockets: the one for everything, and the one for viewers.

        Raises:
            Unavailable: there is no private folder for sockets.
        """
        folder = socket_folder()
        stem = folder / workspace_key(self.workspace)
        paths = (stem.with_suffix(".sock"), stem.with_suffix(".ro.sock"))
        listeners = (_listen(paths[0]), _listen(paths[1]))
        self._listeners = listeners
        self._address = Address(
            protocol=protocol,
            workspace=str(self.workspace.root),
            mark=ProcessMark.own(),
            started=time.time(),
            socket=str(paths[0]),
            viewer_socket=str(paths[1]),
            log=log,
        )
        document = msgspec.json.format(msgspec.json.encode(self.address), indent=1) + b"\n"
        write_whole(self.workspace.root / POINTER, document)
        write_whole(stem.with_suffix(".json"), document)
        return listeners

    @property
    def address(self) -> Address:
        """What the pointer says; after :meth:`bind`."""
        if self._address is None:
            raise RuntimeError("the sockets are not there yet")
        return self._address

    def give_listeners_away(self) -> None:
        """Close the listening sockets here: another process has them."""
        for listener in self._listeners:
            listener.close()

    def release(self) -> None:
        """Remove sockets and pointer, and let another engine have the workspace."""
        if self._fd < 0:
            return
        self.give_listeners_away()
        if self._address is not None:
            paths = (self.address.socket, self.address.viewer_socket)
            beside = Path(self.address.socket).with_suffix(".json")
            for path in (*map(Path, paths), beside, self.workspace.root / POINTER):
                with contextlib.suppress(OSError):
                    path.unlink()
        os.close(self._fd)
        self._fd = -1


def workspace_key(workspace: Workspace) -> str:
    """A short name for the workspace's sockets, the same over all links to it."""
    return hashlib.sha256(os.fsencode(workspace.root.resolve())).hexdigest()[:16]


def read_pointer(workspace: Workspace) -> Address | None:
    """What the pointer file in the workspace says; None = there is none that can be read."""
    return _read_address(workspace.root / POINTER)


def is_locked(workspace: Workspace) -> bool:
    """Whether some engine holds the workspace."""
    return is_held(workspace.root / LOCK, lambda: _pointed_process_lives(workspace))


def known_addresses() -> Iterator[Address]:
    """The pointers beside the sockets of this user's engines, also of dead ones."""
    for folder in _candidates():
        if _is_private(folder):
            for path in sorted(folder.glob("*.json")):
                address = _read_address(path)
                if address is not None:
                    yield address


def socket_folder() -> Path:
    """A folder of mode 0700 for sockets, made where it is not there.

    Raises:
        Unavailable: no place is short enough and this user's alone.
    """
    longest = len("/") + 16 + len(".ro.sock.") + 10  # a socket's name, and that of its stage
    for folder in _candidates():
        if len(os.fsencode(folder)) + longest > LONGEST_PATH:
            continue
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700)
        if _is_private(folder):
            return folder
    raise Unavailable(
        "no private folder for the engine's socket",
        where=str(next(iter(_candidates()))),
        mend="set XDG_RUNTIME_DIR to a short path that belongs to you alone (mode 0700)",
    )


def peer_uid(connection: socket.socket) -> int:
    """The user on the other end of a Unix socket, as the kernel knows it."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", packed)
    return int(uid)


def _candidates() -> Iterator[Path]:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):  # the specification has relative paths ignored
        yield Path(runtime) / APP
    for folder in dict.fromkeys((tempfile.gettempdir(), "/tmp")):  # noqa: S108 - checked by owner
        yield Path(folder) / f"{APP}-{os.geteuid()}"


def _is_private(folder: Path) -> bool:
    """Whether the folder is this user's alone. One that others may only read is closed to them."""
    try:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return False
        if found.st_mode & 0o022:
            return False  # others may have put something there
        if found.st_mode & 0o055:
            folder.chmod(0o700)
    except OSError:
        return False
    return True


def _listen(path: Path) -> socket.socket:
    """A listening socket at ``path`` in place of what was there: nobody finds it before it listens,
    and it is this user's alone from its first moment."""
    stage = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        stage.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)
        try:
            listener.bind(str(stage))
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
        listener.setblocking(False)
        stage.replace(path)
    except BaseException:
        listener.close()
        raise
    return listener


def _read_address(path: Path) -> Address | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Address)
    except (OSError, *NOT_JSON):
        return None


def _pointed_process_lives(workspace: Workspace) -> bool:
    """Whether the process that the pointer names still runs. Where there are no locks, one on
    another machine counts as alive: it cannot be asked."""
    address = read_pointer(workspace)
    return address is not None and address.mark.alive() is not False


def _taken(workspace: Workspace, pid: bytes) -> SekftError:
    address = read_pointer(workspace)
    name = pid.decode("ascii", "replace").strip() or "unknown"
    if address is not None and address.mark.host != platform.node():
        name = f"{address.pid} on {address.mark.host}"
    return Unavailable(
        f"an engine is at work here (pid {name})",
        where=str(workspace.root),
        mend=f"sekft resident status{naming(workspace.root)}",
    )
