"""The archetypes: kinds of work. Some are for training, others are held out."""

from __future__ import annotations

from collections.abc import Callable

from sekft_engine.factory.archetypes import (
    attributes,
    columns,
    held_out,
    lines,
    paths,
    programs,
    texts,
)
from sekft_engine.factory.task import Desk, Task

Archetype = Callable[[Desk], Task]

TRAINING: dict[str, Archetype] = {
    "append": texts.append,
    "copy": paths.copy,
    "count": lines.count,
    "create": attributes.create,
    "delete": paths.delete,
    "encode": programs.encode,
    "extract": columns.extract,
    "filter": lines.keep_matching,
    "head": lines.head,
    "merge": columns.merge,
    "move": paths.move,
    "note": texts.note,
    "number": programs.number,
    "rename": paths.rename,
    "replace": texts.replace,
    "resize": attributes.resize,
    "reverse": programs.reverse,
    "run": programs.run,
    "sort": lines.sort,
    "stamp": attributes.stamp,
    "tree": paths.tree,
    "unique": lines.unique,
    "upper": texts.upper,
}
HELD_OUT: dict[str, Archetype] = {
    "checksum": held_out.checksum,
    "link": held_out.link,
    "permit": held_out.permit,
}
