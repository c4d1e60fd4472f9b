"""Paths inside a world: where its home is, and which places a bundle may name.

Every path of a bundle passes through :func:`world_path`, and every path that is built from one
through :func:`below`, so that nothing in a bundle can name a place outside its world.
"""

from __future__ import annotations

import posixpath

from sekft_engine.core.errors import BadInput

HOME = "/home/user"
TMP = "/tmp"  # noqa: S108 (a path of the world, not of this machine)
SHM = "/dev/shm"  # noqa: S108
LOCAL = "/usr/local"
MAN_PAGES = f"{LOCAL}/share/man"
#: Folders that stand in every world, whatever its bundle says.
STANDING = frozenset(
    {"/home", HOME, TMP, "/etc", LOCAL, f"{LOCAL}/bin", f"{LOCAL}/share", MAN_PAGES}
)

#: Files that stand in every world; a bundle may have its own in their places.
STANDING_FILES = ("/etc/passwd", "/etc/group", f"{LOCAL}/bin/man")

#: The variables that every world starts with.
VARIABLES = {
    "PATH": f"{LOCAL}/bin:/usr/bin:/bin",
    "HOME": HOME,
    "USER": "user",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}

#: The kernel's bounds: of a name, and of a path with room for the folders that a sandbox puts
#: before it.
NAME_BYTES = 255
PATH_BYTES = 3072
#: Folders above a file, at most.
DEPTH = 32

#: Top folders that belong to the system; of these, a bundle may only write below /usr/local.
_SYSTEM = frozenset(
    {"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "proc", "dev", "sys", "w"}
)
#: A new top folder becomes a mount of its own, so its name must be plain in every mount syntax.
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


def world_path(path: str, where: str) -> str:
    """``path`` of a bundle as a normal absolute path; ``~/`` and relative ones start at the home.

    Args:
        where: the bundle and its field, for the error.

    Raises:
        BadInput: it is no path, is too long, or is a place that belongs to the system.
    """
    refuse_unwritable(path, where)
    full = posixpath.normpath(posixpath.join(HOME, path.removeprefix("~/")))
    parts = full.split("/")[1:]
    if "\0" in path or full.startswith("//") or full == "/":
        raise BadInput(f"not a path of a world: {path!r}", where=where, mend="name a file in it")
    encoded = [encode_text(part) for part in parts]
    if len(parts) > DEPTH or any(len(part) > NAME_BYTES for part in encoded):
        raise BadInput(
            f"too deep or too long: {full[:60]!r}...",
            where=where,
            mend=f"use at most {DEPTH} folders, and names of at most {NAME_BYTES} bytes",
        )
    if sum(map(len, encoded)) + len(encoded) > PATH_BYTES:
        raise BadInput(
            f"the path is too long: {full[:60]!r}...",
            where=where,
            mend=f"use at most {PATH_BYTES} bytes",
        )
    _refuse_system(full, parts[0], where)
    return full


def _refuse_system(full: str, top: str, where: str) -> None:
    if full == "/etc" or (top in _SYSTEM and not full.startswith(f"{LOCAL}/")):
        raise BadInput(
            f"{full} belongs to the system",
            where=where,
            mend=f"put it under the home, /srv, /opt, /var, /etc or {LOCAL}",
        )
    if full.startswith(f"{LOCAL}/."):
        raise BadInput(
            f"{full!r}: names that begin with a dot are kept for the sandbox there",
            where=where,
            mend="choose another name",
        )
    if not set(top) <= _PLAIN or top.startswith(("-", ".")):
        raise BadInput(
            f"not a name for a top folder of a world: {'/' + top!r}",
            where=where,
            mend="use letters, digits, dots, dashes and underscores",
        )


def below(root: str, path: str) -> str:
    """``path`` joined to ``root``, proven to stay below it.

    Raises:
        BadInput: it would leave ``root``.
    """
    full = posixpath.normpath(posixpath.join(root, path.lstrip("/")))
    if not full.startswith(root.rstrip("/") + "/") or "\0" in full:
        raise BadInput(f"leads out of {root}: {path!r}", where="a path of the world")
    return full


def refuse_unwritable(text: str, where: str) -> None:
    """Raise :class:`BadInput` where ``text`` holds half a surrogate pair, which no file can hold.

    The half pairs U+DC80 to U+DCFF stand for single bytes that are not UTF-8, as in Python's own
    ``surrogateescape``.
    """
    try:
        encode_text(text)
    except UnicodeEncodeError as error:
        raise BadInput(
            f"half a surrogate pair (U+{ord(text[error.start]):04X}) at character {error.start}",
            where=where,
            mend="write the whole character",
        ) from None


def encode_text(text: str) -> bytes:
    """The bytes that a world gets for a bundle's text."""
    return text.encode("utf-8", "surrogateescape")
