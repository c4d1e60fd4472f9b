"""One exception family: each error says what is wrong, where, and the way out."""

from __future__ import annotations


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


class DigestMismatch(SekftError):
    """An adapter, base or render that does not belong with the others."""


class JobFailed(SekftError):
    """A job that ran and could not end well."""

    exit_status = 1


class BaseChanged(JobFailed):
    """The base in memory is not what it was when it was loaded; nothing may act on it any more."""


class Interrupted(SekftError):
    """A job that was stopped on request; what it had done is kept."""

    exit_status = 130
