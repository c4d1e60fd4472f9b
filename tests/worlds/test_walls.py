"""What an inhabitant of a world must not see, use up or reach."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from sekft_engine.scenario import Announcement, Fixture
from sekft_engine.worlds import Limits, World
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


def test_the_environment_is_that_of_a_plain_user(world: World) -> None:
    names = {line.split("=", 1)[0] for line in out(world, "env").splitlines()}
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
def test_the_system_is_read_only(world: World, path: str) -> None:
    result = world.run(f"touch {path}/mine")
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


def test_limits_cannot_be_raised(world: World) -> None:
    assert world.run("ulimit -n 4096").status != 0
    for limit in ("nproc=5000", "as=unlimited", "fsize=unlimited", "cpu=unlimited", "nofile=4096"):
        assert world.run(f"prlimit --{limit} --pid $$").status != 0


def test_the_owner_of_the_system_is_root_by_name(world: World) -> None:
    assert " root root " in out(world, "ls -l /usr/bin/env")
    assert "user" in out(world, "id -un")


def test_no_other_network_than_a_dead_loopback(world: World) -> None:
    seen = out(world, "cat /proc/net/dev")
    names = {line.split(":")[0].strip() for line in seen.splitlines() if ":" in line}
    assert names == {"lo"}


@pytest.mark.parametrize("family", [16, 17, 38, 40])
def test_sockets_that_leave_the_network_namespace_are_refused(world: World, family: int) -> None:
    """Netlink, packet, the kernel's crypto, and vsock (which reaches a hypervisor)."""
    call = f"perl -e 'socket(my $s, {family}, 2, 0) or die \"refused: $!\\n\"'"
    if world.run("command -v perl").status != 0:
        pytest.skip("this machine has no perl to ask for a socket")
    result = world.run(call)
    assert "refused: Address family not supported" in result.output


def test_unix_and_internet_sockets_exist(world: World) -> None:
    if world.run("command -v perl").status != 0:
        pytest.skip("this machine has no perl to ask for a socket")
    assert world.run("perl -e 'socket(my $s, $_, 1, 0) or die for 1, 2'").status == 0


def test_no_new_namespaces_or_mounts(world: World) -> None:
    assert world.run("unshare -U true").status != 0
    assert world.run("mount -t tmpfs x /tmp").status != 0
    assert world.run("hostname mine").status != 0


def test_the_hosts_files_and_processes_are_not_there(world: World) -> None:
    here = Path(__file__).resolve()
    assert world.run(f"ls {here}").status == 2
    assert world.run("ls /root /work /sys").status == 2
    assert out(world, "ls /home") == "user\n"
    pids = out(world, "ls -d /proc/[0-9]*").split()
    assert f"/proc/{os.getpid()}" not in pids
    assert len(pids) <= 4
    assert "nobody" not in out(world, "cat /etc/passwd")


def test_the_hosts_own_programs_are_not_there(world: World) -> None:
    assert out(world, "ls /usr/local/bin") == "man  tovak\n"


def test_pid_1_cannot_be_killed_and_nothing_outside_signalled(world: World) -> None:
    world.run("kill -9 1")
    assert world.run(f"kill -0 {os.getpid() + 100000}").status != 0
    assert world.run("echo alive").output == "alive\n"


def test_only_the_three_standard_descriptors_are_open(world: World) -> None:
    seen = out(world, "ls /proc/$$/fd").split()
    assert set(seen) <= {"0", "1", "2", "10"}  # 10 is the shell's own copy of its terminal
    assert "/w/" not in out(world, "ls -l /proc/$$/fd")


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
