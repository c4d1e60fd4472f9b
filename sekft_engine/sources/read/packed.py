"""Compressed files: read as a stream, or unpacked into the cache where places in it are needed."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from sekft_engine.core.errors import SekftError, Unavailable
from sekft_engine.core.files import staged_file
from sekft_engine.core.paths import cache_folder
from sekft_engine.data.read_report import Rejected

#: Bytes that all unpacked files take at most; the least recently used ones are removed first.
MAX_BYTES = 8 << 30
_CHUNK = 1 << 20
#: The end of the name of an unpacked copy that is not whole.
_DAMAGED = "-damaged"
#: What the libraries raise where a compressed file is damaged or incomplete.
DAMAGED = (EOFError, ValueError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


def _zstd(path: Path) -> BinaryIO:
    try:  # Python 3.14
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]

        return cast("BinaryIO", zstd.open(path))
    except ImportError:
        pass
    try:
        import pyarrow
    except ImportError as error:
        raise Unavailable(
            "reading Zstandard needs the extra hub",
            where=str(path),
            mend="pip install 'sekft-tui[hub]', or unpack it: zstd -d FILE",
        ) from error
    return cast("BinaryIO", pyarrow.CompressedInputStream(str(path), "zstd"))


class _Unpacked(io.RawIOBase):
    """The contents of a compressed stream up to its end, or to where it is damaged."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._read = getattr(stream, "read1", stream.read)
        self.damage = ""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._read(len(buffer)) if not self.damage else b""
        except DAMAGED as error:
            self.damage = str(error) or type(error).__name__
            data = b""
        except OSError as error:
            if error.errno is not None:
                raise
            self.damage = str(error)
            data = b""
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


_OPENERS: Mapping[str, Callable[[Path], Any]] = {
    ".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": _zstd
}  # fmt: skip
#: The endings of compressed files.
PACKED = tuple(_OPENERS)


def packing(name: str) -> str:
    """The ending of a compressed file; '' for any other."""
    ending = os.path.splitext(name)[1].lower()  # noqa: PTH122 - names, by the 100,000
    return ending if ending in _OPENERS else ""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file's contents from the beginning, unpacked.

    Raises:
        Unavailable: it is compressed in a way that nothing here can read.
    """
    ending = packing(path.name)
    if not ending:
        with path.open("rb") as file:
            yield file
        return
    with io.BufferedReader(_Unpacked(_OPENERS[ending](path)), _CHUNK) as packed:
        yield cast("BinaryIO", packed)


def damage(path: Path) -> Rejected:
    """The error of a compressed file that ends before its end."""
    return Rejected(
        "damaged_file",
        "the file is damaged, and what follows cannot be read",
        where=str(path),
        mend="copy or pack it again",
    )


def ended_early(file: BinaryIO) -> bool:
    """Whether a file of :func:`opened`, read to its end, was damaged there."""
    raw = getattr(file, "raw", None)
    return isinstance(raw, _Unpacked) and bool(raw.damage)


def plain_file(path: Path) -> Path:
    """A file with the contents of ``path`` in which places can be sought: itself, or the unpacked
    copy of a compressed file, up to where that is damaged.

    Raises:
        OSError: it cannot be read.
        Unavailable: nothing here can unpack it, or there is no room.
    """
    if not packing(path.name):
        return path
    status = path.stat()
    about = f"{path.absolute()}\0{status.st_ino}\0{status.st_size}\0{status.st_mtime_ns}"
    name = hashlib.sha256(about.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    for folder in (cache_folder() / "unpacked", _temporary()):
        for copy in (folder / name, folder / f"{name}{_DAMAGED}"):
            if copy.is_file():
                with contextlib.suppress(OSError):
                    os.utime(copy)  # used now
                return copy
        with opened(path) as file, contextlib.suppress(OSError, SekftError):
            return _unpack(file, folder / name)
    raise Unavailable(
        "there is no room to unpack it", where=str(path), mend="free some space, or unpack it"
    )


def is_damaged(path: Path) -> bool:
    """Whether a compressed file ends before its end."""
    return plain_file(path).name.endswith(_DAMAGED)


def _unpack(file: BinaryIO, copy: Path) -> Path:
    copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with staged_file(copy, 0o600) as target:
        shutil.copyfileobj(file, target, _CHUNK)
    if ended_early(file):
        copy = copy.rename(copy.with_name(f"{copy.name}{_DAMAGED}"))
    _remove_oldest(copy)
    return copy


_TEMPORARY: list[tempfile.TemporaryDirectory[str]] = []


def _temporary() -> Path:
    """A folder of this process, where there is no cache."""
    if not _TEMPORARY:
        _TEMPORARY.append(tempfile.TemporaryDirectory(prefix="sekft-unpacked-"))
    return Path(_TEMPORARY[0].name)


def _remove_oldest(newest: Path) -> None:
    found = []
    for each in newest.parent.iterdir():
        with contextlib.suppress(OSError):
            status = each.stat()
            found.append((status.st_mtime_ns, status.st_size, each))
    room = MAX_BYTES
    for _, size, each in sorted(found, reverse=True):
        room -= size
        if room < 0 and each != newest:
            each.unlink(missing_ok=True)
