"""Files as users have them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


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


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that any user can reach, as pytest's own for root is not."""
    folder = Path(tempfile.mkdtemp(prefix="sekft-test-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may read and write everything; for a while be nobody then."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
