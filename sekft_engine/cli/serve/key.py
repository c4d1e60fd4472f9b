"""The key of a server: from a file that is for its owner alone, or from the environment."""

from __future__ import annotations

import os
from pathlib import Path

from sekft_engine.core.errors import BadInput

#: The environment variable with the key.
KEY = "SEKFT_API_KEY"


def read_key(file: Path | None) -> str:
    """The key, from a file or from the environment; empty = there is none.

    Raises:
        BadInput: the file is empty, others can read it, or no header can hold the key.
    """
    if file is None:
        return _sendable(os.environ.get(KEY, "").strip(), f"${KEY}")
    with file.open("rb") as opened:
        if os.fstat(opened.fileno()).st_mode & 0o077:
            raise BadInput("others can read this file", where=str(file), mend=f"chmod 600 {file}")
        key = opened.read(4096).decode(errors="replace").strip()
    if not key:
        raise BadInput("this file is empty", where=str(file), mend="write the key into it")
    return _sendable(key, str(file))


def _sendable(key: str, where: str) -> str:
    if not key.isascii() or not key.isprintable():
        raise BadInput(
            "this key cannot be sent in a header",
            where=where,
            mend="use one line of ASCII letters, digits and signs",
        )
    return key
