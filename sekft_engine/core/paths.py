"""Where sekft keeps files of its own, by the XDG base directory specification.

Paths come from platformdirs, https://specifications.freedesktop.org/basedir-spec/latest/ says what
the variables mean. Where there is no home, or one that cannot be written, a folder of the user's in
the temporary folder takes its place.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

APP = "sekft"

log = logging.getLogger(__name__)


def home_folder() -> Path | None:
    """The user's home; None where there is none: no HOME, and a uid without a name."""
    try:
        return Path.home()
    except RuntimeError:
        return None


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
    return _usable("cache", lambda: platformdirs.user_cache_path(APP), named)


def state_folder() -> Path:
    """What the workbench remembers between sessions. A relative ``XDG_STATE_HOME`` is ignored."""
    named = os.environ.get("XDG_STATE_HOME", "")
    if named and not named.startswith("/"):
        return _usable("state", lambda: Path.home() / ".local" / "state" / APP)
    return _usable("state", lambda: platformdirs.user_state_path(APP), named)


def config_folder() -> Path:
    """What the user has set for all workspaces. A relative ``XDG_CONFIG_HOME`` is ignored."""
    named = os.environ.get("XDG_CONFIG_HOME", "")
    if named and not named.startswith("/"):
        return _usable("config", lambda: Path.home() / ".config" / APP)
    return _usable("config", lambda: platformdirs.user_config_path(APP), named)


def _usable(kind: str, usual: Callable[[], Path], named: str = "") -> Path:
    """The usual folder of a kind, or one in the temporary folder where that is not there and cannot
    be made.

    Args:
        kind: cache, state or config.
        usual: gives the folder, where there is a home or it is ``named``.
        named: what the environment names; empty = nothing.
    """
    if not named and home_folder() is None:
        return _in_temporary_folder("there is no home folder", kind)
    folder = usual()
    if can_be_made(folder):
        return folder
    return _in_temporary_folder(f"{folder} cannot be made", kind)


@functools.cache
def can_be_made(folder: Path) -> bool:
    """Whether ``folder`` is there, or could be made; leaves no trace."""
    if folder.is_dir():
        return True
    above = next((each for each in folder.parents if each.exists()), Path("/"))
    try:  # what the permissions say is not all: /proc grants them
        Path(tempfile.mkdtemp(prefix=".sekft-", dir=above)).rmdir()
    except OSError:
        return False
    return True


@functools.cache
def _in_temporary_folder(why: str, kind: str) -> Path:
    own = Path(tempfile.gettempdir()) / f"{APP}-{os.geteuid()}"
    with contextlib.suppress(OSError):
        own.mkdir(mode=0o700)
    if not _is_private(own):
        own = Path(tempfile.mkdtemp(prefix=f"{APP}-"))
    log.warning("%s: sekft's %s is in %s (set HOME or XDG_%s_HOME)", why, kind, own, kind.upper())
    return own / kind


def _is_private(folder: Path) -> bool:
    """Whether nobody else can write ``folder``: the temporary folder is everybody's."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    own = found.st_uid == os.geteuid() and not found.st_mode & 0o022
    return stat.S_ISDIR(found.st_mode) and own
