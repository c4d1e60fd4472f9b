"""The container engines of this machine: find and try them, import images, remove leftovers."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path
from typing import IO

import msgspec

from sekft_engine.core.errors import Unavailable
from sekft_engine.worlds.shell.engine_id import gone
from sekft_engine.worlds.trees import tree
from sekft_engine.worlds.trees.userland import Userland

REPOSITORY = "localhost/sekft-world"
_LABEL = "sekft.userland"
_QUICK_S, _IMPORT_S = 30, 300
_NO_PROGRAM = (
    127  # exit status of podman and docker where the program to run is not in the container
)
#: Options of podman for machines that lack something, the plain call first.
_PODMAN_WAYS = (
    (),
    ("--cgroup-manager", "cgroupfs"),
    ("--runtime", "runc", "--cgroup-manager", "cgroupfs"),
    ("--runtime", "crun", "--cgroup-manager", "cgroupfs"),
)
#: The options of every container, whatever its limits.
COMMON = (
    "--pull", "never", "--log-driver", "none", "--network", "none", "--ipc", "private",
    "--hostname", "box", "--user", "0:0", "--cap-drop", "ALL", "--security-opt",
    "no-new-privileges", "--read-only", "--shm-size", "1m", "--workdir", "/",
    "--ulimit", "core=0:0", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096",
)  # fmt: skip
_PODMAN_RUN = ("--http-proxy=false", "--no-hosts", "--read-only-tmpfs=false")


class ContainerEngine(msgspec.Struct, frozen=True):
    """A container program, and the way to call it on this machine.

    Attributes:
        command: the program with its global options.
        run_options: more options for ``run``.
        limits: whether it bounds memory and processes by cgroup.
    """

    name: str
    command: tuple[str, ...]
    run_options: tuple[str, ...] = ()
    version: str = ""
    limits: bool = True
    rootless: bool = False

    def call(
        self, *words: str, seconds: float = _QUICK_S, feed: bytes | None = None, fine: int = 0
    ) -> str:
        """Run a subcommand and return its output.

        Args:
            words: the subcommand and its arguments.
            seconds: the time limit.
            feed: its input.
            fine: an exit status that is no failure, besides 0.

        Raises:
            Unavailable: it failed; with the end of its error output.
        """
        try:
            done = subprocess.run(
                [*self.command, *words],
                input=feed,
                stdin=subprocess.DEVNULL if feed is None else None,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"does not answer: {error}", where=self.name) from error
        if done.returncode not in (0, fine):
            raise Unavailable(last_words(done.stderr), where=self.name)
        return done.stdout.decode("utf-8", "replace").strip()

    def remove(self, container: str) -> None:
        """Make sure that ``container`` is gone."""
        now = ("-t", "0") if self.name == "podman" else ()
        with contextlib.suppress(Unavailable):
            self.call("rm", "-f", *now, container)


def last_words(said: bytes) -> str:
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines()]
    lines = [line for line in lines if line and not line.startswith("See '")]
    return (lines[-1] if lines else "no word")[-400:]


@functools.cache
def find_engine(name: str) -> ContainerEngine:
    """The engine called ``name``, tried for an answer (not yet with a container).

    Raises:
        Unavailable: it is not installed, or no daemon answers; with what mends it.
    """
    program = shutil.which(name)
    if program is None:
        raise Unavailable("not installed", where=name, mend=f"apt-get install {PACKAGES[name]}")
    if name == "docker":
        return _docker(program)
    return _podman(program)


PACKAGES = {"podman": "podman", "docker": "docker.io"}


def _docker(program: str) -> ContainerEngine:
    engine = ContainerEngine("docker", (program,))
    try:
        version = engine.call("version", "--format", "{{.Server.Version}}")
    except Unavailable as error:
        raise Unavailable(
            f"installed, but no engine answers: {error.what}",
            where="docker",
            mend="start it (systemctl start docker), join its group, or set DOCKER_HOST",
        ) from error
    return msgspec.structs.replace(engine, version=version)


def _podman(program: str) -> ContainerEngine:
    engine = ContainerEngine("podman", (program,), _PODMAN_RUN)
    try:
        facts = engine.call("info", "--format", "{{.Version.Version}} {{.Host.Security.Rootless}}")
    except Unavailable as error:
        raise Unavailable(
            f"installed, but broken: {error.what}", where="podman", mend="try podman info"
        ) from error
    version, _, rootless = facts.partition(" ")
    return msgspec.structs.replace(engine, version=version, rootless=rootless == "true")


def _ways(engine: ContainerEngine) -> list[ContainerEngine]:
    """The ways of calling ``engine`` that are worth trying, the plain one first."""
    if engine.name != "podman":
        return [engine]
    program = engine.command[0]
    ways = [
        msgspec.structs.replace(engine, command=(program, *way))
        for way in _PODMAN_WAYS
        if "--runtime" not in way or shutil.which(way[way.index("--runtime") + 1])
    ]
    if engine.rootless:
        # Where an ordinary user has no cgroup, limits of the process itself must do: they are
        # counted per user namespace there. As root they would not hold, so it is not tried.
        ways += [msgspec.structs.replace(way, limits=False) for way in ways]
    return ways


@functools.cache
def working(engine: ContainerEngine, image: str) -> ContainerEngine:
    """``engine`` with the first way to call it in which a container of ``image`` runs.

    Raises:
        Unavailable: there is none; with the error of each.
    """
    return _first_way(engine, image)


def try_bare(engine: ContainerEngine) -> None:
    """Try a container with nothing in it: an engine that gets as far as missing the program in it
    can start one.

    Raises:
        Unavailable: it gets less far; with what mends it.
    """
    nothing = io.BytesIO()
    with tarfile.open(fileobj=nothing, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("empty"))
    image = f"{REPOSITORY}:nothing-{os.getpid()}"
    try:
        engine.call("import", "-", image, feed=nothing.getvalue())
        _first_way(engine, image, fine=_NO_PROGRAM)
    finally:
        with contextlib.suppress(Unavailable):
            engine.call("rmi", image)


def _first_way(engine: ContainerEngine, image: str, *, fine: int = 0) -> ContainerEngine:
    reasons: list[str] = []
    for way in _ways(engine):
        bounds = ("--memory", "268435456", "--pids-limit", "32") if way.limits else ()
        try:
            way.call(
                "run", "--rm", *COMMON, *bounds, *way.run_options, image, "/usr/bin/true", fine=fine
            )
        except Unavailable as error:
            if error.what not in reasons:
                reasons.append(error.what)
        else:
            return way
    raise Unavailable(
        f"containers do not start: {'; '.join(reasons)}",
        where=engine.name,
        mend=_mend(" ".join(reasons)),
    )


def _mend(said: str) -> str:
    if "hybrid" in said:
        return "apt-get install runc, which works with cgroups of both versions at once"
    if "subuid" in said or "newuidmap" in said:
        return "apt-get install uidmap, and give the user a range in /etc/subuid and /etc/subgid"
    if "namespace" in said or "permitted" in said:
        return "in a container, start that one with --privileged; else use bubblewrap"
    return "try podman run by hand" if "podman" in said else "try docker run by hand"


_importing = threading.Lock()


def ensure_image(engine: ContainerEngine, userland: Userland) -> str:
    """The image of ``userland``, imported from its tree where the engine does not have it yet."""
    with _importing:
        return _image(engine, userland)


@functools.cache
def _image(engine: ContainerEngine, userland: Userland) -> str:
    image = f"{REPOSITORY}:{userland.digest[:16]}"
    form = f'{{{{index .Config.Labels "{_LABEL}"}}}}'
    with contextlib.suppress(Unavailable):
        if engine.call("image", "inspect", "--format", form, image) == userland.digest:
            return image
    with subprocess.Popen(
        [*engine.command, "import", "--change", f"LABEL {_LABEL}={userland.digest}", "-", image],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as done:
        if done.stdin is None or done.stderr is None:
            raise Unavailable("no pipes", where=engine.name)
        with contextlib.suppress(BrokenPipeError):
            pack(Path(userland.root), done.stdin)
            done.stdin.close()
        said = done.stderr.read()
    if done.returncode:
        raise Unavailable(
            f"the image cannot be imported: {last_words(said)}",
            where=engine.name,
            mend="is there space in its storage?",
        )
    return image


def pack(root: Path, stream: IO[bytes]) -> None:
    """Write the tree as a tar whose bytes depend on its contents only, all owned by root."""
    with tarfile.open(fileobj=stream, mode="w|") as archive:
        for name, _ in tree.walk(root):
            member = archive.gettarinfo(root / name, name)
            member.uid = member.gid = member.mtime = 0
            member.uname = member.gname = "root"
            if member.isreg():
                with (root / name).open("rb") as file:
                    archive.addfile(member, file)
            else:
                archive.addfile(member)


@functools.cache
def sweep_containers(engine: ContainerEngine) -> None:
    """Remove the containers of processes that have ended; once per process."""
    with contextlib.suppress(Unavailable):
        names = engine.call("ps", "-a", "--filter", "label=sekft.engine", "--format", "{{.Names}}")
        for name in names.split():
            if name.startswith("sekft-") and gone(name[len("sekft-") :].rsplit("-", 1)[0]):
                engine.remove(name)
