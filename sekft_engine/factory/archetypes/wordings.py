"""More wordings of training's directives, from ``wordings.toml``.

A model that has seen four wordings of a kind of work learns these four. The file has a dozen more
for each; they were written without a look at the held-out ones, which stand with the archetypes.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec


class Wordings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What training has beside the wordings that stand with the archetypes.

    Attributes:
        chains: directives of pipelines, with ``{source}``, ``{target}``, ``{one}`` and ``{two}``.
        kinds: directives by archetype, with the fields of its own.
        clauses: phrases for the stages of pipelines, by filter.
    """

    chains: tuple[str, ...]
    kinds: dict[str, tuple[str, ...]]
    clauses: dict[str, tuple[str, ...]]


@cache
def more_wordings() -> Wordings:
    """The content of ``wordings.toml``."""
    text = Path(__file__).with_name("wordings.toml").read_bytes()
    return msgspec.toml.decode(text, type=Wordings)
