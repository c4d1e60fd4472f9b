"""The limits of a world."""

from __future__ import annotations

import msgspec

MIB = 1024 * 1024


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one world; seconds are wall-clock time.

    Attributes:
        start_s: from the launch to the first prompt; after that the sandbox counts as broken.
        command_s: one command; then Ctrl-C, then a kill of the foreground group.
        session_s: all commands of a session together (thinking time does not count).
        checker_s: the checker.
        output_bytes: most that is shown of a command's output; a mark stands for the middle.
        flood_bytes: most output of a command; then Ctrl-C.
        nproc, address_space, file_size, cpu_s, open_files: resource limits of each process.
        home_bytes, tmp_bytes, other_bytes: sizes of the writable file systems.
        memory_bytes: resident memory of the whole world, enforced by the watchdog.
        inodes: files in one writable file system, enforced by the watchdog; a checker may add as
            many to those of the session.
    """

    start_s: float = 20.0
    command_s: float = 10.0
    session_s: float = 120.0
    checker_s: float = 20.0
    output_bytes: int = 16384
    flood_bytes: int = 8 * MIB
    nproc: int = 48
    address_space: int = 512 * MIB
    file_size: int = 16 * MIB
    cpu_s: int = 60
    open_files: int = 128
    home_bytes: int = 32 * MIB
    tmp_bytes: int = 16 * MIB
    other_bytes: int = 8 * MIB
    memory_bytes: int = 512 * MIB
    inodes: int = 20_000
