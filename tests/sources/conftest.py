"""Files as users have them."""

from __future__ import annotations

import json
from typing import Any


def raw(name: str = "a", **fields: Any) -> dict[str, Any]:
    """A trajectory as a recorder writes it."""
    return {
        "id": name,
        "scenario": "s1",
        "archetype": "disk",
        "turns": [
            {"role": "user", "content": "motd\n$"},
            {"role": "assistant", "content": "exit"},
        ],
        "steps": 1,
        "outcome": "exit",
        "verified": True,
        "keep": True,
        "meta": {"clean": True},
    } | fields


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)
