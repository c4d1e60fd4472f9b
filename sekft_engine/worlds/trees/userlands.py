"""The userlands of this machine: the host's own, and trees that were built or exported."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

from sekft_engine.core.documents import NOT_JSON
from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.core.files import write_whole
from sekft_engine.core.locks import wait_for_lock
from sekft_engine.core.paths import user_cache_folder
from sekft_engine.worlds.trees import debian, tree
from sekft_engine.worlds.trees.userland import Userland, find_userland, tree_userland

#: ``auto`` is the host's own in bubblewrap, and the pinned Debian in containers.
NAMES = ("auto", "host", "debian")
_RECORD = "userland.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,40}")


class BuiltUserland(msgspec.Struct, frozen=True, kw_only=True):
    """A built tree.

    Attributes:
        name: of the userland.
        digest: of its contents, see :func:`sekft_engine.worlds.trees.tree.digest`.
        stamp: of its sizes and times, see :func:`sekft_engine.worlds.trees.tree.stamp`.
        source: the list of packages, or the image.
        entries, size: number of files and folders, and bytes.
        path: its root on this machine.
    """

    name: str
    digest: str
    stamp: str
    source: str
    entries: int = 0
    size: int = 0
    path: str = ""


def userlands_folder() -> Path:
    """The folder of all trees: readable by the uid that worlds run under, so never below /root."""
    named = os.environ.get("SEKFT_USERLANDS")
    if named:
        return Path(named).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/cache/sekft/userlands")
    return user_cache_folder() / "userlands"


def built() -> tuple[BuiltUserland, ...]:
    """Every tree of this machine, by name."""
    found = []
    for record in sorted(userlands_folder().glob(f"*/{_RECORD}")):
        try:
            found_tree = msgspec.json.decode(record.read_bytes(), type=BuiltUserland)
        except (OSError, *NOT_JSON):
            continue  # being built, or damaged
        if found_tree.name == record.parent.name:
            found.append(msgspec.structs.replace(found_tree, path=str(record.parent / "root")))
    return tuple(found)


def choose(name: str = "host") -> Userland:
    """The userland called ``name``.

    Raises:
        Unavailable: it is not built, cannot be read, or was changed since.
        BadInput: no userland can have that name.
    """
    if name == "host":
        return find_userland()
    if not _NAME.fullmatch(name):
        raise BadInput(f"no userland is called {name!r}", where="--userland", mend=_known())
    return _tree(name, str(userlands_folder()))


@functools.cache
def _tree(name: str, folder: str) -> Userland:
    tree_found = next((each for each in built() if each.name == name), None)
    if tree_found is None:
        if name == "debian":
            raise Unavailable(
                "the debian userland is not built", where=folder, mend="sekft worlds build"
            )
        raise Unavailable(f"there is no userland {name!r}", where=folder, mend=_known())
    if tree.stamp(Path(tree_found.path)) != tree_found.stamp:
        raise Unavailable(
            "was changed since it was built",
            where=tree_found.path,
            mend=f"sekft worlds build --again{'' if name == 'debian' else ' --from-image ...'}",
        )
    _reachable(Path(tree_found.path))
    return tree_userland(tree_found.name, Path(tree_found.path), tree_found.digest)


def _reachable(path: Path) -> None:
    if os.geteuid() == 0 and not all(parent.stat().st_mode & 0o001 for parent in path.parents):
        raise Unavailable(
            "worlds run as an ordinary user, who cannot enter this folder",
            where=str(path),
            mend="name another with SEKFT_USERLANDS, or chmod a+x its parents",
        )


def _known() -> str:
    names = ["host", *(each.name for each in built())]
    return f"there are {', '.join(names)}" + ("" if "debian" in names else "; sekft worlds build")


def build_debian(
    progress: debian.Progress, *, mirror: str = debian.MIRROR, again: bool = False
) -> BuiltUserland:
    """Build the pinned Debian tree, unless it is there and unchanged.

    Raises:
        Unavailable: no network, no space, or no list for this machine.
        BadInput: what came is not what was pinned.
    """
    lock = debian.read_lock()
    folder = userlands_folder()
    with _one_builder(folder):
        there = next((each for each in built() if each.name == "debian"), None)
        as_pinned = there is not None and there.digest == (lock.digest or there.digest)
        if there and as_pinned and not again and tree.stamp(Path(there.path)) == there.stamp:
            return there
        stage = debian.staging(folder)
        try:
            root = stage / "root"
            root.mkdir()
            debian.build(root, folder / ".packages", lock=lock, mirror=mirror, progress=progress)
            return _put_in_place(stage, "debian", lock.name)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


@contextlib.contextmanager
def _one_builder(folder: Path) -> Iterator[None]:
    """A context for one builder at a time, since builders share the fetched packages.

    It does not lock where the folder cannot be written, or its file system has no locks.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((folder / ".lock").open("a"))
            wait_for_lock(file.fileno())
        yield


def build_from_image(engine: str, image: str, name: str) -> BuiltUserland:
    """Make a tree from the file system of a container image.

    Args:
        engine: the container program.
        image: one of its images.
        name: of the new userland.


    Raises:
        Unavailable: the engine does not have it, or it lacks what worlds need.
    """
    if not _NAME.fullmatch(name) or name in NAMES:
        raise BadInput(f"no userland can be called {name!r}", where="--name", mend="choose another")
    made = subprocess.run(
        [engine, "create", image, "/bin/true"], capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise Unavailable(
            (made.stderr.strip().splitlines() or ["no word"])[-1],
            where=f"{Path(engine).name} create {image}",
            mend=f"{Path(engine).name} pull {image}",
        )
    container = made.stdout.strip().splitlines()[-1]
    stage = debian.staging(userlands_folder())
    try:
        root = stage / "root"
        root.mkdir()
        with subprocess.Popen([engine, "export", container], stdout=subprocess.PIPE) as export:
            if export.stdout is None:
                raise Unavailable("no output", where=f"{engine} export")
            tree.unpack(export.stdout, root, image)
            while export.stdout.read(1 << 20):  # what follows the end of the archive
                pass
        if export.returncode:
            raise Unavailable("the export failed", where=image, mend="try it by hand")
        debian.finish(root)
        tree_userland(name, root, "")
        return _put_in_place(stage, name, image)
    finally:
        subprocess.run([engine, "rm", "-f", container], capture_output=True, check=False)
        shutil.rmtree(stage, ignore_errors=True)


def _put_in_place(stage: Path, name: str, source: str) -> BuiltUserland:
    root = stage / "root"
    entries = list(tree.walk(root))
    new = BuiltUserland(
        name=name,
        digest=tree.digest(root),
        stamp=tree.stamp(root),
        source=source,
        entries=len(entries),
        size=sum(status.st_size for _, status in entries),
    )
    write_whole(stage / _RECORD, msgspec.json.encode(new))
    stage.chmod(0o755)
    os.sync()  # one call for thousands of small files
    target = stage.parent / name
    old = stage.parent / f".old-{stage.name}"
    # An open world keeps the tree that it has mounted; the next world gets the new one.
    if target.exists():
        target.rename(old)
    stage.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    _tree.cache_clear()
    return msgspec.structs.replace(new, path=str(target / "root"))


def verify(userland: BuiltUserland) -> str:
    """What is wrong with a built tree; empty where it still has its digest."""
    try:
        found = tree.digest(Path(userland.path))
    except OSError as error:
        return f"cannot be read: {error}"
    expected = userland.digest
    return "" if found == expected else f"its digest is {found[:12]}, not {expected[:12]}"
