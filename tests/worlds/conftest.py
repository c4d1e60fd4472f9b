"""A plain world, a way to open others on every backend, and a look at this machine's processes."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sekft_engine.core.errors import SekftError
from sekft_engine.data.scenario import Announcement, Fixture, Provider, Scenario
from sekft_engine.worlds import Limits, World, open_world, opening
from sekft_engine.worlds.bubblewrap import orphans
from sekft_engine.worlds.bubblewrap.launcher import find_bubblewrap
from sekft_engine.worlds.bubblewrap.processes import status
from sekft_engine.worlds.container.engines import find_engine
from sekft_engine.worlds.probing import probe_one
from sekft_engine.worlds.shell.engine_id import engine_id, gone
from sekft_engine.worlds.trees import userlands


class Opener:
    """Opens worlds in one setup; ``changes`` are those of :func:`scenario`."""

    def __init__(self, setup: str) -> None:
        self._backend, _, self._userland = setup.partition("/")
        self._opened: list[World] = []

    def __call__(self, *, limits: Limits | None = None, sandbox: str = "", **changes: Any) -> World:
        world = open_world(
            scenario(**changes),
            limits=limits,
            sandbox=sandbox or self._backend,
            userland=self._userland,
        )
        self._opened.append(world)
        return world

    def close(self) -> None:
        for world in self._opened:
            world.close()


#: backend/userland; a test with a world runs on each that is present.
SETUPS = ("bubblewrap/host", "bubblewrap/debian", "podman/debian", "docker/debian")
#: Backends whose absence is a failure, where else it is a skip: SEKFT_BACKENDS=bubblewrap,podman
NEEDED = set(os.environ.get("SEKFT_BACKENDS", "").replace(",", " ").split())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "setup" in metafunc.fixturenames:
        wanted = getattr(metafunc.module, "SETUPS", SETUPS)
        metafunc.parametrize("setup", wanted, indirect=True, scope="session")


@functools.cache
def why_absent(setup: str) -> str:
    """'' where worlds run in ``setup``, else the probe's reason."""
    backend, _, userland = setup.partition("/")
    if userland == "debian":
        try:
            userlands.build_debian(lambda *_: None)
        except SekftError as error:
            return str(error)
    probed = probe_one(backend, userland)
    return "" if probed.ok else f"{backend}: {probed.detail} ({probed.mend})"


def forget_what_is_here() -> None:
    """Let the next look find other programs than the last."""
    find_bubblewrap.cache_clear()
    find_engine.cache_clear()
    opening.first_that_works.cache_clear()


def scenario(**changes: Any) -> Scenario:
    """A bundle with a file and a provider; ``changes`` replace its fields."""
    fields: dict[str, Any] = {
        "id": "plain",
        "provider": Provider(name="tovak", script='echo "tovak says $1"\n', man="TOVAK, a page\n"),
        "announcement": Announcement(channel="motd", text="Ask tovak."),
        "fixtures": (Fixture(path="notes/plum.txt", content="one\ntwo\n"),),
        "checker": "test -e ~/done",
    }
    return Scenario(**(fields | changes))


@pytest.fixture(scope="session")
def setup(request: pytest.FixtureRequest) -> str:
    """A backend and a userland, such as ``podman/debian``."""
    name: str = request.param
    reason = why_absent(name)
    if reason and (name == "bubblewrap/host" or name.split("/")[0] in NEEDED):
        pytest.fail(f"{name}: {reason}")
    if reason:
        pytest.skip(reason)
    return name


@pytest.fixture
def opener(setup: str) -> Iterator[Opener]:
    """Open worlds that are closed after the test, whatever happened in it."""
    one = Opener(setup)
    yield one
    one.close()


@pytest.fixture
def world(opener: Opener) -> World:
    return opener()


@pytest.fixture(scope="module")
def shared_opener(setup: str) -> Iterator[Opener]:
    one = Opener(setup)
    yield one
    one.close()


@pytest.fixture(scope="module")
def shared(shared_opener: Opener) -> World:
    """One world for all tests that only ask, or whose attempts must change nothing."""
    return shared_opener()


def unique_seconds() -> str:
    """How long to sleep so that a command line tells this test's process from any other's."""
    return f"{secrets.randbelow(900_000) + 100_000}.{secrets.randbelow(10**9):09}"


def processes_with(text: str) -> list[str]:
    """Command lines on this machine that contain ``text``, zombies aside."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if text in line:
                found.append(line)
    return found


def started_here() -> set[psutil.Process]:
    """The processes that this one has started and that live."""
    own = psutil.Process().children()
    return {one for one in own if one.status() != psutil.STATUS_ZOMBIE}


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether ``condition`` came true before ``seconds`` were over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def containers(setup: str) -> list[str]:
    """World containers of this engine and of engines that are gone; others run theirs meanwhile."""
    name = setup.split("/")[0]
    if name not in ("podman", "docker"):
        return []
    listing = ("ps", "-a", "--filter", "label=sekft.engine", "--format", "{{.Names}}")
    found = find_engine(name).call(*listing).split()
    engine = {one: one.removeprefix("sekft-").rsplit("-", 1)[0] for one in found}
    return [one for one in found if engine[one] == engine_id() or gone(engine[one])]


def holders() -> list[int]:
    """First processes of bubblewrap's holders that this process started, or nobody looks after."""
    return [
        pid
        for pid, parent in orphans.first_processes()
        if not orphans.is_holder(parent) or os.getpid() in _above(parent)
    ]


def _above(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError, KeyError):
        while pid > 1:
            yield pid
            pid = int(status(pid)["PPid"][0])
