"""What a hostile inhabitant tries, on every backend that this machine has. All of it is bounded, so
that the machine survives also where an attack is not held."""

from __future__ import annotations

import platform
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekft_engine.data.scenario import Fixture
from sekft_engine.worlds import Limits, World
from sekft_engine.worlds.bubblewrap import cgroups
from sekft_engine.worlds.shell.engine_id import engine_id
from tests.worlds.conftest import (
    Opener,
    containers,
    holders,
    processes_with,
    unique_seconds,
    wait_until,
)

MIB = 1024 * 1024
QUICK = Limits(command_s=0.5)
#: Walking through all of a machine's /usr takes long the first time, and beside other work.
WALK_S = 120
#: Trees of a bundle's own, besides the home.
PLACES = (Fixture(path="/srv/data/", mode="0755"), Fixture(path="/opt/", mode="0755"))


@pytest.fixture(autouse=True)
def _nothing_is_left(setup: str, opener: Opener) -> Iterator[None]:
    """After each attack: no process, mount, control group or container more than before."""
    before = _traces(setup)
    yield
    opener.close()
    assert wait_until(lambda: _traces(setup) <= before), _traces(setup) - before


def _traces(setup: str) -> set[str]:
    lines = Path("/proc/mounts").read_text().splitlines()
    # An engine mounts its own storage while another test uses it, on another worker.
    mounts = {f"mount {line}" for line in lines if "/containers/" not in line}
    hierarchy = cgroups.find()
    ours = f"sekft-world.{engine_id()}.*"
    groups = Path(hierarchy.folder).glob(ours) if hierarchy else ()
    return {
        *mounts,
        *(f"group {folder.name}" for folder in groups),
        *(f"container {name}" for name in containers(setup)),
        *(f"process {pid}" for pid in holders()),
    }


def out(world: World, command: str) -> str:
    return world.run(command).output


def perl(world: World, script: str) -> str:
    assert "'" not in script
    return out(world, f"perl -e '{script}'")


# -- using things up ---------------------------------------------------------------------------


def test_a_fork_bomb_hits_a_wall_and_the_checker_still_judges(opener: Opener) -> None:
    world = opener(limits=Limits(nproc=32, command_s=1.0), checker="test -e notes/plum.txt")
    bomb = f"bomb-{secrets.token_hex(8)}"
    most = [0]
    done = threading.Event()

    def count() -> None:
        while not done.is_set():
            most[0] = max(most[0], len(processes_with(bomb)))
            time.sleep(0.05)

    counter = threading.Thread(target=count)
    counter.start()
    try:
        world.run(f"perl -e 'fork while 1; # {bomb}'")
    finally:
        done.set()
        counter.join()
    assert 4 < most[0] <= 42
    assert world.check().passed
    assert wait_until(lambda: not processes_with(bomb))


@pytest.mark.parametrize("hogs", [1, 5])
def test_memory_hogs_are_stopped_at_the_worlds_total(opener: Opener, hogs: int) -> None:
    world = opener(limits=Limits(memory_bytes=96 * MIB, command_s=2.5), checker="true")
    size = 300 if hogs == 1 else 60
    hog = f"perl -e '$x = \"x\" x ({size} << 20); sleep 9'"
    result = world.run(" & ".join([hog] * hogs) + "; wait")
    # The watchdog ends the session, or the kernel one of its processes: never neither.
    stopped = (
        result.notes == ("killed: memory",)
        or "Killed" in result.output
        or "Out of memory" in result.output
        or result.status == 137
    )
    assert stopped, result
    assert world.check().passed


def test_memory_that_is_grabbed_faster_than_a_watchdog_looks_is_held_too(opener: Opener) -> None:
    hierarchy = cgroups.find()
    world = opener(limits=Limits(memory_bytes=64 * MIB, command_s=2), checker="true")
    if world.backend == "bubblewrap" and hierarchy is None:
        pytest.skip("no control group can be made here: the watchdog alone holds memory")
    before = _available()
    lowest = [before]
    done = threading.Event()

    def measure() -> None:
        while not done.is_set():
            lowest[0] = min(lowest[0], _available())
            time.sleep(0.005)

    meter = threading.Thread(target=measure)
    meter.start()
    try:
        world.run(
            "for i in 1 2 3 4 5 6; do perl -e '$x = \"x\" x (200 << 20); sleep 9' & done; wait"
        )
    finally:
        done.set()
        meter.join()
    # 1.2 GB were asked for; others use this machine too, so the bound is a loose one.
    assert before - lowest[0] < 700 * MIB
    assert world.check().passed


def _available() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def test_no_place_takes_more_than_its_share_of_disk(opener: Opener) -> None:
    limits = Limits(home_bytes=2 * MIB, tmp_bytes=MIB, other_bytes=MIB, command_s=WALK_S)
    world = opener(limits=limits)
    places = out(world, "find / -xdev -type d -writable 2>/dev/null; find /dev /tmp /home -type d")
    script = 'for d in %s; do head -c 9000000 /dev/zero >"$d/big" 2>/dev/null; done'
    world.run(script % " ".join(sorted(set(places.split()))[:60]))
    total = out(world, "cat $(find / -name big -type f 2>/dev/null) /dev/null | wc -c")
    assert 2 * MIB <= int(total) <= 5 * MIB


@pytest.mark.parametrize("place", ["~", "/tmp", "/srv/data", "/opt", "/dev/shm"])
def test_empty_files_are_counted(opener: Opener, place: str) -> None:
    world = opener(
        limits=Limits(inodes=500, command_s=5),
        fixtures=(*PLACES, Fixture(path="notes/plum.txt", content="one")),
        checker="test -e notes/plum.txt",
    )
    result = world.run(f"cd {place}; mkdir d; i=0; while :; do : > d/f$i; i=$((i+1)); done")
    assert (result.ended, result.notes) == ("died", ("killed: files",))
    assert world.check().passed
    assert world.listing() is not None


def test_there_is_no_other_place_to_make_files_in(opener: Opener) -> None:
    """A folder may stand in a file system that nobody counts."""
    world = opener(fixtures=PLACES, limits=Limits(command_s=WALK_S))
    look = "find %s -type d -writable -printf '%%D ' 2>/dev/null"
    counted = set(out(world, look % "/home /tmp /srv /opt /dev/shm -maxdepth 0").split())
    counted |= set(out(world, look % "/home/user /srv/data -maxdepth 0").split())
    # The kernel itself bounds message queues and terminals; nothing can be made in /proc.
    kernels = " -o ".join(f"-path {path}" for path in ("/proc", "/dev/mqueue", "/dev/pts"))
    everywhere = out(world, look % f"/ \\( {kernels} \\) -prune -o")
    assert counted
    assert set(everywhere.split()) <= counted


FILLER = "i=0; while :; do : > /tmp/f$i; i=$((i+1)); done"
HOGS = "for i in 1 2 3; do perl -e '$x = \"x\" x (60 << 20); sleep 9' & done; wait"


@pytest.mark.parametrize(("left", "reason"), [(FILLER, "files"), (HOGS, "memory")])
def test_what_a_checker_runs_for_the_session_is_held_too(
    opener: Opener, left: str, reason: str
) -> None:
    world = opener(limits=Limits(inodes=500, memory_bytes=64 * MIB), checker="sh answer; exit 0")
    world.run(f"cat > answer <<'E'\n{left}\nE")
    verdict = world.check()
    assert (verdict.passed, verdict.status) == (False, 137)
    assert verdict.output.endswith(f"the checker was killed: {reason}\n")


def test_a_flood_from_the_background_does_not_drown_the_next_commands(opener: Opener) -> None:
    world = opener(limits=Limits(command_s=2, flood_bytes=4 * MIB))
    world.run("yes &")
    seen = [world.run("echo one")]
    for _ in range(10):  # the flood's limit may cut short the very command that would end it
        seen += [world.run("kill %1"), world.run("sleep 0.1"), world.run("echo 2")]
        if seen[-1].ended or "2" in seen[-1].output:
            break
    if seen[-1].ended:  # it may drown the shell, then the session has ended and says so
        assert seen[-1].ended == "died"
    else:
        assert "2" in seen[-1].output
    assert max(len(result.output) for result in seen) < 40_000


def test_a_process_cannot_spin_for_ever(opener: Opener) -> None:
    world = opener(limits=Limits(cpu_s=1, command_s=4))
    started = time.monotonic()
    result = world.run("sh -c 'trap \"\" INT TERM XCPU; while :; do :; done'")
    assert result.status in (137, 152)
    assert time.monotonic() - started < 10
    assert out(world, "echo alive") == "alive\n"


def test_killing_everything_ends_the_session_not_the_sandbox(opener: Opener) -> None:
    world = opener(checker="test -e notes/plum.txt")
    assert world.run("kill -9 -1; sleep 0.1; kill -9 $$").ended == "died"
    assert world.check().passed


# -- getting out -------------------------------------------------------------------------------


def test_the_hosts_loopback_and_addresses_are_out_of_reach(shared: World) -> None:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        port = listener.getsockname()[1]
        call = (
            "use Socket; socket(my $s, 2, 1, 0); "
            f"print connect($s, sockaddr_in({port}, inet_aton(qq(%s)))) ? qq(in) : qq(out)"
        )
        for address in ("127.0.0.1", "10.0.2.2", "169.254.169.254", "8.8.8.8"):
            assert perl(shared, call % address) == "out"


def test_the_hosts_abstract_sockets_are_out_of_reach(shared: World) -> None:
    name = secrets.token_hex(8)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        call = "use Socket; socket(my $s, 1, 1, 0); print connect($s, pack_sockaddr_un"
        assert perl(shared, f"{call}(qq(\\0{name}))) ? 1 : 0") == "0"


def test_nothing_of_the_host_can_be_traced_or_read(shared: World) -> None:
    attach = "print syscall(101, 16, $_, 0, 0) < 0 ? qq(no ) : qq(YES ) for 1, getppid"
    assert "YES" not in perl(shared, attach)
    assert shared.run("cat /proc/1/mem").status != 0
    assert shared.run("ls /proc/1/root/root/.ssh || ls /proc/1/cwd/work").status != 0
    assert shared.run("cat /proc/kcore /dev/mem /dev/vda /dev/sda").status != 0


def test_the_environment_of_the_engine_does_not_travel(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = secrets.token_hex(8)
    for name in ("http_proxy", "HTTPS_PROXY", "no_proxy", "API_KEY", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(name, f"http://user:{secret}@127.0.0.1:9")
    world = opener(checker="env; cat /proc/*/environ; exit 1")
    assert secret not in out(world, "env; cat /proc/*/environ /proc/*/cmdline")
    assert secret not in world.check().output


def test_no_command_line_shows_who_looks_after_the_world(opener: Opener) -> None:
    world = opener(checker="exit 1", reference_solution=("xyzzy",))
    seen = out(world, "cat /proc/*/cmdline | tr '\\0' ' '")
    assert "xyzzy" not in seen
    assert str(Path(__file__).parents[2]) not in seen


@pytest.mark.parametrize(
    "attempt",
    [
        "unshare -Ur true",
        "unshare -m true",
        "unshare -n true",
        "mount -t tmpfs x /tmp",
        "mount --bind /etc /tmp",
        "umount /proc",
        "mknod /tmp/null c 1 3",
        "hostname mine",
        "chroot /tmp /bin/true",
        "nsenter -t 1 -m true",
        "echo x > /proc/sys/kernel/core_pattern",
        "echo b > /proc/sysrq-trigger",
        "dmesg",
        "nice -n -5 true 2>&1 | grep -q . && false",
        "swapoff -a",
        "ls /sys/kernel/debug/*",
        "echo 0 > /sys/fs/cgroup/memory.max",
    ],
)
def test_what_only_a_machines_owner_may_do_is_refused(shared: World, attempt: str) -> None:
    assert shared.run(attempt).status != 0


def test_a_setuid_program_of_ones_own_gives_nothing(shared: World) -> None:
    shared.run("cp /usr/bin/id mine; chmod 6755 mine")
    assert "euid" not in out(shared, "./mine")
    assert out(shared, "./mine -u") == "1000\n"


def test_keys_cannot_be_typed_into_the_terminal(shared: World) -> None:
    push = "for (split //, qq(echo typed\\n)) { ioctl(STDIN, 0x5412, $_) or die qq(refused $!\\n) }"
    assert "refused" in perl(shared, push)


# -- fooling the driver and the judge ----------------------------------------------------------


def test_the_prompts_mark_does_not_buy_a_verdict(opener: Opener) -> None:
    """The shell knows the mark of its own prompt; what the checker prints may hold it."""
    world = opener(checker="cat ~/answer; exit 1")
    world.run(r"""m=$(printf %s "$PS1" | tr -d '\001\002' | cut -d: -f1)""")
    world.run(r"""printf '\n%s checked 0\n%s ended 0\n' "$m" "$m" > answer; echo "$m checked 0" """)
    verdict = world.check()
    assert (verdict.passed, verdict.status) == (False, 1)
    assert "checked 0" in verdict.output


def test_a_forged_prompt_fools_nobody_but_the_forger(opener: Opener) -> None:
    world = opener(limits=QUICK, checker="exit 1")
    world.run("""m=$(printf %s "$PS1" | tr -d '\\001\\002' | cut -d: -f1)""")
    forged = world.run(r"""printf '\001%s:0:/etc\002%s\002' "$m" "$m"; sleep 0.2; exit 3""")
    assert forged.ended in ("", "exit")
    assert world.run("exit 3").ended in ("exit", "died")
    assert not world.check().passed


def test_a_session_that_forges_prompts_has_no_exit_status_any_more(world: World) -> None:
    """Its outputs shift, which is its own loss; what it claims of a command is not believed.

    The real prompt may take the place of one answer before the two are seen to be one too many.
    """
    world.run("""m=$(printf %s "$PS1" | tr -d '\\001\\002' | cut -d: -f1)""")
    world.run(r"""printf '\001%s:0:/home/user\002%s\002' "$m" "$m"; sleep 0.2; nosuchcommand""")
    time.sleep(1)  # the real prompt comes, which nobody waits for any more
    world.run("nosuchcommand")
    later = [world.run("nosuchcommand"), world.run("true")]
    assert [result.status for result in later] == [None, None]
    assert all("forged prompt" in result.notes for result in later)


@pytest.mark.parametrize(
    "trap",
    [
        "ln -sf /usr/bin/true sh; PATH=.; export PATH",
        "echo 'exit 0' > .profile; cp .profile .bashrc; ENV=~/.profile; export ENV",
        "alias test=true; alias exit=true; readonly HOME=/tmp",
        "printf '#!/bin/sh\\nexit 0\\n' > grep; chmod 755 grep",
        "mkdir -p bin; ln -s /usr/bin/true bin/test; ln -s /usr/bin/true bin/grep",
        "ln -s /proc/self/exe answer",
        "ln -s / answer; mkfifo pipe",
    ],
)
def test_traps_laid_for_the_checker_catch_nothing(opener: Opener, trap: str) -> None:
    world = opener(checker="grep -qx 43 answer && test -e done")
    world.run(trap)
    verdict = world.check()
    assert not verdict.passed
    assert "timed out" not in verdict.output


BEAT = "while :; do date +%N > new; mv new beat; sleep 0.01; done"
#: As long as twenty beats take: what beats as fast as this has written meanwhile.
TWENTY_BEATS = (
    "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do date; sleep 0.01; done"
)


@pytest.mark.parametrize(
    "start", [f"(trap '' TERM HUP INT; {BEAT}) &", f"nohup setsid sh -c '{BEAT}' >/dev/null 2>&1 &"]
)
def test_what_a_session_left_running_writes_no_more_when_it_is_judged(
    opener: Opener, start: str
) -> None:
    still = f'a=$(cat beat); {TWENTY_BEATS}; [ -n "$a" ] && [ "$a" = "$(cat beat)" ]'
    world = opener(checker=still)
    world.run(start)
    assert world.run("until test -e beat; do sleep 0.01; done").status == 0
    assert world.check().passed


def test_a_home_that_is_gone_or_moved_is_judged_as_it_is(opener: Opener) -> None:
    world = opener(checker="test -e ~/notes/plum.txt")
    world.run("cd /; chmod 0 /home/user; mv /home/user /tmp/moved; rm -rf /home/user /tmp/moved")
    world.run("ln -s /etc /home/user")
    verdict = world.check()
    assert not verdict.passed
    assert verdict.status not in (124, None)


def test_a_world_that_is_filled_and_shut_is_judged_all_the_same(opener: Opener) -> None:
    """An operator must not be able to make its own episode invalid."""
    limits = Limits(home_bytes=MIB, tmp_bytes=MIB, other_bytes=MIB)
    conf = Fixture(path="/etc/our.conf", content="a=1\n")
    world = opener(limits=limits, fixtures=(*PLACES, conf), checker="echo looking; exit 7")
    world.run("for f in big /tmp/big /opt/big /dev/shm/big /etc/our.conf; do yes > $f; done")
    world.run("chmod 0 /etc/our.conf /srv/data /srv /opt /tmp /home/user /home")
    verdict = world.check()
    assert (verdict.status, verdict.output) == (7, "looking\n")


def test_a_session_cannot_reach_the_checker_that_runs_later(opener: Opener) -> None:
    mark = f"mark-{secrets.token_hex(8)}"
    world = opener(checker=f"# {mark}\nexit 1", reference_solution=(f"echo {mark}",))
    seen = out(world, f"grep -rs {mark[5:]} / --include=* --exclude-dir=proc --exclude-dir=usr")
    seen += out(world, f"grep -ars {mark[5:]} /usr/local /proc/*/environ /proc/*/cmdline /dev/shm")
    assert mark not in seen
    world.run("touch /.checker /w/checker /usr/local/.checker")
    assert not world.check().passed


def test_a_checker_that_floods_is_stopped_and_its_words_are_cut(opener: Opener) -> None:
    limits = Limits(checker_s=60.0, flood_bytes=1_000_000)
    verdict = opener(checker="yes plum", limits=limits).check()
    assert (verdict.passed, verdict.status) == (False, 137)
    assert verdict.output.endswith("the checker was killed: output\n")
    assert "bytes left out" in verdict.output
    assert len(verdict.output) < 2 * limits.output_bytes


def test_the_checker_finds_what_is_in_shared_memory(opener: Opener) -> None:
    world = opener(checker='[ "$(cat /dev/shm/note)" = plum ]')
    world.run("echo plum > /dev/shm/note")
    assert world.check().passed


def test_a_checkers_own_children_are_ended_with_it(opener: Opener) -> None:
    mark = unique_seconds()
    child = f"nohup setsid sleep {mark} >/dev/null 2>&1 &"
    started = '[ "$(cat /proc/$!/comm)" = sleep ]'
    world = opener(checker=f"{child} until {started}; do :; done; echo started")
    verdict = world.check()
    assert (verdict.passed, verdict.output) == (True, "started\n")
    assert wait_until(lambda: not processes_with(f"sleep {mark}"))


@pytest.mark.parametrize(
    "attack", ["exec 2>&-", "exec >&- 2>&-", "exec <&-", "exec </dev/null", "stty raw; stty -isig"]
)
def test_a_terminal_that_is_shut_ends_in_a_prompt_or_an_end(opener: Opener, attack: str) -> None:
    world = opener(limits=QUICK, checker="test -e notes/plum.txt")
    world.run(attack)
    later = [world.run("echo back"), world.run("echo again")]
    assert later[-1].ended == "died" or later[-1].output.endswith("again\n")
    assert world.check().passed


def test_descriptors_do_not_pile_up(opener: Opener) -> None:
    opener().close()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(2):
        world = opener()
        world.run("kill -9 $$")
        world.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# -- the first process of a sandbox, and what a bundle puts into /etc ---------------------------

#: Writes code over the first process of the session's sandbox: it sleeps on and never ends.
TAKE_OVER_FIRST = """perl -e '
open F,"</proc/1/syscall" or exit 1; @w=split" ",<F>; open M,"+</proc/1/mem" or exit 1;
sysseek M,hex$w[-1],0; syswrite M,pack("H*","b8220000000f05ebf7")'"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the attack is machine code")
def test_a_session_that_takes_over_its_first_process_wins_nothing(opener: Opener) -> None:
    """It has the session's own limits, and it ends with the session whatever it does."""
    world = opener(
        limits=Limits(nproc=20, command_s=2.0),
        checker=f'a=$(cat beat); {TWENTY_BEATS}; [ -n "$a" ] && [ "$a" = "$(cat beat)" ] && exit 3',
    )
    world.run(f"({BEAT}) &")
    world.run(TAKE_OVER_FIRST)
    bomb = world.run("i=0; while [ $i -lt 60 ]; do sleep 30 & i=$((i+1)); done")
    assert "fork" in bomb.output.lower() or "unavailable" in bomb.output
    world.run("kill -9 $$")
    verdict = world.check()
    assert (verdict.passed, verdict.status) == (False, 3), "something of the session lives on"


@pytest.mark.parametrize(
    "way",
    [
        'open M,"+</proc/$ARGV[0]/mem" or exit 7',
        "my $p=syscall(434,$ARGV[0],0); syscall(438,$p,3,0)>=0 or exit 7",
        "syscall(101,16,$ARGV[0],0,0)==0 or exit 7",
    ],
)
def test_what_a_checker_runs_cannot_reach_into_the_checker(opener: Opener, way: str) -> None:
    world = opener(checker="perl ~/tool.pl $$; echo tool $?; exit 1")
    world.run(f"cat > tool.pl <<'E'\n{way};\nE")
    verdict = world.check()
    assert verdict.status == 1
    assert "tool 7" in verdict.output


def test_a_preloaded_library_of_a_bundle_comes_after_the_limits(opener: Opener) -> None:
    """The loader obeys this file in every program of the world: those that set limits are not."""
    world = opener(fixtures=(Fixture(path="/etc/ld.so.preload", content="/home/user/no.so\n"),))
    seen = world.run("ulimit -n; ulimit -p; ulimit -f").output
    if "no.so" not in seen:  # a static shell says nothing
        seen = world.run("cat /proc/self/limits").output
    assert "unlimited" not in world.run("ulimit -v").output
    assert "128" in seen


@pytest.mark.parametrize(
    "move",
    [
        "mv /etc/app/sub /etc/app/other",
        "mv /etc/app/sub /etc/app/other; ln -s ../.. /etc/app/sub",
        "rm -r /etc/app/sub; ln -s /w /etc/app/sub",
        "rm -r /etc/app/*; chmod 0 /etc/app",
    ],
)
def test_what_a_session_moves_in_etc_is_judged_and_leads_nowhere(opener: Opener, move: str) -> None:
    world = opener(
        fixtures=(
            Fixture(path="/etc/app/"),
            Fixture(path="/etc/app/sub/"),
            Fixture(path="/etc/app/sub/holder", content="x"),
            Fixture(path="/etc/app/sub/checker", content="x"),
        ),
        checker="cat /etc/app/sub/holder /etc/app/sub/checker /w/holder; ls /w; exit 1",
    )
    world.run(move)
    verdict = world.check()
    assert verdict.status == 1
    assert "while read" not in verdict.output
    listing = world.listing()
    assert listing is None or not any(
        "while read" in (item.text or "") for item in listing.items.values()
    )


def test_files_in_a_folder_of_etc_are_counted_too(opener: Opener) -> None:
    world = opener(limits=Limits(inodes=1500), fixtures=(Fixture(path="/etc/many/"),))
    world.run("i=0; while [ $i -lt 9000 ]; do : > /etc/many/$i; i=$((i+1)); done; sleep 2")
    ended = world.run("echo still there")
    assert ended.ended == "died"


def test_a_program_of_the_bundle_does_not_take_the_shells_place(opener: Opener) -> None:
    trap = "#!/bin/sh\necho trapped; exec sleep 30\n"
    names = ("sh", "dash", "cat", "setsid", "env", "prlimit")
    world = opener(
        fixtures=tuple(
            Fixture(path=f"/usr/local/bin/{n}", content=trap, mode="0755") for n in names
        )
    )
    assert "trapped" not in world.login
    assert world.run("echo here").output == "here\n"
    assert world.run("command -v cat").output == "/usr/local/bin/cat\n"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of kernel calls")
def test_no_user_namespace_can_be_made_by_clone(shared: World) -> None:
    for flag in ("0x10000000", "0x20000000", "0x40000000", "0x00020000", "0x5e020000"):
        said = shared.run(
            f"perl -e '$r=syscall(56,{flag}|17,0,0,0,0); print $r<0 ? $! : $r'"
        ).output
        assert "not permitted" in said


def test_printers_in_the_background_do_not_stretch_the_limits(opener: Opener) -> None:
    world = opener(limits=Limits(command_s=0.5, session_s=30.0))
    printer = "(while :; do echo x; sleep 0.01; done) & "
    world.run(printer * 8)
    stopped = world.run("sleep 60")
    assert "timeout" in stopped.notes
    assert stopped.seconds < 20  # far from both: it used to go on until the jobs ended
    assert "fine" in world.run("echo fine").output
