"""Control groups: a hard bound on a world's memory, on machines that let this process make one.

Where none can be made (an ordinary user outside a systemd session, most containers), the watchdog
alone holds the total.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from sekft_engine.worlds.shell.engine_id import engine_id, gone
from sekft_engine.worlds.shell.limits import MIB, Limits

#: For the sandbox's own processes, and small allocations of the kernel.
_SLACK = 64 * MIB
_PREFIX = "sekft-world."
_numbers = itertools.count()


class Hierarchy(msgspec.Struct, frozen=True):
    """A cgroup hierarchy (``version`` 1 or 2), and the folder in which groups can be made."""

    version: int
    folder: str

    @property
    def label(self) -> str:
        return f"cgroup v{self.version}"


class ControlGroup:
    """One world's control group."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, pid: int) -> None:
        """Move ``pid`` and the children it has already started. Raises OSError."""
        procs = self._folder / "cgroup.procs"
        procs.write_text(str(pid), encoding="ascii")
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
            for child in children.split():
                with contextlib.suppress(OSError):
                    self.add(int(child))

    def killed_any(self) -> bool:
        """Whether the kernel has killed a process of the group because its memory was used up."""
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError, ValueError):
                for line in (self._folder / name).read_text(encoding="ascii").splitlines():
                    key, _, count = line.partition(" ")
                    if key == "oom_kill" and int(count):
                        return True
        return False

    def remove(self) -> None:
        """Remove the group once its last process has ended."""
        for _ in range(100):
            try:
                self._folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.005)
            else:
                return


@functools.cache
def find() -> Hierarchy | None:
    """The hierarchy in which this process can bound memory, by trial; None = there is none."""
    for hierarchy in _candidates():
        with contextlib.suppress(OSError):
            group = _make(hierarchy, 64 * MIB)
            with subprocess.Popen(["sleep", "5"]) as victim:
                try:
                    group.add(victim.pid)
                finally:
                    victim.kill()
                    victim.wait()
                    group.remove()
            return hierarchy
    return None


def make(limits: Limits) -> ControlGroup | None:
    """A group with the bounds of one world, None where none can be made."""
    hierarchy = find()
    if hierarchy is None:
        return None
    _sweep(hierarchy)
    files = limits.home_bytes + limits.tmp_bytes + 4 * limits.other_bytes
    with contextlib.suppress(OSError):
        return _make(hierarchy, limits.memory_bytes + files + _SLACK)
    return None


def _make(hierarchy: Hierarchy, size: int) -> ControlGroup:
    folder = Path(hierarchy.folder) / f"{_PREFIX}{engine_id()}.{next(_numbers)}"
    folder.mkdir()
    try:
        if hierarchy.version == 1:
            (folder / "memory.limit_in_bytes").write_text(str(size), encoding="ascii")
            with contextlib.suppress(OSError):  # no swap accounting: nothing to bound
                (folder / "memory.memsw.limit_in_bytes").write_text(str(size), encoding="ascii")
        else:
            (folder / "memory.max").write_text(str(size), encoding="ascii")
            with contextlib.suppress(OSError):
                (folder / "memory.swap.max").write_text("0", encoding="ascii")
            with contextlib.suppress(OSError):
                (folder / "memory.oom.group").write_text("0", encoding="ascii")
    except OSError:
        folder.rmdir()
        raise
    return ControlGroup(folder)


def _candidates() -> Iterator[Hierarchy]:
    own = _own_paths()
    mounts = _mounts()
    if "memory" in mounts and "memory" in own:
        yield Hierarchy(1, str(mounts["memory"] / own["memory"].lstrip("/")))
    if "" in mounts and "" in own:
        # A v2 group with processes of its own has no controllers for children: a sibling it is.
        here = mounts[""] / own[""].lstrip("/")
        for folder in (here, here.parent):
            with contextlib.suppress(OSError):
                enabled = (folder / "cgroup.subtree_control").read_text(encoding="ascii").split()
                if "memory" in enabled:
                    yield Hierarchy(2, str(folder))


def _own_paths() -> dict[str, str]:
    """This process's path per controller; '' is the one of v2."""
    out = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            for name in controllers.split(","):
                out[name] = path
    return out


def _mounts() -> dict[str, Path]:
    """Mount point per controller; '' is the one of v2."""
    out = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
            _, place, kind, options, *_ = line.split(" ")
            if kind == "cgroup" and "memory" in options.split(","):
                out["memory"] = Path(place)
            elif kind == "cgroup2":
                out[""] = Path(place)
    return out


@functools.cache
def _sweep(hierarchy: Hierarchy) -> None:
    """Once per process: empty groups that a killed engine has left."""
    for folder in Path(hierarchy.folder).glob(f"{_PREFIX}*"):
        if gone(folder.name.removeprefix(_PREFIX).rsplit(".", 1)[0]):
            with contextlib.suppress(OSError):
                os.rmdir(folder)  # noqa: PTH106 - only ever empty folders
