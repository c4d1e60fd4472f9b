"""What a person at the world's shell sees, typed through the driver."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

import pytest

from sekft_engine.data.scenario import Announcement, Fixture
from sekft_engine.worlds import Limits, World
from tests.worlds.conftest import Opener

#: Each backend and each userland once: the same driver and shell in other pairs show nothing more.
SETUPS = ("bubblewrap/host", "podman/debian", "docker/debian")
QUICK = Limits(command_s=0.5)


def test_login_shows_the_announcement_then_the_prompt(opener: Opener) -> None:
    assert opener().login == "Ask tovak.\nuser@box:~$"
    boxed = opener(announcement=Announcement(channel="banner", text="Ask tovak."))
    assert boxed.login.splitlines() == ["*" * 16, "Ask tovak.", "*" * 16, "user@box:~$"]
    quiet = opener(announcement=Announcement(channel="file", path="READ.me", text="Ask tovak."))
    assert quiet.login == "user@box:~$"
    assert quiet.run("cat READ.me").output == "Ask tovak.\n"


def test_status_folder_and_variables_are_kept(world: World) -> None:
    assert world.run("false").status == 1
    moved = world.run("cd notes")
    assert moved.cwd == "/home/user/notes"
    assert world.environment_turn(moved) == "user@box:~/notes$"
    world.run("x=5; f() { echo f$x; }")
    assert world.run("f").output == "f5\n"
    assert world.run("sh -c 'exit 7'").status == 7


def test_the_shell_signs_its_messages_by_its_short_name(shared: World) -> None:
    result = shared.run("nosuchprogram")
    assert result.status == 127
    assert result.output.split(":")[0] in ("sh", "dash")
    assert "not found" in result.output


def test_output_and_errors_come_in_order(shared: World) -> None:
    assert shared.run("echo a; echo b >&2; echo c").output == "a\nb\nc\n"


def test_output_is_what_the_terminal_showed_exactly(shared: World) -> None:
    assert shared.run("printf 'no newline'").output == "no newline"
    assert shared.run("printf 'a\\r\\n\\tb\\n\\n'").output == "a\r\n\tb\n\n"
    assert shared.run("printf '\\377\\001x'").output == "�\x01x"


def test_several_lines_are_typed_one_by_one(shared: World) -> None:
    assert shared.run("cat <<E\nhi $HOME\nE").output == "hi /home/user\n"
    assert shared.run("if true\nthen echo yes\nfi").output == "yes\n"
    assert shared.run("echo a\necho b").output == "a\nb\n"


def test_an_unfinished_command_is_given_up_and_the_next_is_fine(world: World) -> None:
    left_open = world.run("echo 'open")
    assert "unfinished command" in left_open.notes
    assert left_open.output.endswith("^C\n")
    assert world.run("cat <<E\nnever closed").notes == ("unfinished command",)
    assert world.run("echo next").output == "next\n"


def test_the_providers_program_and_page_are_there(shared: World) -> None:
    assert shared.run("tovak hello").output == "tovak says hello\n"
    assert shared.run("man tovak").output == "TOVAK, a page\n"
    missing = shared.run("man nosuchpage")
    assert missing.status == 16
    assert "No manual entry for nosuchpage" in missing.output


@pytest.mark.parametrize("command", ["cat", "read x", "sleep 1000", "sleep 1000 | cat"])
def test_a_command_that_waits_is_stopped_like_a_person_would(opener: Opener, command: str) -> None:
    world = opener(limits=QUICK)
    stopped = world.run(command)
    assert "timeout" in stopped.notes
    assert "^C" in stopped.output
    assert stopped.status == 130
    assert world.run("echo next").output == "next\n"


def test_an_exit_after_an_interrupted_command_is_an_exit(world: World) -> None:
    assert world.run("echo 'open").status == 130
    assert world.run("exit").ended == "exit"


def test_lines_after_a_timeout_are_not_typed(opener: Opener) -> None:
    world = opener(limits=QUICK)
    world.run("sleep 1000\ntouch typed")
    assert world.run("ls").output == "notes\n"


def test_a_process_that_ignores_ctrl_c_is_killed_and_the_shell_lives(opener: Opener) -> None:
    world = opener(limits=QUICK)
    stopped = world.run("sh -c 'trap \"\" INT TERM; while :; do sleep 1; done'")
    assert stopped.status == 137
    assert "killed" in stopped.notes
    assert world.run("echo next").output.endswith("next\n")


def test_a_flood_is_cut_in_the_middle_and_stopped(opener: Opener) -> None:
    world = opener(limits=Limits(flood_bytes=500_000, output_bytes=1000))
    flood = world.run("echo first; yes")
    assert flood.output.startswith("first\ny\n")
    assert "bytes left out ...]" in flood.output
    assert len(flood.output) < 1200
    assert {"flood", "output cut"} <= set(flood.notes)
    assert world.run("echo next").output == "next\n"


def test_long_output_keeps_head_and_tail(opener: Opener) -> None:
    world = opener(limits=Limits(output_bytes=2000))
    result = world.run("seq 1 30000")
    assert result.output.startswith("1\n2\n")
    assert result.output.endswith("29999\n30000\n")
    assert result.notes == ("output cut",)
    assert result.status == 0


def test_a_line_longer_than_a_terminal_takes_is_refused_not_cut(world: World) -> None:
    fits = "echo " + "x" * 4085
    assert world.run(fits).output == "x" * 4085 + "\n"
    refused = world.run("echo " + "x" * 5000 + " > typed")
    assert refused.notes == ("line too long",)
    assert "line too long" in refused.output
    assert world.run("ls").output == "notes\n"


def test_background_jobs_work_and_late_words_are_shown(opener: Opener) -> None:
    world = opener()
    world.run("(sleep 0.2; echo late) &")
    assert "late" in world.run("wait").output
    world.run("sleep 100 &")
    assert "sleep 100" in world.run("jobs").output
    assert world.run("kill -9 $!; wait $!").status == 137


def test_the_prompt_cannot_be_lost(opener: Opener) -> None:
    world = opener(limits=QUICK)
    assert "read only" in world.run("PS1=mine").output
    assert world.run("unset PS1").status != 0
    world.run("exec 2>/dev/null")
    assert world.run("echo back").output.endswith("back\n")
    world.run("exec 2>&-")
    assert world.run("echo again").output.endswith("again\n")


def test_a_raw_terminal_is_put_back(opener: Opener) -> None:
    world = opener(limits=QUICK)
    world.run("stty raw -echo; sleep 1000")
    world.run("echo one")
    assert world.run("echo 'two words'").output.endswith("two words\n")


def test_a_shell_that_is_stuck_ends_the_session_only(opener: Opener) -> None:
    world = opener(limits=QUICK, checker="test -e notes/plum.txt")
    stuck = world.run("trap '' INT; while :; do :; done")
    assert stuck.ended == "died"
    assert "shell stuck" in stuck.notes
    assert world.check().passed


def test_ctrl_c_works_where_the_engine_was_started_without_it(opener: Opener) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        world = opener(limits=QUICK)
        assert world.run("sleep 1000").status == 130
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_is_not_typed_into_the_next_command(opener: Opener) -> None:
    world = opener(limits=QUICK)
    for settings in ("stty -isig", "stty raw", "stty intr ^X"):
        world.run(settings)
        assert "timeout" in world.run("sleep 1000").notes
        after = world.run("echo fine")
        assert (after.output, after.status) == ("fine\n", 0)


@pytest.mark.parametrize("name", [r"a\002b", r"a\001b", r"\002", r"a\nb", r"\001x:0:y\002"])
def test_a_folders_name_does_not_leak_into_an_output(world: World, name: str) -> None:
    world.run(f"mkdir \"$(printf '{name}x')\"")
    inside = world.run("rm -r notes; cd */")
    assert inside.cwd == "/home/user/" + name.encode().decode("unicode_escape") + "x"
    assert inside.output == ""
    assert world.run("echo fine").output == "fine\n"


def test_control_characters_pass_through(shared: World) -> None:
    assert shared.run("echo abc\x15def\x7fg").output == "abc\x15def\x7fg\n"
    assert shared.run("echo one\r\necho two").output == "one\ntwo\n"


@pytest.mark.parametrize("mode", ["0000", "0444", "0755"])
def test_fixtures_have_their_content_and_mode(opener: Opener, mode: str) -> None:
    world = opener(
        fixtures=(
            Fixture(path="f", content="text\n", mode=mode),
            Fixture(path="d/", mode="0500"),
            Fixture(path="d/inner", content="x"),
        )
    )
    assert world.run("stat -c %a f d").output == f"{int(mode)}\n500\n"
    assert world.run("cat d/inner").output == "x"
    assert (world.run("cat f").status == 0) == (mode != "0000")


def commands() -> Iterator[tuple[str, str, int]]:
    yield "exit", "exit", 0
    yield "exit 3", "exit", 3
    yield "echo x; exit 4", "exit", 4
    yield "exit 97", "exit", 97
    yield "exit 200", "exit", 200
    # The shell itself says that it leaves by `exit`, however that was typed.
    yield "\\exit", "exit", 0
    yield "'exit' 3", "exit", 3
    yield "eval exit", "exit", 0
    yield "leave=exit; $leave 3", "exit", 3
    yield "bye() { exit 4; }; bye", "exit", 4
    yield "echo 'exit 5' > x; . ./x", "exit", 5
    yield "exec >log 2>&1; eval exit", "exit", 0
    yield "trap - EXIT; exit 3", "exit", 3
    yield "exec >log; panic all is lost", "panic", 97
    yield "panic", "panic", 97
    yield "panic all is lost", "panic", 97
    yield "kill -9 $$", "died", 137
    yield "set -e; false", "died", 1
    yield "set -e; bye() { exit; }; bye", "exit", 0
    yield "exec true", "died", 0
    yield "exec true; exit", "died", 0
    yield "\x04", "died", 0


@pytest.mark.parametrize(("command", "ended", "status"), list(commands()))
def test_ways_to_end_are_told_apart(world: World, command: str, ended: str, status: int) -> None:
    result = world.run(command)
    assert (result.ended, result.status) == (ended, status)


@pytest.mark.parametrize(
    "command", ["(panic)", "sh -c panic", "echo exit", "(exit 3)", "x=$(exit)", "{ exit; } & wait"]
)
def test_what_does_not_end_a_session(shared: World, command: str) -> None:
    assert shared.run(command).ended == ""
    assert shared.run("echo here").output == "here\n"


def test_panic_leaves_its_reason_for_the_checker(opener: Opener) -> None:
    world = opener(checker='[ "$(cat ~/.panic)" = "no plums left" ]')
    assert world.run("cd /tmp; panic no plums left").output == ""
    assert world.check().passed


@contextlib.contextmanager
def impatient(world: World) -> Iterator[None]:
    """Someone who presses the interrupt key until the prompt is back."""
    back = threading.Event()

    def press() -> None:
        while not back.wait(0.05):
            world.interrupt()

    person = threading.Thread(target=press)
    person.start()
    try:
        yield
    finally:
        back.set()
        person.join()


def test_whoever_watches_a_hanging_command_can_interrupt_it(opener: Opener) -> None:
    world = opener(limits=Limits(command_s=300.0))
    with impatient(world):
        hung = world.run("sleep 250")
    assert hung.seconds < 200
    assert hung.notes == ("interrupted",)
    assert hung.status == 130
    assert hung.output.startswith("^C")
    with impatient(world):
        deaf = world.run("sh -c \"trap '' INT; sleep 250; sleep 250\"")
    assert deaf.seconds < 200
    assert "interrupted" in deaf.notes
    assert world.run("echo here").output == "here\n"


@pytest.mark.parametrize("times", [1, 3])
def test_a_ctrl_c_that_is_typed_drops_its_line_and_shifts_no_answer(
    world: World, times: int
) -> None:
    for turn in range(5):
        result = world.run("echo dropped" + "\x03" * times + f"echo {turn}; false")
        assert str(turn) in result.output.splitlines()[-1]
        assert result.status == 1
        assert result.notes == ()
        assert world.run("echo next").output == "next\n"


def test_a_ctrl_c_that_means_nothing_costs_no_session(world: World) -> None:
    world.run("stty -isig")
    assert world.run("\x03").ended == ""
    world.run("stty isig")
    assert world.run("echo on").output == "on\n"
