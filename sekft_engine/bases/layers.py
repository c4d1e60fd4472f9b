"""What layers a base has, read from the headers of its weight files."""

from __future__ import annotations

import json
from pathlib import Path

from sekft_engine.bases.digest import weight_files
from sekft_engine.core.errors import BadInput

#: No header of a safetensors file is longer (its format says so).
_LONGEST = 100_000_000


def layer_names(folder: Path) -> set[str]:
    """The last names of all layers with a matrix of weights: ``q_proj``, ``down_proj``, …

    Raises:
        BadInput: a weight file is no safetensors file.
    """
    found = set()
    for path in weight_files(folder):
        for name, facts in _header(path).items():
            parts = name.split(".")
            if parts[-1] == "weight" and len(parts) > 1 and len(facts.get("shape", ())) == 2:
                found.add(parts[-2])
    return found


def refuse_unknown_targets(folder: Path, targets: str) -> None:
    """Raise :class:`BadInput` where a recipe's ``targets`` name no layer of the base."""
    names = {part.strip() for part in targets.split(",") if part.strip()} - {"all-linear"}
    if not names or not weight_files(folder):  # inspected by its tokenizer alone
        return
    there = layer_names(folder)
    if unknown := sorted(names - there):
        raise BadInput(
            f"this base has no layer called {', '.join(unknown)}",
            where="recipe.targets",
            mend=f"all-linear, or some of {', '.join(sorted(there))}",
        )


def _header(path: Path) -> dict[str, dict[str, list[int]]]:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        try:
            if size > _LONGEST:
                raise ValueError(f"a header of {size} bytes")
            header = json.loads(file.read(size))
        except (ValueError, RecursionError) as error:
            raise BadInput(f"not a safetensors file: {error}", where=str(path)) from error
    if not isinstance(header, dict):
        raise BadInput("not a safetensors file: no table of tensors", where=str(path))
    header.pop("__metadata__", None)
    return header
