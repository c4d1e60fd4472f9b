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
from sekft_engine.factory.part import Archetype
from sekft_engine.factory.words import Share


def _named(archetypes: Iterable[Archetype], share: Share) -> dict[str, Archetype]:
    return {
        each.name: msgspec.structs.replace(each, share=share)
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
#: Kinds of work that only validation worlds have.
VALIDATION = _named((*held_out.VALIDATION, *tools.VALIDATION), "valid")
#: Kinds of work that only held-out worlds have.
HELD_OUT = _named((*held_out.ARCHETYPES, *tools.HELD_OUT), "holdout")
#: The kind of work that the pipelines of two filters are.
CHAIN = "pipeline"
