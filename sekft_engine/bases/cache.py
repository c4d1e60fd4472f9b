"""What is shared by all workspaces of a user: bases, and digests of their weights."""

from __future__ import annotations

from pathlib import Path

from sekft_engine.core.paths import cache_folder


def cache_root() -> Path:
    """The folder of the bases that all workspaces of this user share."""
    return cache_folder() / "bases"


def digest_memo() -> Path:
    """The folder that remembers digests of weight files."""
    return cache_folder() / "digests"
