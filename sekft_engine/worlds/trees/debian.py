"""The debian userland: packages pinned by digest, fetched, unpacked, and checked as a whole.

No root and no dpkg are needed: a package is an archive of a tar. Maintainers' scripts are not run;
the few things they would do that a session can notice are done here.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import io
import lzma
import platform
import shutil
import stat
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.core.files import write_whole
from sekft_engine.worlds.trees import tree
from sekft_engine.worlds.trees.layout import GROUP, PASSWD

MIRROR = "http://deb.debian.org"
#: The archive of all versions, for those that the mirror has no longer.
ARCHIVE = "https://snapshot.debian.org/archive/{archive}/20261120T000000Z"
RELEASE = "12"
_FETCHERS = 4
_TIMEOUT_S = 60
Progress = Callable[[str, int, int], None]
_ARCHES = {"x86_64": "amd64"}

#: The links that update-alternatives would have made.
_CHOICES = {
    "awk": "mawk",
    "nawk": "mawk",
    "vi": "vim.tiny",
    "view": "vim.tiny",
    "ex": "vim.tiny",
    "vim": "vim.tiny",
    "editor": "vim.tiny",
    "pager": "less",
}
_PAGES = {"awk": "mawk", "nawk": "mawk", "vi": "vim", "view": "vim", "ex": "vim", "pager": "less"}
_FOLDERS = ("proc", "dev", "sys", "run", "tmp", "home", "root", "srv", "opt", "mnt", "usr/local")
_FILES = {
    "etc/passwd": PASSWD.replace("65534", "0"),
    "etc/group": GROUP.replace("65534", "0"),
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "etc/hostname": "box\n",
    "etc/hosts": "127.0.0.1 localhost box\n",
}


class Package(msgspec.Struct, frozen=True):
    """A pinned package: ``archive`` is debian or debian-security, ``path`` is below it."""

    archive: str
    path: str
    size: int
    sha256: str

    @property
    def file(self) -> str:
        return urllib.parse.unquote(self.path.rsplit("/", 1)[1])


class Lock(msgspec.Struct, frozen=True):
    """The pinned packages of one architecture, and the digest of the tree they make."""

    name: str
    packages: tuple[Package, ...]
    digest: str = ""


def read_lock(machine: str = "") -> Lock:
    """The lock for ``machine`` (default: this one).

    Raises:
        Unavailable: none was made for it.
    """
    arch = _ARCHES.get(machine or platform.machine())
    name = f"debian-{RELEASE}-{arch}"
    file = importlib.resources.files("sekft_engine.worlds.trees") / f"{name}.lock"
    if arch is None or not file.is_file():
        raise Unavailable(
            f"no packages are pinned for {machine or platform.machine()}",
            where="sekft worlds build",
            mend="use the host's userland, or sekft worlds build --from-image IMAGE",
        )
    return parse_lock(name, file.read_text(encoding="ascii"))


def parse_lock(name: str, text: str) -> Lock:
    packages, digest = [], ""
    for line in text.splitlines():
        words = line.split()
        if not words or words[0] == "#":
            continue
        if words[0] == "tree":
            digest = words[1]
        else:
            packages.append(Package(words[0], words[1], int(words[2]), words[3]))
    return Lock(name, tuple(packages), digest)


def fetch(lock: Lock, folder: Path, mirror: str, progress: Progress) -> None:
    """Download every package of ``lock`` into ``folder``, unless it is there with its digest.

    Raises:
        Unavailable: no mirror has one of them with its pinned digest.
        BadInput: ``mirror`` is no http, https or file URL.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_FETCHERS, thread_name_prefix="fetch") as pool:
        waiting = pool.map(lambda package: _fetch_one(package, folder, mirror), lock.packages)
        try:
            for done, _ in enumerate(waiting, 1):
                progress("packages", done, len(lock.packages))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch_one(package: Package, folder: Path, mirror: str) -> None:
    path = folder / package.file
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == package.sha256:
        return
    causes = []
    own, pinned = f"{mirror.rstrip('/')}/{package.archive}", ARCHIVE.format(archive=package.archive)
    for base in (own, pinned):
        url = f"{base}/{package.path}"
        if not url.startswith(("http://", "https://", "file://")):
            raise BadInput("not a mirror", where=mirror, mend="give an http, https or file URL")
        try:
            # The digest is pinned, so the transport need not be trusted.
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                content = answer.read(package.size + 1)
        except (OSError, ValueError) as error:
            causes.append(f"{url}: {getattr(error, 'reason', error)}")
            continue
        if len(content) == package.size and hashlib.sha256(content).hexdigest() == package.sha256:
            write_whole(path, content)
            return
        causes.append(f"{url}: not the pinned content")
    raise Unavailable(
        f"cannot be fetched: {'; '.join(causes)}",
        where=package.file,
        mend="check the network, or name another mirror with --mirror",
    )


def assemble(lock: Lock, debs: Path, root: Path, progress: Progress) -> None:
    """Unpack every package below ``root`` and finish the tree."""
    for name in _FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for number, package in enumerate(lock.packages, 1):
        path = debs / package.file
        tree.unpack(io.BytesIO(_data_of(path)), root, str(path))
        progress("unpacking", number, len(lock.packages))
    finish(root)


def finish(root: Path) -> None:
    """Do what maintainers' scripts would have done, and make the folders that a world mounts on."""
    for name in tree.MERGED:
        target = tree.inside(root, f"usr/{name}", follow=True)
        link = root / name
        if target.is_dir() and not link.exists() and not link.is_symlink():
            link.symlink_to(f"usr/{name}")
    for name, program in _CHOICES.items():
        _link(root, "usr/bin", name, program)
    for name, page in _PAGES.items():
        _link(root, "usr/share/man/man1", f"{name}.1.gz", f"{page}.1.gz")
    for name in ("etc", "usr", *_FOLDERS):
        path = root / name
        if path.is_symlink():  # a world mounts on these, and must find a folder
            path.unlink()
        tree.inside(root, name).mkdir(parents=True, exist_ok=True)
    for name, text in _FILES.items():
        path = tree.inside(root, name)
        path.unlink(missing_ok=True)
        path.write_text(text, encoding="ascii")
        path.chmod(0o644)
    for entry, status in list(tree.walk(root)):
        if stat.S_ISDIR(status.st_mode):
            (root / entry).chmod(0o755)
    # An image's file systems cover these; where one does not, nobody but root writes there.
    (root / "tmp").chmod(0o1777)
    root.chmod(0o755)


def _link(root: Path, folder: str, name: str, target: str) -> None:
    """Make ``name`` a link to ``target`` in a folder of the tree that has only the latter."""
    link, there = (tree.inside(root, f"{folder}/{each}") for each in (name, target))
    found = tree.inside(root, f"{folder}/{name}", follow=True)
    if (there.exists() or there.is_symlink()) and not found.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def _data_of(path: Path) -> bytes:
    """The data.tar of a .deb, decompressed."""
    content = path.read_bytes()
    if not content.startswith(b"!<arch>\n"):
        raise BadInput("is no Debian package", where=str(path))
    at = 8
    while at + 60 <= len(content):
        name = content[at : at + 16].decode("ascii", "replace").rstrip().rstrip("/")
        size = int(content[at + 48 : at + 58])
        body = content[at + 60 : at + 60 + size]
        if name == "data.tar.xz":
            return lzma.decompress(body)
        if name in ("data.tar", "data.tar.gz"):
            return body
        at += 60 + size + size % 2
    raise BadInput("holds no data that can be read", where=str(path))


def build(root: Path, debs: Path, *, lock: Lock, mirror: str = MIRROR, progress: Progress) -> None:
    """Download and assemble the tree.

    Raises:
        Unavailable: a package cannot be had.
        BadInput: the tree does not have the pinned digest.
    """
    fetch(lock, debs, mirror, progress)
    assemble(lock, debs, root, progress)
    made = tree.digest(root)
    if lock.digest and made != lock.digest:
        raise BadInput(
            f"the tree came out as {made[:12]}, not as the pinned {lock.digest[:12]}",
            where=lock.name,
            mend="report it: the same packages should give the same tree",
        )
    shutil.rmtree(debs, ignore_errors=True)


def staging(beside: Path) -> Path:
    """A new folder next to the userlands, to build in."""
    beside.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=beside, prefix=".building-"))
