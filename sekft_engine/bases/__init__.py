"""Bases on disk: the catalogue of known ones, conversion from GGUF, digests, resolving a name."""

from __future__ import annotations

from sekft_engine.bases.cache import cache_root
from sekft_engine.bases.catalogue import KNOWN, KnownBase
from sekft_engine.bases.digest import base_digest, current_digest
from sekft_engine.bases.layers import refuse_unknown_targets, stored_share
from sekft_engine.bases.local import add_local, is_local
from sekft_engine.bases.resolve import is_here, ready_base, resolve_base
from sekft_engine.bases.store import Added, BaseInfo, add_base, check_base, list_bases
from sekft_engine.bases.stored import refuse_quantised

__all__ = [
    "KNOWN",
    "Added",
    "BaseInfo",
    "KnownBase",
    "add_base",
    "add_local",
    "base_digest",
    "cache_root",
    "check_base",
    "current_digest",
    "is_here",
    "is_local",
    "list_bases",
    "ready_base",
    "refuse_quantised",
    "refuse_unknown_targets",
    "resolve_base",
    "stored_share",
]
