"""One finding of the doctor."""

from __future__ import annotations

import msgspec


class Check(msgspec.Struct, frozen=True):
    """One finding; ``mend`` is a command or an instruction, empty where there is none to give.

    What is missing and not needed is ``ok`` and has a mend all the same.
    """

    name: str
    ok: bool
    detail: str
    mend: str = ""
