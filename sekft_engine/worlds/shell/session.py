"""A world in a box of any backend: one bundle, one session, one checker."""

from __future__ import annotations

import re
import secrets
import time
from typing import Self

from sekft_engine.core.errors import BadInput
from sekft_engine.data.bundle_check import field
from sekft_engine.data.dialect import DEFAULT_DIALECT, Dialect
from sekft_engine.data.scenario import Scenario
from sekft_engine.worlds.shell.box import Box, BoxMaker, BoxSpec
from sekft_engine.worlds.shell.driver import LONGEST_LINE, Report, ShellDriver
from sekft_engine.worlds.shell.limits import Limits
from sekft_engine.worlds.shell.marks import PANIC_STATUS, Marks
from sekft_engine.worlds.shell.screen import cut
from sekft_engine.worlds.shell.world import (
    CheckResult,
    CommandResult,
    Ended,
    WorldBroken,
)
from sekft_engine.worlds.trees.layout import lay_out
from sekft_engine.worlds.trees.listing import TreeListing
from sekft_engine.worlds.trees.userland import Userland

#: Ctrl-D ends the shell's input, which is no `exit`.
_END_OF_FILE = "\x04"
#: `exit` as a command word: at the start of a command, not as an argument or inside a word.
_EXIT = re.compile(r"(?:^|[;&|\n({]|\bthen\b|\bdo\b|\belse\b)\s*(?:command\s+)?exit\b")
_END_S = 5.0
_LISTING_S = 5.0


class ShellWorld:
    """A world; see :class:`sekft_engine.worlds.shell.world.World` for the contract.

    Args:
        scenario: the bundle.
        maker: of the box.
        userland: the programs of the world.
        dialect: how outputs and prompts are shown in environment turns.
        limits: what the world may use; None = the defaults.
        session: false makes a world without a shell, only for :meth:`check`.
    """

    def __init__(
        self,
        scenario: Scenario,
        maker: BoxMaker,
        userland: Userland,
        *,
        dialect: Dialect = DEFAULT_DIALECT,
        limits: Limits | None = None,
        session: bool = True,
    ) -> None:
        self.scenario = scenario
        self.backend = maker.name
        self.userland = userland
        self._dialect = dialect
        self._limits = limits or Limits()
        self._closed = False
        self._spent = 0.0
        self._status: int | None = 0  # of the last command, with which a bare `exit` ends
        self._trapped = False  # the session typed the word trap
        self._driver: ShellDriver | None = None
        self._login = ""
        order = BoxSpec(
            layout=lay_out(scenario),
            checker=scenario.checker,
            userland=userland,
            limits=self._limits,
            nonce=secrets.token_hex(8),
            seal=secrets.token_hex(16),
        )
        try:
            self.box: Box = maker.open(order)
        except BadInput as error:  # this backend or userland cannot hold the bundle
            error.where = field(scenario.id, error.where or "")
            raise
        try:
            if session:
                self._log_in(order.nonce)
        except BaseException:
            self.close()
            raise

    def _log_in(self, nonce: str) -> None:
        terminal = self.box.start_session()
        driver = ShellDriver(terminal, self.box.kill_session, Marks(nonce), self._limits)
        login = driver.wait_for_login().decode("utf-8", "replace")
        self._login = self._dialect.environment_turn(login, driver.cwd)
        self.box.watch()
        self._driver = driver

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.box.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
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
        remaining = self._limits.session_s - self._spent
        if remaining <= 0:
            self.box.kill_session()
            driver.wait_for_end(_END_S)
            return CommandResult(
                command=command, cwd=driver.cwd, ended="died", notes=("session time is up",)
            )
        self._trapped = self._trapped or "trap" in typed
        start = time.monotonic()
        report = driver.type(typed, min(self._limits.command_s, remaining))
        seconds = time.monotonic() - start
        self._spent += seconds
        output, short = cut(report.head, report.gone, report.tail, self._limits.output_bytes)
        notes = list(report.notes) + (["output cut"] if short else [])
        ended: Ended = ""
        if report.stop == "ended":
            ended = _how(typed, report, self._status, trapped=self._trapped)
            if self.box.killed:
                ended = "died"
                notes += [f"killed: {reason}" for reason in self.box.killed]
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

    def interrupt(self) -> None:
        if self._driver is not None:
            self._driver.interrupt()

    # -- the checker -------------------------------------------------------------------------

    def check(self) -> CheckResult:
        if self._closed:
            raise WorldBroken("the world is closed", where="sandbox")
        driver = self._driver
        if driver is not None and driver.ended_status is None:
            self.box.kill_session()
            if not driver.wait_for_end(_END_S):
                raise WorldBroken("the session would not end", where="sandbox")
        status, heard = self.box.check(self._limits.checker_s)
        text, _ = cut(heard, 0, b"", self._limits.output_bytes)
        if status is None:
            self.close()
            return CheckResult(passed=False, status=124, output=f"{text}\nthe checker timed out")
        return CheckResult(passed=status == 0, status=status, output=text)

    def listing(self) -> TreeListing | None:
        if self._closed:
            return None
        try:
            return self.box.listing(_LISTING_S)
        except WorldBroken:  # the checker has passed or failed already
            return None


def _how(command: str, report: Report, before: int | None, *, trapped: bool) -> Ended:
    """How a session ended with ``command``: by its terminal, or because its shell died.

    The shell prints a mark when it exits (see :class:`~sekft_engine.worlds.shell.marks.Marks`), but
    under ``set -e`` also where a command failed. In that case, and where the session may have set a
    trap of its own (``trapped``), the text of the command decides. There a status of 128 or more
    means a signal, but a bare ``exit`` after an interrupted command ends with that command's
    status.
    """
    status = report.status
    if report.panicked and status == PANIC_STATUS:
        return "panic"
    marked = report.exit_options is not None and _END_OF_FILE not in command
    if marked and ("e" not in (report.exit_options or "") or status == 0):
        return "exit"
    words = _EXIT.search(command) and (status is None or status < 128 or status == before)
    return "exit" if words and (marked or trapped) else "died"
