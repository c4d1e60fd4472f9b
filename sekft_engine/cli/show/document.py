"""The one JSON document of a command with ``--json``: its result, or its error."""

from __future__ import annotations

import sys
from typing import ClassVar

from sekft_engine.core.errors import SekftError


class Document:
    """Whether the command that runs owes a document on standard output.

    A command prints one document, so an error after the result (of an eval in which nothing
    counted, say) is told by the exit status and on standard error only.
    """

    _present: ClassVar[Document | None] = None

    def __init__(self, *, wanted: bool) -> None:
        self._owed = wanted

    @classmethod
    def begin(cls, *, wanted: bool) -> Document:
        """The document of a command that begins.

        Args:
            wanted: the command line asks for one.
        """
        cls._present = cls(wanted=wanted)
        return cls._present

    @classmethod
    def none(cls) -> Document:
        """A document that nobody wants."""
        return cls(wanted=False)

    @classmethod
    def paid(cls) -> None:
        """Note that the document of the present command has been printed."""
        cls._present = cls.none()

    def fail(self, error: SekftError, *, status: int | None = None, trace: str = "") -> None:
        """Print the error as the document, unless there is one already.

        Args:
            error: what went wrong.
            status: the exit status; None = that of the error.
            trace: its traceback, to be shown as well; empty = none.
        """
        if not self._owed or Document._present is not self:
            return
        facts = {"what": error.what, "where": error.where, "mend": error.mend}
        if trace:
            facts["trace"] = trace
        exit_status = error.exit_status if status is None else status
        try:
            print_json({"error": facts, "exit": exit_status})
        except OSError:  # the disk that is full, perhaps: the line on standard error tells it
            return


def print_json(document: object) -> None:
    """Print a document (structs, dicts, lists) as JSON that cannot act on a terminal."""
    import json  # these cost what `sekft --help` takes without them

    import msgspec

    # json escapes all that is not ASCII; DEL is, and acts all the same.
    text = json.dumps(msgspec.to_builtins(document), indent=1, allow_nan=False).replace(
        "\x7f", "\\u007f"
    )
    Document.paid()
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
