"""Lists the files of a world after its session.

The list is made by the sandbox's keeper once every process of the session is dead. Nothing that a
session can change is trusted, links are not followed, and the amount that is read is bounded,
however large or deep the trees are.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Sequence
from typing import Literal

import msgspec

#: Most bytes that are read of names, of all files together, and of one file; a digest is of those.
_NAMES, _CONTENTS, _HEAD = 256 * 1024, 1024 * 1024, 16 * 1024
#: Most bytes of a file whose text is shown.
TEXT_BYTES = 2048
#: More bytes than the list can have; a box must not cut it earlier.
ROOM = _NAMES + _CONTENTS + 4096
_RECORD = re.compile(r"([ru])(.) ([0-7]{1,5}) (\d{1,18}) (.+)", re.DOTALL)
_KINDS: dict[str, Kind] = {"f": "file", "d": "folder", "l": "link"}

Kind = Literal["file", "folder", "link", "other"]


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file, folder, link or other thing (a pipe, a socket) in a world.

    Attributes:
        mode: permissions, octal, four digits.
        size: of a file, in bytes.
        digest: SHA-256 of a file's first 16 KiB, 16 hex digits of it; empty = not read.
        text: of a file that is short and UTF-8.
        target: of a link.
    """

    kind: Kind
    mode: str = ""
    size: int = 0
    digest: str = ""
    text: str | None = None
    target: str = ""


class TreeListing(msgspec.Struct, frozen=True):
    """The files of a world.

    Attributes:
        items: by path, relative to the root of the world.
        cut: there were more than were listed.
    """

    items: dict[str, Item]
    cut: bool = False


def file_item(mode: str, size: int, head: bytes | None) -> Item:
    """A file of ``size`` bytes that begins with ``head``; None = it could not be read."""
    text = None
    if head is None:
        return Item("file", mode, size)
    if size == len(head) <= TEXT_BYTES:
        try:
            text = head.decode("utf-8")
        except UnicodeDecodeError:
            text = None
    digest = hashlib.sha256(head[:_HEAD]).hexdigest()[:16]
    return Item("file", mode, size, digest, text)


def listing_script(places: Sequence[tuple[str, Sequence[str]]], mark: str) -> str:
    """A program for sh that prints the list.

    Args:
        places: folders, each with the names to list below it; listed paths are relative to it.
        mark: separates names and contents; nothing in the world knows it.
    """
    names, heads = [], []
    for folder, paths in places:
        if paths:
            # With ./ before it no name can be taken for an option or an expression.
            look = f"cd {shlex.quote(folder)} && find {shlex.join(f'./{path}' for path in paths)}"
            readable = "\\( -readable -printf r -o -printf u \\)"
            names.append(f"{look} {readable} -printf '%y %m %s %p\\0%l\\0';")
            heads.append(f"{look} -type f -size +0c -readable -exec head -q -c {_HEAD} {{}} +;")
    return f"""\
PATH=/usr/bin:/bin
{{ {" ".join(names)} }} 2>/dev/null | head -c {_NAMES}
printf %s {mark}
{{ {" ".join(heads)} }} 2>/dev/null | head -c {_CONTENTS}
"""


def read_listing(printed: bytes, mark: str) -> TreeListing | None:
    """The list that :func:`listing_script` printed; None where it failed (there is no GNU find)."""
    names, found, contents = printed.partition(mark.encode())
    fields = names.split(b"\0")
    if not found or len(fields) < 2:
        return None
    cut = len(names) >= _NAMES
    items: dict[str, Item] = {}
    unread = _Contents(contents, whole=not cut)
    for line, target in zip(fields[0:-1:2], fields[1::2], strict=False):
        record = _RECORD.fullmatch(line.decode("utf-8", "surrogateescape"))
        if record is None:
            continue
        readable, letter, octal, size, path = record.groups()
        mode = octal.rjust(4, "0")
        path = path.removeprefix("./").encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        kind = _KINDS.get(letter, "other")
        if kind == "file":
            head = unread.take(int(size)) if readable == "r" else None
            items[path] = file_item(mode, int(size), head)
        elif kind == "link":
            items[path] = Item("link", target=target.decode("utf-8", "replace"))
        else:
            items[path] = Item(kind, mode)
    return TreeListing(items, cut or unread.cut)


class _Contents:
    """The beginnings of the files, concatenated."""

    def __init__(self, data: bytes, *, whole: bool) -> None:
        self._data = data
        self._at = 0
        self.cut = not whole or len(data) >= _CONTENTS

    def take(self, size: int) -> bytes | None:
        length = min(size, _HEAD)
        head = self._data[self._at : self._at + length]
        self._at += length
        return head if len(head) == length else None
