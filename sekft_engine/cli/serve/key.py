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
        BadInput: the file is empty, or others can read it.
    """
    if file is None:
        return os.environ.get(KEY, "").strip()
    with file.open(encoding="utf-8") as opened:
        if os.fstat(opened.fileno()).st_mode & 0o077:
            raise BadInput("others can read this file", where=str(file), mend=f"chmod 600 {file}")
        key = opened.read(4096).strip()
    if not key:
        raise BadInput("this file is empty", where=str(file), mend="write the key into it")
    return key
