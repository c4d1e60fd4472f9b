"""Where sekft keeps files of its own, by the XDG base directory specification.

Paths come from platformdirs, https://specifications.freedesktop.org/basedir-spec/latest/ says what
the variables mean.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

APP = "sekft"


def cache_folder() -> Path:
    """What can be made again: bases, rows, indexes, digests. ``SEKFT_CACHE`` names another folder,
    which belongs to sekft alone."""
    named = os.environ.get("SEKFT_CACHE")
    return Path(named).expanduser() if named else user_cache_folder()


def user_cache_folder() -> Path:
    """sekft's folder in the user's cache, whatever ``SEKFT_CACHE`` says."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    if named and not named.startswith("/"):
        # The specification has a relative path ignored. Caches of users who set one stay in use.
        return Path(named).expanduser() / APP
    return platformdirs.user_cache_path(APP)


def state_folder() -> Path:
    """What the workbench remembers between sessions. A relative ``XDG_STATE_HOME`` is ignored."""
    if not os.environ.get("XDG_STATE_HOME", "/").startswith("/"):
        return Path("~/.local/state").expanduser() / APP
    return platformdirs.user_state_path(APP)
