"""BubblewrapWorld: one bundle, one session, one checker, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import select
import signal
import subprocess
import time
from types import TracebackType
from typing import Self

import msgspec

from sekft_engine.dialect import DEFAULT_DIALECT, Dialect
from sekft_engine.scenario import Scenario
from sekft_engine.worlds import watchdog
from sekft_engine.worlds.driver import LONGEST_LINE, ShellDriver, open_terminal
from sekft_engine.worlds.holder import File, Plan, plan
from sekft_engine.worlds.launcher import Bubblewrap, find_bubblewrap, launch, memory_file
from sekft_engine.worlds.layout import PANIC_STATUS, lay_out
from sekft_engine.worlds.limits import Limits
from sekft_engine.worlds.orphans import kill_first_process_of, sweep
from sekft_engine.worlds.screen import cut
from sekft_engine.worlds.userland import find_userland
from sekft_engine.worlds.world import CheckResult, CommandResult, Ended, WorldBroken

#: `exit` as a command word: at the start of a command, not as an argument or inside a word.
_EXIT = re.compile(r"(?:^|[;&|\n({]|\bthen\b|\bdo\b|\belse\b)\s*(?:command\s+)?exit\b")


class BubblewrapWorld:
    """A world in bubblewrap; see :class:`sekft_engine.worlds.world.World` for the contract.

    Args:
        session: False makes a world without a shell, only for :meth:`check`.
    """

    backend = "bubblewrap"

    def __init__(
        self,
        scenario: Scenario,
        *,
        dialect: Dialect = DEFAULT_DIALECT,
        limits: Limits | None = None,
        bwrap: Bubblewrap | None = None,
        session: bool = True,
    ) -> None:
        self.scenario = scenario
        self._dialect = dialect
        self._limits = limits or Limits()
        self._nonce = secrets.token_hex(8)
        self._closed = False
        self._spent = 0.0
        self._status: int | None = 0  # of the last command: what a bare `exit` ends with
        self._killed: list[str] = []
        self._watch: watchdog.Watch | None = None
        self._driver: ShellDriver | None = None
        self._init: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._orders = self._reports = -1
        self._login = ""
        self._start(bwrap or find_bubblewrap(), session=session)

    # -- start and end -----------------------------------------------------------------------

    def _start(self, bwrap: Bubblewrap, *, session: bool) -> None:
        planned = plan(
            lay_out(self.scenario),
            self.scenario.checker,
            bwrap=bwrap,
            userland=find_userland(),
            limits=self._limits,
            nonce=self._nonce,
        )
        sweep()
        try:
            self._hold(planned, bwrap, session=session)
            if self._driver is not None:
                self._log_in(self._driver)
        except BaseException:
            self.close()
            raise

    def _hold(self, planned: Plan, bwrap: Bubblewrap, *, session: bool) -> None:
        """Start the holder and wait until bubblewrap has told its first process."""
        with contextlib.ExitStack() as stack:
            orders_read, self._orders = os.pipe()
            self._reports, reports_write = os.pipe()
            facts_read, facts_write = os.pipe()
            _owned(stack, facts_read)
            with contextlib.ExitStack() as theirs:
                for descriptor in (orders_read, reports_write, facts_write):
                    _owned(theirs, descriptor)
                terminal = _owned(theirs, os.open(os.devnull, os.O_RDWR))
                if session:
                    master, slave = open_terminal()
                    os.dup2(slave, terminal, inheritable=False)
                    os.close(slave)
                    self._driver = ShellDriver(master, self._reports, self._nonce, self._limits)
                passed: list[int] = [facts_write]
                arguments: list[str] = ["--json-status-fd", str(facts_write)]
                for part in planned.arguments:
                    if isinstance(part, File):
                        passed.append(_owned(theirs, memory_file(part.content)))
                        arguments.append(str(passed[-1]))
                    else:
                        arguments.append(part)
                self._process = launch(
                    bwrap,
                    arguments,
                    list(planned.command),
                    stdin=orders_read,
                    stdout=terminal,
                    stderr=reports_write,
                    pass_fds=tuple(passed),
                )
            # Their ends are closed here by now, so a bwrap that dies early ends the reading.
            self._know_init(facts_read)

    def _log_in(self, driver: ShellDriver) -> None:
        self._order("session")
        login = driver.wait_for_login().decode("utf-8", "replace")
        self._login = self._dialect.environment_turn(login, driver.cwd)
        try:
            self._watch = watchdog.watch(driver.leader_pid, self._limits, self._kill_session)
        except OSError as error:
            raise WorldBroken("the session ended at login", where="sandbox") from error

    def _know_init(self, facts: int) -> None:
        """A handle on pid 1 of the holder: when it is gone, every process of the world is."""
        poll = select.poll()
        poll.register(facts, select.POLLIN)
        text = b""
        while b"\n" not in text and poll.poll(int(self._limits.start_s * 1000)):
            more = os.read(facts, 4096)  # bwrap writes it in pieces
            if not more:
                break
            text += more
        with contextlib.suppress(msgspec.DecodeError, ProcessLookupError):
            fact = msgspec.json.decode(text.split(b"\n")[0])
            self._init = os.pidfd_open(int(fact["child-pid"]))
            return
        self._end_process()
        said = os.read(self._reports, 4096).decode("utf-8", "replace").strip()
        raise WorldBroken(
            f"bubblewrap did not start: {said or 'no word'}",
            where="sandbox",
            mend="run sekft doctor",
        )

    def _order(self, order: str) -> None:
        try:
            os.write(self._orders, order.encode() + b"\n")
        except OSError as error:
            raise WorldBroken("the sandbox died", where="sandbox") from error

    def _kill_session(self, reason: str) -> None:
        """Called by the watchdog, on its thread."""
        self._killed.append(reason)
        if self._driver is not None:
            self._driver.kill()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._watch is not None:
            self._watch.stop()
        if self._init is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._init, signal.SIGKILL)
            poll = select.poll()
            poll.register(self._init, select.POLLIN)
            poll.poll(5000)
            os.close(self._init)
        self._end_process()
        for descriptor in (self._orders, self._reports):
            if descriptor >= 0:
                os.close(descriptor)
        if self._driver is not None:
            self._driver.close()

    def _end_process(self) -> None:
        if self._process is None:
            return
        if self._init is None:
            kill_first_process_of(self._process.pid)
        self._process.kill()
        self._process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- the session -------------------------------------------------------------------------

    @property
    def login(self) -> str:
        return self._login

    def environment_turn(self, result: CommandResult) -> str:
        return self._dialect.environment_turn(result.output, result.cwd)

    def run(self, command: str) -> CommandResult:
        driver = self._driver
        if self._closed or driver is None:
            raise WorldBroken("the world is closed", where="sandbox")
        if driver.ended_status is not None:
            return CommandResult(command=command, cwd=driver.cwd, ended="died", notes=("ended",))
        typed = command.replace("\r\n", "\n").replace("\r", "\n")
        longest = max(len(line.encode("utf-8", "replace")) for line in typed.split("\n"))
        if longest > LONGEST_LINE:
            return CommandResult(
                command=command,
                output=f"sh: line too long: {longest} bytes, at most {LONGEST_LINE}\n",
                status=2,
                cwd=driver.cwd,
                notes=("line too long",),
            )
        left = self._limits.session_s - self._spent
        if left <= 0:
            driver.kill()
            driver.wait_for_end(5.0)
            return CommandResult(
                command=command, cwd=driver.cwd, ended="died", notes=("session time is up",)
            )
        start = time.monotonic()
        report = driver.type(typed, min(self._limits.command_s, left))
        seconds = time.monotonic() - start
        self._spent += seconds
        output, short = cut(report.head, report.gone, report.tail, self._limits.output_bytes)
        notes = list(report.notes) + (["output cut"] if short else [])
        ended: Ended = ""
        if report.stop == "ended":
            ended = _how(typed, report.status, self._status, panicked=report.panicked)
            if self._killed:
                ended = "died"
                notes += [f"killed: {reason}" for reason in self._killed]
            if "shell stuck" in notes:
                ended = "died"
        self._status = report.status
        return CommandResult(
            command=command,
            output=output,
            status=report.status,
            cwd=report.cwd,
            seconds=seconds,
            ended=ended,
            notes=tuple(notes),
        )

    # -- the checker -------------------------------------------------------------------------

    def check(self) -> CheckResult:
        if self._closed:
            raise WorldBroken("the world is closed", where="sandbox")
        if self._watch is not None:
            self._watch.stop()
        driver = self._driver
        if driver is not None and driver.ended_status is None:
            driver.kill()
            if not driver.wait_for_end(5.0):
                raise WorldBroken("the session would not end", where="sandbox")
        self._order("check")
        return self._hear_verdict()

    def _hear_verdict(self) -> CheckResult:
        end = re.compile(b"(?s)^(.*?)\n?" + self._nonce.encode() + rb" checked (\d+)\n")
        heard = b""
        deadline = time.monotonic() + self._limits.checker_s
        poll = select.poll()
        poll.register(self._reports, select.POLLIN)
        os.set_blocking(self._reports, False)
        while (left := deadline - time.monotonic()) > 0:
            if not poll.poll(int(left * 1000) + 1):
                break
            with contextlib.suppress(BlockingIOError):
                data = os.read(self._reports, 65536)
                if not data:
                    raise WorldBroken("the sandbox died", where="sandbox")
                heard = (heard + data)[-4 * self._limits.output_bytes :]
            found = end.search(heard)
            if found:
                status = int(found[2])
                text, _ = cut(found[1], 0, b"", self._limits.output_bytes)
                return CheckResult(passed=status == 0, status=status, output=text)
        self.close()
        text, _ = cut(heard, 0, b"", self._limits.output_bytes)
        return CheckResult(passed=False, status=124, output=f"{text}\nthe checker timed out")


def _how(command: str, status: int | None, before: int | None, *, panicked: bool) -> Ended:
    """How a session ended with ``command``: by its own word, or by dying under it.

    A status of 128 and more tells of a signal, but a bare `exit` after an interrupted command ends
    with that command's status.
    """
    if panicked and status == PANIC_STATUS:
        return "panic"
    if _EXIT.search(command) and (status is None or status < 128 or status == before):
        return "exit"
    return "died"


def _owned(stack: contextlib.ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor
