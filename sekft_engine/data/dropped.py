"""Dropped: a trajectory that is not used, with a named, counted reason."""

from __future__ import annotations

import msgspec


class Dropped(msgspec.Struct, frozen=True):
    """A trajectory that is not trained on: ``reason`` is the name it is counted under."""

    id: str
    reason: str
    detail: str = ""
