"""The archetypes: kinds of work, by the worlds that have them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from sekft_engine.factory.archetypes import (
    columns,
    edits,
    files,
    filters,
    held_out,
    searching,
    settings,
    tools,
)
from sekft_engine.factory.archetypes.wordings import more_wordings
from sekft_engine.factory.part import Archetype
from sekft_engine.factory.words import Share


def _named(archetypes: Iterable[Archetype], share: Share) -> dict[str, Archetype]:
    more = more_wordings().kinds if share == "train" else {}
    return {
        each.name: msgspec.structs.replace(each, share=share, more=more.get(each.name, ()))
        for each in sorted(archetypes, key=lambda each: each.name)
    }


TRAINING = _named(
    (
        *filters.ARCHETYPES,
        *columns.ARCHETYPES,
        *files.ARCHETYPES,
        *edits.ARCHETYPES,
        *settings.ARCHETYPES,
        *searching.ARCHETYPES,
        *tools.ARCHETYPES,
    ),
    "train",
)
#: The most usual kinds of training work, for small budgets: a small model needs some fifty examples
#: of a kind before it does it.
CORE = (
    *("append", "column", "copy", "count", "delete", "exchange", "find", "get-key", "grep"),
    *("grep-not", "head", "make-folder", "merge", "move", "note", "rename", "replace", "reverse"),
    *("run-script", "set-key", "sort", "sort-reverse", "tail", "unique", "upper"),
    *("tool-change", "tool-change-with", "tool-convert", "tool-convert-with"),
)
#: Kinds of work that only validation worlds have.
VALIDATION = _named((*held_out.VALIDATION, *tools.VALIDATION), "valid")
#: Kinds of work that only held-out worlds have.
HELD_OUT = _named((*held_out.ARCHETYPES, *tools.HELD_OUT), "holdout")


def training_kinds(*, core: bool) -> dict[str, Archetype]:
    """The training archetypes, or only those of :data:`CORE`."""
    return {name: each for name, each in TRAINING.items() if not core or name in CORE}


#: The kind of work that the pipelines of two filters are.
CHAIN = "pipeline"
