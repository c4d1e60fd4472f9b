"""Writing so that a reader at any instant sees a whole state: staged, synced, one rename."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
#: A manifest, or another file that is read as one piece, is far smaller.
MOST_BYTES = 256 << 20


def sync_folder(folder: Path) -> None:
    """Ask the disk to keep the folder's own entries."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading. A pipe or a device, which could be waited for and read for
    ever, is refused.

    Raises:
        OSError: it is not there, no regular file, or cannot be read.
    """
    # Without blocking: opening a pipe would wait for somebody to write into it.
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # a null in it
        raise OSError(errno.EINVAL, "is no path", str(path)) from error
    if not stat.S_ISREG(mode := os.fstat(handle).st_mode):
        os.close(handle)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return os.fdopen(handle, "rb")


def read_regular(path: Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: as :func:`open_regular`, or it is larger than ``most``.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"is larger than {most >> 20} MiB", str(path))
        return file.read(most)


def write_whole(path: Path, data: bytes) -> None:
    """Replace the file at ``path`` by ``data`` in one step."""
    with staged_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def staged_file(target: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A file that takes the name ``target`` when the block ends well, and vanishes otherwise.

    What is not a file, such as a device or a pipe, is written into.

    Args:
        target: its folder must be there.
        mode: the permissions of the file.
    """
    if target.exists() and not target.is_file() and not target.is_dir():
        with target.open("wb") as device:  # root could replace even /dev/null
            yield device
        return
    # The dot hides the stage from readers of the folder.
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:64]}.")
    stage = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        stage.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            stage.unlink()
        if isinstance(error, OSError) and error.filename in (None, name):
            error.filename = str(target)  # the stage is nobody's concern
        raise
    sync_folder(target.parent)


@contextlib.contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A new folder to fill; it replaces ``target`` in one step when the block ends well, and
    vanishes otherwise."""
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
    except OSError as error:  # names the place that was to be filled: the stage will be gone
        if error.filename is None and error.errno:  # of a write: only opening a file names it
            error.filename = str(target)
        elif isinstance(error.filename, str) and Path(error.filename).is_relative_to(stage):
            error.filename = str(target / Path(error.filename).relative_to(stage))
        raise
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
