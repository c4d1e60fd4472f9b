"""Marks in a shell's output that the driver recognises: prompts, ``panic``, the end by ``exit``.

This module has both sides: what the shell reads at its start, and how the driver reads the marks.

A session can read the nonce in them (``echo "$PS1"``) and print such marks itself. With that it can
only shift its own outputs to later commands and claim an exit status: verdicts depend on how the
shell's process ended, on the checker and on what was typed. Each typed line is answered by exactly
one prompt; where there were more, the driver trusts no exit status of that session.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator

import msgspec

from sekft_engine.data.world_paths import HOME, VARIABLES

PANIC_FILE = f"{HOME}/.panic"
PANIC_STATUS = 97
LOGIN = "/.login"
#: The path for the session's shell and for programs before its first prompt, which no program of a
#: bundle can replace.
LAUNCH_PATH = "/usr/bin:/bin"


class PromptMark(msgspec.Struct, frozen=True):
    """A prompt among the bytes of a terminal, at ``start`` to ``end``.

    Attributes:
        more: the shell waits for the rest of a command (PS2).
        status: of the last command.
        cwd: the working folder; empty where ``more``.
    """

    start: int
    end: int
    more: bool = False
    status: int = 0
    cwd: bytes = b""


class Marks:
    """The marks of one world.

    Args:
        nonce: letters and digits that identify them.
    """

    def __init__(self, nonce: str) -> None:
        self._nonce = nonce
        mark = nonce.encode()
        self._begin = re.compile(rb"\x01" + re.escape(mark) + rb"(?::(\d{1,3}):|\+\x02)")
        self._end = b"\x02" + mark + b"\x02"
        self.panicked = b"\x01" + mark + b"!\x02"
        self._exited = re.compile(rb"\x01" + re.escape(mark) + rb"\.([A-Za-z]*)\x02")

    # -- the shell's side --------------------------------------------------------------------

    def shell_start(self, variables: Iterable[tuple[str, str]] = (), login: str = LOGIN) -> str:
        """The commands that the session's shell reads first.

        Args:
            variables: exported to what it starts. They are set here and not before, since the
                programs that set up limits would obey some of them (``LD_PRELOAD``).
            login: the file with what it prints before its first prompt.
        """
        nonce = self._nonce
        # An end by `exit`, in whichever way it was typed, runs the trap; a signal or `exec` does
        # not. Where its input is no terminal any more, the shell met the end of a file.
        return (
            f"PS1='\x01{nonce}:$?:$PWD\x02{nonce}\x02' PS2='\x01{nonce}+\x02'\n"
            "readonly PS1 PS2\n"
            "unset ENV\n"
            f"{exports(variables)}"
            f'trap \'{{ [ -t 0 ] && printf "\\001{nonce}.%s\\002" "$-"; }}'
            " 2>/dev/null >/dev/tty' EXIT\n"
            "panic() {\n"
            f"printf '%s\\n' \"$*\" 2>/dev/null >{PANIC_FILE}\n"
            f"printf '\\001{nonce}!\\002' >/dev/tty\n"
            f"exit {PANIC_STATUS}\n"
            "}\n"
            f"cat {login}\n"
            f"PATH={VARIABLES['PATH']}\n"
        )

    # -- the driver's side -------------------------------------------------------------------

    def prompts(self, data: bytes) -> Iterator[PromptMark]:
        """The prompts in ``data``, in order; the time is linear in its size."""
        at = 0
        while begun := self._begin.search(data, at):
            if begun[1] is None:
                yield PromptMark(begun.start(), begun.end(), more=True)
                at = begun.end()
                continue
            end = data.find(self._end, begun.end())
            if end < 0:
                return
            # A folder may be called like the beginning of a prompt: the last one counts.
            while again := self._begin.search(data, begun.end(), end):
                begun = again
            at = end + len(self._end)
            if begun[1] is not None:
                yield PromptMark(
                    begun.start(), at, status=int(begun[1]), cwd=data[begun.end() : end]
                )

    def last_prompt(self, data: bytes) -> PromptMark | None:
        last = None
        for prompt in self.prompts(data):
            last = prompt
        return last

    def clean(self, data: bytes) -> bytes:
        """``data`` without any mark."""
        out, at = [], 0
        for prompt in self.prompts(data):
            out.append(data[at : prompt.start])
            at = prompt.end
        out.append(data[at:])
        return self._exited.sub(b"", b"".join(out).replace(self.panicked, b""))

    def exit_options(self, data: bytes) -> str | None:
        """The shell's options (``$-``) in its mark of an end by ``exit``; None without a mark."""
        found = self._exited.findall(data)
        return found[-1].decode("ascii") if found else None


def exports(variables: Iterable[tuple[str, str]]) -> str:
    """Lines of sh that export ``variables``."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables)
