"""Writing so that a reader at any instant sees a whole state: staged, synced, one rename."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sekft_engine.errors import BadInput, SekftError, Unavailable

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def sync_folder(folder: Path) -> None:
    """Ask the disk to keep the folder's own entries."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_whole(path: Path, data: bytes) -> None:
    """Replace the file at ``path`` by ``data`` in one step; write into a device or a pipe."""
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(data)  # root could replace even /dev/null
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)  # noqa: PTH105 - the path form of the same call
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """Give a new folder to fill; on success it takes the place of ``target`` at once, on an error
    nothing is left of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        stage.chmod(0o755)
        yield stage
        for path in sorted(stage.rglob("*")):
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        sync_folder(stage)
        _put_in_place(stage, target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    sync_folder(target.parent)


def _put_in_place(stage: Path, target: Path) -> None:
    """Rename ``stage`` to ``target``; an old ``target`` ends up under the stage's name."""
    try:
        stage.rename(target)
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    libc = ctypes.CDLL(None, use_errno=True)
    renameat2 = getattr(libc, "renameat2", None)
    if renameat2 is not None:
        done = renameat2(
            _AT_FDCWD, os.fsencode(stage), _AT_FDCWD, os.fsencode(target), _RENAME_EXCHANGE
        )
        if done == 0:
            return
    # A file system that cannot exchange two names (NFS): a short gap is all that is left.
    old = stage.with_name(stage.name + ".old")
    target.rename(old)
    stage.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_OS_ERRORS = {
    errno.ENOSPC: ("the disk is full", "free some space, or choose another folder"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or choose another folder"),
    errno.EFBIG: ("the file grows over a limit", "raise it (ulimit -f), or choose another folder"),
    errno.EACCES: ("no permission", "change its permissions, or choose another place"),
    errno.EPERM: ("not permitted", "change its permissions, or choose another place"),
    errno.EROFS: ("the file system is read-only", "choose another folder"),
    errno.ENOENT: ("no such file or folder", "check the path"),
    errno.ENOTDIR: ("a file stands where a folder is needed", "choose another folder"),
    errno.EISDIR: ("a folder stands where a file is needed", "check the path"),
}


def explain_os_error(error: OSError) -> SekftError | None:
    """The one-line form of an operating-system error a person can mend, else None."""
    known = _OS_ERRORS.get(error.errno or 0)
    if known is None:
        return None
    where = str(error.filename) if error.filename else None
    kind = BadInput if error.errno in (errno.ENOENT, errno.EISDIR) else Unavailable
    return kind(known[0], where=where, mend=known[1])
