"""A seccomp filter as BPF, for what namespaces and rlimits do not cover.

A network namespace does not cover AF_VSOCK; rlimits do not count System V shared memory or
memfds; the kernel keyring is not namespaced; io_uring passes around filters. A user namespace of
its own would give a session every capability within it, so unshare and clone cannot make one.
"""

from __future__ import annotations

import errno
import platform
import struct

from sekft_engine.core.errors import Unavailable

_LD_W_ABS, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24
_X32 = 0x40000000
#: Families a world may open: Unix and the two Internet ones (which reach only a dead loopback).
_FAMILIES = (1, 2, 10)
_TIOCSTI = 0x5412
#: Flags of clone that make namespaces: mount, cgroup, uts, ipc, user, pid, net. (A time namespace
#: cannot be asked for by clone: its flag is part of the signal there.)
_NAMESPACES = 0x20000 | 0x2000000 | 0x4000000 | 0x8000000 | 0x10000000 | 0x20000000 | 0x40000000

#: name: (x86_64, aarch64); the numbers are those of the kernel's own tables.
_DENIED: dict[str, tuple[int | None, int | None]] = {
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195),
    "semget": (64, 190), "msgget": (68, 186),
    "ptrace": (101, 117), "syslog": (103, 116), "acct": (163, 89),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142),
    "sethostname": (170, 161), "setdomainname": (171, 162),
    "init_module": (175, 105), "delete_module": (176, 106), "finit_module": (313, 273),
    "quotactl": (179, 60), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "unshare": (272, 97), "setns": (308, 268), "perf_event_open": (298, 241),
    "open_by_handle_at": (304, 265), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "bpf": (321, 280), "userfaultfd": (323, 282), "memfd_create": (319, 279),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "memfd_secret": (447, 447),
}  # fmt: skip
#: machine: (AUDIT_ARCH, column in _DENIED, socket, socketpair, ioctl, clone, clone3)
_ARCHES = {
    "x86_64": (0xC000003E, 0, 41, 53, 16, 56, 435),
    "aarch64": (0xC00000B7, 1, 198, 199, 29, 220, 435),
}


def _instruction(code: int, yes: int, no: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _load(offset: int) -> bytes:
    return _instruction(_LD_W_ABS, 0, 0, offset)


def _refuse(code: int) -> bytes:
    return _instruction(_RET, 0, 0, _ERRNO | code)


_ALLOWED = _instruction(_RET, 0, 0, _ALLOW)


def needed() -> bytes:
    """The filter for this machine.

    Raises:
        Unavailable: there is none for this architecture.
    """
    found = program()
    if found is None:
        raise Unavailable(
            f"no filter of kernel calls is known for {platform.machine()}",
            where="sandbox",
            mend="use --sandbox podman or docker, which bring a filter of their own",
        )
    return found


def held(engine: bool = False) -> str:
    """How kernel calls are filtered, in words; ``engine``: a container engine filters too."""
    if program() is None:
        why = f"no filter of ours for {platform.machine()}"
        return f"the engine's own seccomp filter ({why})" if engine else f"none: {why}"
    return "seccomp filter" + (", and the engine's own" if engine else "")


def program(machine: str | None = None) -> bytes | None:
    """The filter for ``machine`` (default: this one); None for an unknown architecture."""
    known = _ARCHES.get(machine or platform.machine())
    if known is None:
        return None
    arch, column, socket, socketpair, ioctl, clone, clone3 = known
    out = [
        _load(_ARCH),
        _instruction(_JEQ, 1, 0, arch),
        _refuse(errno.ENOSYS),
        _load(_NR),
    ]
    if column == 0:  # the x32 ABI has the same calls under other numbers
        out += [_instruction(_JGE, 0, 1, _X32), _refuse(errno.ENOSYS)]
    # A filter cannot see the flags of clone3; glibc falls back to clone without it.
    out += [_instruction(_JEQ, 0, 1, clone3), _refuse(errno.ENOSYS)]
    for numbers in _DENIED.values():
        number = numbers[column]
        if number is not None:
            out += [_instruction(_JEQ, 0, 1, number), _refuse(errno.EPERM)]
    flags = [_load(_ARG0), _instruction(_JSET, 0, 1, _NAMESPACES), _refuse(errno.EPERM), _ALLOWED]
    out += [_instruction(_JEQ, 0, len(flags), clone), *flags]
    families = [_load(_ARG0)]
    for index, family in enumerate(_FAMILIES):
        families.append(_instruction(_JEQ, len(_FAMILIES) - index, 0, family))
    families += [_refuse(errno.EAFNOSUPPORT), _ALLOWED]
    for number in (socket, socketpair):
        out += [_instruction(_JEQ, 0, len(families), number), *families]
    terminal = [
        _load(_ARG1),
        _instruction(_JEQ, 0, 1, _TIOCSTI),
        _refuse(errno.EPERM),
        _ALLOWED,
    ]
    out += [_instruction(_JEQ, 0, len(terminal), ioctl), *terminal, _ALLOWED]
    return b"".join(out)
