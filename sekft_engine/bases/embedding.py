"""How many ids a base has a row of its embedding for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

#: Where a model of several parts describes the one that reads text.
_TEXT_PARTS = ("text_config", "llm_config", "language_config")


def embedding_rows(folder: Path) -> int | None:
    """The number of rows that ``config.json`` says; None where it does not."""
    try:
        config = msgspec.json.decode((folder / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    for part in (config, *(_part(config, name) for name in _TEXT_PARTS)):
        rows = _part(part, "vocab_size")
        if isinstance(rows, int) and not isinstance(rows, bool) and rows > 0:
            return rows
    return None


def _part(config: Any, name: str) -> Any:
    return config.get(name) if isinstance(config, dict) else None
