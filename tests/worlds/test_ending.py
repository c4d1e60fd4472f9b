"""How worlds end: checked in a fresh process, and with nothing left behind."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sekft_engine.worlds import Limits, World, WorldBroken, check_untouched, open_world
from sekft_engine.worlds.bubblewrap import orphans
from tests.worlds.conftest import (
    Opener,
    containers,
    processes_with,
    scenario,
    started_here,
    unique_seconds,
    wait_until,
)


def test_the_checker_sees_the_state_that_the_session_left(opener: Opener) -> None:
    world = opener(checker="echo looking; cd ~ && test -e done && test -e /tmp/too")
    world.run("touch done /tmp/too")
    verdict = world.check()
    assert (verdict.passed, verdict.status, verdict.output) == (True, 0, "looking\n")


def test_a_failing_checker_tells_why(opener: Opener) -> None:
    verdict = opener(checker="echo nothing done >&2; exit 4").check()
    assert (verdict.passed, verdict.status) == (False, 4)
    assert verdict.output == "nothing done\n"


def test_no_process_of_the_session_is_left_when_the_checker_runs(opener: Opener) -> None:
    mark = unique_seconds()
    # The pattern is in brackets so that grep does not find itself.
    world = opener(checker=f"! grep -l '[{mark[0]}]{mark[1:]}' /proc/[0-9]*/cmdline")
    world.run(f"nohup setsid sh -c 'sleep {mark}; true' >/dev/null 2>&1 &")
    assert wait_until(lambda: len(processes_with(f"sleep {mark}")) >= 2)
    world.run("exit")
    assert world.check().passed
    assert not processes_with(f"sleep {mark}")


def test_a_session_cannot_fake_the_verdict(opener: Opener) -> None:
    world = opener(checker="exit 1")
    world.run("echo 'x checked 0'; echo 'x ended 0'")
    assert not world.check().passed


def test_a_checker_that_hangs_is_a_failure_not_a_wait(opener: Opener) -> None:
    world = opener(limits=Limits(checker_s=0.5), checker="sleep 1000")
    verdict = world.check()
    assert (verdict.passed, verdict.status) == (False, 124)


def test_the_untouched_world_can_be_checked_without_a_session() -> None:
    assert check_untouched(scenario(checker="test -e ~/notes/plum.txt")).passed
    assert not check_untouched(scenario()).passed


def test_close_leaves_no_process_and_no_descriptor(opener: Opener) -> None:
    opener().close()
    before = _descriptors()
    world, mark = opener(), unique_seconds()
    world.run(f"for i in 1 2 3; do nohup setsid sleep {mark} >/dev/null 2>&1 & done")
    assert wait_until(lambda: len(processes_with(f"sleep {mark}")) >= 3)
    world.close()
    world.close()
    assert not processes_with(f"sleep {mark}")
    assert _descriptors() == before
    with pytest.raises(WorldBroken):
        world.run("ls")


def test_an_open_world_is_closed_when_its_block_fails() -> None:
    mark = unique_seconds()
    with contextlib.suppress(RuntimeError), open_world(scenario()) as world:
        world.run(f"sleep {mark} &")
        assert wait_until(lambda: bool(processes_with(f"sleep {mark}")))
        raise RuntimeError
    assert not processes_with(f"sleep {mark}")


_ENGINE = """
import sys
sys.path.insert(0, {root!r})
from tests.worlds.conftest import scenario
from sekft_engine.worlds import open_world
world = open_world(scenario(), **dict(zip(("sandbox", "userland"), {setup!r}.split("/"))))
world.run("nohup setsid sleep {mark} >/dev/null 2>&1 &")
print("ready", flush=True)
sys.stdin.read()
"""

# Importing takes longest, so one process forks the engines that are killed.
_STARTER = """
import os, signal, sys, time
sys.path.insert(0, {root!r})
from tests.worlds.conftest import scenario
from sekft_engine.worlds import open_world
names = dict(zip(("sandbox", "userland"), {setup!r}.split("/")))
for delay in {delays!r}:
    read, write = os.pipe()
    engine = os.fork()
    if not engine:
        open_world(scenario(), **names).close()
        os.write(write, b"ready")
        while True:
            open_world(scenario(), **names).close()
    assert os.read(read, 5) == b"ready"
    time.sleep(delay)
    os.kill(engine, signal.SIGKILL)
    os.waitpid(engine, 0)
"""

_LATER = """
import sys
sys.path.insert(0, {root!r})
from tests.worlds.conftest import scenario
from sekft_engine.worlds import open_world
open_world(scenario(), **dict(zip(("sandbox", "userland"), {setup!r}.split("/")))).close()
"""


def test_nothing_is_left_when_the_engine_is_killed(setup: str) -> None:
    root, mark = str(Path(__file__).parents[2]), unique_seconds()
    engine = subprocess.Popen(
        [sys.executable, "-c", _ENGINE.format(root=root, setup=setup, mark=mark)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert engine.stdout is not None
    assert engine.stdin is not None
    assert engine.stdout.readline() == "ready\n"
    assert processes_with(f"sleep {mark}")
    engine.send_signal(signal.SIGKILL)
    engine.wait()
    assert wait_until(lambda: not processes_with(f"sleep {mark}"))
    assert wait_until(lambda: not containers(setup))
    engine.stdin.close()
    engine.stdout.close()


def test_an_engine_killed_while_it_starts_a_world_leaves_nothing_that_the_next_does_not_end(
    setup: str,
) -> None:
    """bubblewrap's first process waits for ever if bubblewrap dies in the wrong millisecond."""
    root = str(Path(__file__).parents[2])
    # bubblewrap is up within milliseconds, a container within some hundred.
    delays = [0.0005 * n for n in range(12)]
    if not setup.startswith("bubblewrap"):
        delays = [0.0, 0.05, 0.1, 0.2]
    starter = _STARTER.format(root=root, setup=setup, delays=delays)
    subprocess.run([sys.executable, "-c", starter], check=True, timeout=300)

    # One that comes later looks after what is left; an engine that has looked does not at once.
    later = _LATER.format(root=root, setup=setup)

    def swept() -> bool:
        subprocess.run([sys.executable, "-c", later], check=True, timeout=300)
        return not _abandoned() and not containers(setup)

    assert wait_until(swept)


def _abandoned() -> list[int]:
    """Holders without bubblewrap, of this engine or of any other that has died."""
    return [pid for pid, parent in orphans.first_processes() if not orphans.is_holder(parent)]


def test_a_world_outlives_the_thread_that_opened_it(opener: Opener) -> None:
    worlds: list[World] = []
    thread = threading.Thread(target=lambda: worlds.append(opener()))
    thread.start()
    thread.join()
    assert worlds[0].run("echo here").output == "here\n"


def test_memory_of_the_whole_world_is_held(opener: Opener) -> None:
    world = opener(limits=Limits(memory_bytes=64 * 1024 * 1024))
    hog = "(head -c 40000000 /dev/zero; sleep 9) | tail -c 39000000 >/dev/null"
    result = world.run(f"{hog} & {hog} & {hog} & wait")
    assert result.ended == "died"
    assert result.notes == ("killed: memory",)


def test_a_session_has_a_budget_of_time_spent_in_commands(opener: Opener) -> None:
    world = opener(limits=Limits(session_s=0.5, command_s=5))
    assert "timeout" in world.run("sleep 5").notes
    late = world.run("echo late")
    assert (late.ended, late.notes) == ("died", ("session time is up",))


def test_a_dead_sandbox_is_broken_not_a_failed_episode(opener: Opener) -> None:
    before = started_here()
    world = opener()
    # What only a fault of the machine does: everything dies at once, and from outside.
    for process in started_here() - before:
        process.kill()
    with pytest.raises(WorldBroken):
        _use(world)


def test_a_checker_whose_sandbox_does_not_start_has_judged_nothing(opener: Opener) -> None:
    before = started_here()
    world = opener(checker="exit 0")
    if world.backend != "bubblewrap":
        pytest.skip("a container has no second sandbox for its checker")
    # As when a package manager replaces what the sandbox is made of while the session runs.
    (sandbox,) = started_here() - before
    inside = (Path(f"/proc/{one.pid}/root/w/checker") for one in sandbox.children(recursive=True))
    next(path for path in inside if path.exists()).unlink()
    with pytest.raises(WorldBroken, match=r"no sandbox for the checker.*No such file"):
        world.check()


def _use(world: World) -> None:
    for _ in range(100):
        world.run("sleep 0.05")


def _descriptors() -> list[str]:
    """What each open descriptor of this process is, without the numbers."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(entry.readlink()))
    return sorted(name for name in found if not name.startswith("/proc/"))


def test_many_worlds_live_side_by_side(opener: Opener, setup: str) -> None:
    many = 12 if setup.startswith("bubblewrap") else 4
    worlds = [opener() for _ in range(many)]
    for number, world in enumerate(worlds):
        world.run(f"echo {number} > mine")
    assert [world.run("cat mine").output for world in worlds] == [f"{n}\n" for n in range(many)]
