"""Starting an engine that outlives the command, the terminal and the login."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from sekft_engine.core.documents import NOT_JSON
from sekft_engine.core.errors import JobFailed
from sekft_engine.core.process import own_environment, python_module
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.socket.address import Address

LOG = "resident.log"
#: Names the descriptor on which a detached engine tells that its sockets answer.
READY = "SEKFT_READY_FD"
_TAIL_BYTES = 2000


def resident_arguments(workspace: Workspace, options: Sequence[str]) -> list[str]:
    """The command line of an engine that takes jobs from its socket only."""
    command = [*python_module("sekft_engine"), "resident", "--socket-only"]
    return [*command, "--workspace", str(workspace.root), *options]


def start_detached(workspace: Workspace, options: Sequence[str]) -> Address:
    """Start an engine in a session of its own and return once its sockets answer.

    Its messages go to a log file in the workspace; that of the engine before is kept beside it.

    Args:
        options: of ``sekft resident``, with absolute paths.

    Raises:
        JobFailed: it ended before; says what its log says.
    """
    log = workspace.root / LOG
    if log.exists():
        log.replace(log.with_name(f"{LOG}.1"))
    reader, writer = os.pipe()
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    messages = os.open(log, flags, 0o600)
    try:
        subprocess.Popen(
            resident_arguments(workspace, options),
            stdin=subprocess.DEVNULL,
            stdout=messages,
            stderr=messages,
            start_new_session=True,
            pass_fds=(writer,),
            env=own_environment() | {READY: str(writer)},
        )
    finally:
        os.close(messages)
        os.close(writer)
    with os.fdopen(reader, "rb") as ready:
        line = ready.readline()
    try:
        return msgspec.json.decode(line, type=Address)
    except NOT_JSON:
        raise JobFailed(_last_words(log), where=str(log)) from None


def tell_ready(address: Address) -> None:
    """Tell whoever started this process detached that the sockets answer."""
    descriptor = os.environ.pop(READY, "")
    if descriptor.isdigit():
        with os.fdopen(int(descriptor), "wb") as ready:
            ready.write(msgspec.json.encode(address) + b"\n")


def _last_words(log: Path) -> str:
    """The last line of the log, as the error of a process that did not start."""
    try:
        lines = log.read_bytes()[-_TAIL_BYTES:].decode("utf-8", "replace").split("\n")
    except OSError:
        lines = []
    found = [line.strip() for line in lines if line.strip()]
    last = found[-1].removeprefix("sekft: error: ") if found else "it said nothing"
    return f"the engine ended at once: {last}"
