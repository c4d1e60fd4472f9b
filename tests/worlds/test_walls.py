"""What an inhabitant of a world must not see, use up or reach."""

from __future__ import annotations

import errno
import os
import platform
import secrets
import subprocess
from pathlib import Path

import pytest

from sekft_engine.data.scenario import Announcement, Fixture
from sekft_engine.worlds import Limits, World
from sekft_engine.worlds.bubblewrap.launcher import SANDBOX_UID
from sekft_engine.worlds.container.start import UID
from tests.worlds.conftest import Opener


def out(world: World, command: str) -> str:
    return world.run(command).output


def test_the_hosts_environment_does_not_leak(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = secrets.token_hex(8)
    monkeypatch.setenv("API_KEY", secret)
    world = opener()
    seen = out(world, "env; cat /proc/*/environ")
    assert "HOME=/home/user" in seen
    assert secret not in seen
    assert "API_KEY" not in seen


def test_the_environment_is_that_of_a_plain_user(shared: World) -> None:
    names = {line.split("=", 1)[0] for line in out(shared, "env").splitlines()}
    assert names == {"HOME", "LANG", "PATH", "PWD", "TERM", "USER"}


def test_no_command_line_shows_the_bundle_or_the_solution(opener: Opener) -> None:
    world = opener(checker="test -e ~/secret-of-the-checker", reference_solution=("secret-way",))
    assert "secret" not in out(world, "cat /proc/*/cmdline /proc/*/mountinfo | tr '\\0' ' '")


def test_checker_and_solution_are_nowhere_in_the_session(opener: Opener) -> None:
    world = opener(checker="test -e ~/xyzzy-mark", reference_solution=("xyzzy-way",))
    seen = out(world, "grep -rl xyzzy /home /tmp /etc /usr/local /.[a-z]* /w 2>/dev/null; ls -a /")
    assert "xyzzy" not in seen
    assert ".checker" not in seen.split()
    assert "w" not in seen.split()


@pytest.mark.parametrize("path", ["/", "/etc", "/usr", "/usr/bin", "/usr/local/bin", "/dev"])
def test_the_system_is_read_only(shared: World, path: str) -> None:
    result = shared.run(f"touch {path}/mine")
    assert result.status == 1
    assert "Read-only file system" in result.output or "Permission denied" in result.output


def test_shared_memory_is_small(world: World) -> None:
    result = world.run("head -c 3000000 /dev/zero > /dev/shm/big; wc -c < /dev/shm/big")
    assert int(result.output.split()[-1]) <= 1048576


@pytest.mark.parametrize(("place", "limit"), [("/tmp", "tmp_bytes"), ("/home/user", "home_bytes")])
def test_home_and_tmp_have_a_size(opener: Opener, place: str, limit: str) -> None:
    world = opener(limits=Limits(**{limit: 1048576}))
    assert "No space left" in out(world, f"head -c 3000000 /dev/zero > {place}/big")


def test_a_file_has_a_largest_size(opener: Opener) -> None:
    world = opener(limits=Limits(file_size=100_000))
    assert int(out(world, "head -c 300000 /dev/zero >big; wc -c <big").split()[-1]) <= 100_000


def test_the_number_of_processes_is_held_even_when_the_engine_is_root(opener: Opener) -> None:
    world = opener(limits=Limits(nproc=20))
    script = "i=0; while [ $i -lt 60 ]; do sleep 30 & i=$((i+1)); done"
    result = world.run(f"sh -c '{script}' 2>&1")
    assert "Cannot fork" in result.output or "unavailable" in result.output
    # Counted without a new process, of which there can be none; a container starts with threads
    # of its own, for which there is a little room.
    assert 10 < int(out(world, "set -- /proc/[0-9]*; echo $#")) <= 30


def test_two_worlds_do_not_share_their_number_of_processes(opener: Opener) -> None:
    worlds = [opener(limits=Limits(nproc=12)) for _ in range(2)]
    for world in worlds:
        result = world.run("for i in 1 2 3 4 5 6 7; do sleep 30 & done; echo fine")
        assert "fork" not in result.output
        assert "fine" in result.output


def test_one_process_cannot_take_all_memory(opener: Opener) -> None:
    world = opener(limits=Limits(address_space=100 * 1024 * 1024))
    assert world.run("head -c 400000000 /dev/zero | tail > /tmp/x").status != 0
    assert world.run("echo alive").output == "alive\n"


def test_limits_cannot_be_raised(shared: World) -> None:
    assert shared.run("ulimit -n 4096").status != 0
    for limit in ("nproc=5000", "as=unlimited", "fsize=unlimited", "cpu=unlimited", "nofile=4096"):
        assert shared.run(f"prlimit --{limit} --pid $$").status != 0


def test_the_owner_of_the_system_is_root_by_name(shared: World) -> None:
    assert " root root " in out(shared, "ls -l /usr/bin/env")
    assert "user" in out(shared, "id -un")


def test_no_other_network_than_a_dead_loopback(shared: World) -> None:
    seen = out(shared, "cat /proc/net/dev")
    names = {line.split(":")[0].strip() for line in seen.splitlines() if ":" in line}
    assert names == {"lo"}


@pytest.mark.parametrize("family", [16, 17, 38, 40])
def test_sockets_that_leave_the_network_namespace_are_refused(shared: World, family: int) -> None:
    """Netlink, packet, the kernel's crypto, and vsock (which reaches a hypervisor)."""
    call = f"perl -e 'socket(my $s, {family}, 2, 0) or die \"refused: $!\\n\"'"
    if shared.run("command -v perl").status != 0:
        pytest.skip("this machine has no perl to ask for a socket")
    result = shared.run(call)
    assert "refused: Address family not supported" in result.output


def test_unix_and_internet_sockets_exist(shared: World) -> None:
    if shared.run("command -v perl").status != 0:
        pytest.skip("this machine has no perl to ask for a socket")
    assert shared.run("perl -e 'socket(my $s, $_, 1, 0) or die for 1, 2'").status == 0


def test_no_new_namespaces_or_mounts(shared: World) -> None:
    assert shared.run("unshare -U true").status != 0
    assert shared.run("mount -t tmpfs x /tmp").status != 0
    assert shared.run("hostname mine").status != 0


def test_the_hosts_files_and_processes_are_not_there(shared: World) -> None:
    here = Path(__file__).resolve()
    assert shared.run(f"ls {here}").status == 2
    assert shared.run("ls /root /work /sys").status == 2
    assert out(shared, "ls /home") == "user\n"
    pids = out(shared, "ls -d /proc/[0-9]*").split()
    assert f"/proc/{os.getpid()}" not in pids
    assert len(pids) <= 4
    assert "nobody" not in out(shared, "cat /etc/passwd")


def test_the_hosts_own_programs_are_not_there(shared: World) -> None:
    assert out(shared, "ls /usr/local/bin") == "man  tovak\n"


def test_pid_1_cannot_be_killed_and_nothing_outside_signalled(setup: str, world: World) -> None:
    outside = _uid_outside(setup)
    with subprocess.Popen(["sleep", "300"], user=outside, cwd="/") as victim:
        try:
            world.run("kill -9 1")
            assert world.run(f"kill -9 {victim.pid}").status != 0
            world.run("kill -9 -1")
            assert world.run("echo alive").output == "alive\n"
            assert victim.poll() is None
            # Nothing but the world's walls was between them: outside, that uid may do it.
            subprocess.run(["kill", "-9", str(victim.pid)], user=outside, cwd="/", check=True)
            assert victim.wait(20) == -9
        finally:
            victim.kill()


def _uid_outside(setup: str) -> int:
    """The uid that the world's user has on this machine."""
    if os.geteuid() != 0:
        return os.geteuid()
    return SANDBOX_UID if setup.startswith("bubblewrap") else UID


def test_only_the_three_standard_descriptors_are_open(shared: World) -> None:
    seen = out(shared, "ls /proc/$$/fd").split()
    assert set(seen) <= {"0", "1", "2", "10"}  # 10 is the shell's own copy of its terminal
    assert "/w/" not in out(shared, "ls -l /proc/$$/fd")


def test_a_checker_is_not_fooled_by_a_link_out_of_the_world(opener: Opener, tmp_path: Path) -> None:
    (tmp_path / "answer").write_text("42\n")
    world = opener(checker="grep -q 42 ~/answer")
    world.run(f"ln -s {tmp_path}/answer answer")
    assert not world.check().passed


def test_system_paths_of_a_bundle_are_refused_or_its_own(opener: Opener) -> None:
    world = opener(
        fixtures=(
            Fixture(path="/etc/app.conf", content="a\n"),
            Fixture(path="/srv/data/list", content="b\n"),
            Fixture(path="/usr/local/share/c", content="c\n"),
        ),
        checker='[ "$(cat /etc/app.conf /srv/data/list)" = "$(printf "a2\\nb2")" ]',
    )
    assert world.run("echo a2 > /etc/app.conf; echo b2 > /srv/data/list").status == 0
    assert world.run("touch /srv/new; echo x > /usr/local/share/c").status != 0
    assert world.check().passed


def test_variables_announce_without_showing_anything(opener: Opener) -> None:
    world = opener(announcement=Announcement(channel="env", variable="HINT", text="ask tovak"))
    assert world.login == "user@box:~$"
    assert out(world, "echo $HINT") == "ask tovak\n"


#: name: its number on x86_64, and arguments with which it would go well for any ordinary user
#: (where the kernel has it, and asks no more than usual). A string is a place in memory.
CALLS = {
    "shmget": (29, "0, 4096, 01600"),
    "semget": (64, "0, 1, 01600"),
    "msgget": (68, "0, 01600"),
    "memfd_create": (319, "qq(mine), 0"),
    "memfd_secret": (447, "0"),
    "add_key": (248, "qq(user), qq(mine), qq(mine), 4, -3"),
    "request_key": (249, "qq(user), qq(mine), 0, -3"),
    "keyctl": (250, "0, -3, 1"),
    "io_uring_setup": (425, "4, pack(q(x120))"),
    "bpf": (321, "0, pack(q(L4x104), 2, 4, 4, 1), 120"),
    "userfaultfd": (323, "1"),
    "perf_event_open": (298, "pack(q(LLx32Qx64), 1, 112, 0x60), 0, -1, -1, 0"),
    "process_vm_readv": (310, "$$, pack(q(x16)), 0, pack(q(x16)), 0, 0"),
    "fsopen": (430, "qq(tmpfs), 0"),
    "open_tree": (428, "-100, qq(/tmp), 0"),
    "setns": (308, "0, 0"),
}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86_64")
@pytest.mark.parametrize("name", CALLS)
def test_kernel_calls_that_no_limit_counts_are_refused(shared: World, name: str) -> None:
    number, words = CALLS[name]
    # perl lends the kernel variables, no literals.
    attempt = f"@a = map {{ $_ }} ({words}); print syscall({number}, @a) < 0 ? $! + 0 : qq(OPEN)"
    assert out(shared, f"perl -e '{attempt}'") == str(errno.EPERM)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86_64")
def test_there_is_no_second_door_to_refused_calls(shared: World) -> None:
    """The x32 table, and clone3, whose flags a filter cannot read: both as if they were not."""
    for number, words in (((1 << 30) + 319, "$name, 0"), (435, "$zeros, 88")):
        attempt = f"$name = qq(x); $zeros = pack(q(x88)); print syscall({number}, {words}), $! + 0"
        assert out(shared, f"perl -e '{attempt}'") == f"-1{errno.ENOSYS}"
