"""One exception family: each error says what is wrong, where, and the way out.

:func:`known_error` turns any other exception into one of them.
"""

from __future__ import annotations

import errno


class SekftError(Exception):
    """An error meant for a person; both front ends print it as one line.

    Args:
        what: what is wrong, in one clause.
        where: the file, optionally with a line (``data.jsonl:12``), or the thing concerned.
        mend: the way out, as an instruction.
    """

    exit_status = 2

    def __init__(self, what: str, *, where: str | None = None, mend: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.mend = mend

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head} ({self.mend})" if self.mend else head


class BadInput(SekftError):
    """A file or value from outside that cannot be used as it stands."""


class Unavailable(SekftError):
    """Something this machine lacks: a sandbox, a library, a base, a permission, disk space."""


class NoRoom(Unavailable):
    """The disk, or the user's share of it, is full: nothing is wrong with what was asked."""

    exit_status = 1


class DigestMismatch(SekftError):
    """An adapter, base or render that does not belong with the others."""


class JobFailed(SekftError):
    """A job that ran and could not end well."""

    exit_status = 1


class Unexpected(JobFailed):
    """An error that nobody foresaw, so a fault of the program.

    Args:
        what: the error's kind and its words.
        where: where it was raised.
        trace: its traceback.
    """

    def __init__(
        self, what: str, *, where: str | None = None, mend: str | None = None, trace: str = ""
    ) -> None:
        super().__init__(what, where=where, mend=mend)
        self.trace = trace


class BaseChanged(JobFailed):
    """The base in memory is not what it was when it was loaded; nothing may act on it any more."""


class Interrupted(SekftError):
    """A job that was stopped on request; what it had done is kept."""

    exit_status = 130


_OS_ERRORS = {
    errno.ENOSPC: ("the disk is full", "free some space, or choose another folder"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or choose another folder"),
    errno.EFBIG: ("the file grows over a limit", "raise it (ulimit -f), or choose another folder"),
    errno.EACCES: ("no permission", "change its permissions, or choose another place"),
    errno.EPERM: ("not permitted", "change its permissions, or choose another place"),
    errno.EROFS: ("the file system is read-only", "choose another folder"),
    errno.ENOENT: ("no such file or folder", "check the path"),
    errno.ENOTDIR: ("a file stands where a folder is needed", "choose another folder"),
    errno.EISDIR: ("a folder stands where a file is needed", "check the path"),
}

#: Errors that concern the file that is written, also where one is copied.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def explain_os_error(error: OSError) -> SekftError | None:
    """The one-line form of an operating-system error a person can mend, else None."""
    known = _OS_ERRORS.get(error.errno or 0)
    if known is None:
        return None
    copied_to = error.filename2 if error.errno in _NO_ROOM else None
    named = copied_to or error.filename
    where = str(named) if named else None
    kind: type[SekftError] = Unavailable
    if error.errno in (errno.ENOENT, errno.EISDIR):
        kind = BadInput
    elif error.errno in _NO_ROOM:
        kind = NoRoom
    return kind(known[0], where=where, mend=known[1])


def in_words(error: BaseException) -> str:
    """The error in one line, for a person, where it is known what it may be."""
    explained = explain_os_error(error) if isinstance(error, OSError) else None
    return str(explained or error)


def known_error(error: BaseException) -> SekftError:
    """The error as a person should read it, in one line."""
    if isinstance(error, SekftError):
        return error
    if isinstance(error, OSError):
        explained = explain_os_error(error)
        if explained is not None:
            return explained
    if isinstance(error, ModuleNotFoundError):
        return Unavailable(
            f"the Python package {error.name} is missing",
            mend="install the extra: pip install 'sekft-tui[gpu]'",
        )
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's
        return JobFailed(
            "there is not enough memory",
            mend="end other programs, or take a smaller base, a smaller batch or 4 bits",
        )
    if isinstance(error, RuntimeError) and str(error) == "Could not determine home directory.":
        return BadInput("no home folder is known here", mend="set HOME, or write ~ out")
    import traceback  # a hundredth of a second, which only errors cost

    text = str(error).strip().splitlines()
    return Unexpected(
        f"{type(error).__name__}: {text[0]}" if text else type(error).__name__,
        trace="".join(traceback.format_exception(error)),
    )
