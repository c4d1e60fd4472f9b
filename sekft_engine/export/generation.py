"""The generation settings of a merged model: the base's own, and where its turns end."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sekft_engine.bases.stored import read_object

#: The file that servers and transformers read them from.
GENERATION = "generation_config.json"


def write_generation(base: Path, target: Path, end_ids: Iterable[int]) -> list[int]:
    """Copy the base's generation settings to ``target``, as they are but for where a turn ends.

    An adapter learns to end its turns with the token that closes them in the template. Where that
    is not among the base's ``eos_token_id``, servers would never stop there.

    Args:
        base: the base's folder; without such a file, the one already in ``target`` is used.
        end_ids: the ids that close a trained turn.

    Returns:
        the ids that were added to ``eos_token_id``.
    """
    own = base / GENERATION
    settings = _read(own if own.is_file() else target / GENERATION)
    stops = settings.get("eos_token_id")
    if stops is None:
        stops = _read(target / "config.json").get("eos_token_id")
    known = stops if isinstance(stops, list) else [] if stops is None else [stops]
    added = sorted(set(end_ids) - set(known))
    if added or not own.is_file():
        if added:
            settings["eos_token_id"] = [*known, *added] if known or len(added) > 1 else added[0]
        text = json.dumps(settings, indent=2)
        (target / GENERATION).write_text(text + "\n", encoding="utf-8")
    else:
        (target / GENERATION).write_bytes(own.read_bytes())
    return added


def _read(path: Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}
