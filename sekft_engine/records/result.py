"""The base class of all results of jobs."""

from __future__ import annotations

import msgspec


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a job returns. This one has no fields: an empty JSON object."""
