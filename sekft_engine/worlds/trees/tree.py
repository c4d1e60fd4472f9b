"""Root file systems as plain folders: unpacked from tar streams, pruned, identified by digest."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sekft_engine.core.errors import BadInput

#: Folders that are links into /usr on every system of today; packages still name the old places.
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
#: What no session needs and takes much space, manual pages in other languages included.
_PRUNED = re.compile(
    r"(usr/share/(doc|info|locale|lintian|bug|doc-base|menu|linda|zoneinfo-icu|gcc|gdb)"
    r"|usr/share/man/(?!man\d)[^/]+|usr/share/lintian|usr/lib/systemd|usr/lib/python\d*"
    r"|var/(cache|log|lib)/[^/]+|run/.+|tmp/.+|dev/.+|proc/.+|sys/.+"
    r"|etc/(apparmor\.d|bindresvport\.blacklist|cron\..*|default|dpkg|gai\.conf|init\.d"
    r"|libaudit\.conf|logrotate\.d|pam\.d|rc.\.d|rmt|sysctl.*|systemd|update-motd\.d)"
    r"|\.dockerenv)(/.*)?"
)
_MOST_LINKS = 40  # as the kernel's own bound


def unpack(stream: IO[bytes], root: Path, where: str) -> None:
    """Unpack a tar stream below ``root``: files, folders and links, without owners and special
    bits; device files and what no world needs are left out.

    Raises:
        BadInput: it is damaged, or names a path outside.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as archive:
            for member in archive:
                _place(archive, member, root, where)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadInput(f"cannot be unpacked: {error}", where=where) from error


def _place(archive: tarfile.TarFile, member: tarfile.TarInfo, root: Path, where: str) -> None:
    name = _merged(posixpath.normpath(member.name).lstrip("/"))
    if name in (".", *MERGED) or _PRUNED.fullmatch(name):
        return
    if name == ".." or name.startswith("../"):
        raise BadInput(f"names a path outside: {member.name!r}", where=where)
    if member.isdir():
        path = inside(root, name, follow=True)
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o755 if member.mode & 0o111 else 0o644)
        return
    path = inside(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not (member.isreg() or member.issym() or member.islnk()):
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if member.issym():
        path.symlink_to(member.linkname)
    elif member.islnk():
        source = inside(root, _merged(posixpath.normpath(member.linkname).lstrip("/")))
        if source.is_file() and not source.is_symlink():
            shutil.copy(source, path)  # a copy: links between files would not survive a rebuild
    else:
        content = archive.extractfile(member)
        if content is None:
            raise tarfile.ReadError(f"no content for {member.name}")
        with path.open("wb") as file:
            shutil.copyfileobj(content, file, 1 << 20)
        # Readable by the uid that worlds run under; setuid has no effect in a world.
        path.chmod(0o755 if member.mode & 0o111 else 0o644)


def _merged(name: str) -> str:
    top = name.split("/", 1)[0]
    return f"usr/{name}" if top in MERGED and name != top else name


def inside(root: Path, name: str, *, follow: bool = False) -> Path:
    """The path of ``name`` below ``root``, with links resolved within the tree.

    A tree may come from an untrusted image. The operating system would resolve its links on this
    machine, so none is left to it.

    Args:
        root: of the tree.
        name: path within the tree.
        follow: resolve also a link that is the last part of ``name``.

    Raises:
        BadInput: links form a loop.
    """
    left = [part for part in name.split("/") if part not in ("", ".")]
    done: list[str] = []
    links = 0
    while left:
        part = left.pop(0)
        if part == "..":
            done = done[:-1]
            continue
        here = root.joinpath(*done, part)
        if (left or follow) and here.is_symlink():
            links += 1
            if links > _MOST_LINKS:
                raise BadInput(f"too many links on the way to {name!r}", where=str(root))
            target = str(here.readlink())
            if target.startswith("/"):
                done = []
            left = [piece for piece in target.split("/") if piece not in ("", ".")] + left
            continue
        done.append(part)
    return root.joinpath(*done)


def walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every entry below ``root`` as (relative path, lstat), in a fixed order."""
    entries: list[tuple[str, os.stat_result]] = []
    folders = [""]
    while folders:
        folder = folders.pop()
        with os.scandir(root / folder) as found:
            for entry in found:
                name = f"{folder}/{entry.name}" if folder else entry.name
                status = entry.stat(follow_symlinks=False)
                entries.append((name, status))
                if stat.S_ISDIR(status.st_mode):
                    folders.append(name)
    yield from sorted(entries, key=lambda entry: os.fsencode(entry[0]))


def digest(root: Path) -> str:
    """SHA-256 over names, kinds, modes and contents; owners and times do not count."""
    total = hashlib.sha256()
    for name, status in walk(root):
        path = root / name
        if stat.S_ISLNK(status.st_mode):
            what = f"link {path.readlink()}"
        elif stat.S_ISDIR(status.st_mode):
            what = f"folder {stat.S_IMODE(status.st_mode):o}"
        else:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            what = f"file {stat.S_IMODE(status.st_mode):o} {content}"
        total.update(os.fsencode(name) + b"\0" + os.fsencode(what) + b"\n")
    return total.hexdigest()


def stamp(root: Path) -> str:
    """A digest of sizes and times, without contents: fast, and any later change alters it."""
    total = hashlib.sha256()
    for name, status in walk(root):
        facts = (status.st_mode, status.st_size, status.st_mtime_ns)
        if not stat.S_ISDIR(status.st_mode):
            total.update(os.fsencode(f"{name}\0{facts}\n"))
    return total.hexdigest()
