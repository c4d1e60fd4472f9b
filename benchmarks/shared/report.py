"""The options that all have, and the two ways a result is told."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser that knows ``--json`` and is described by the first line of ``doc``."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def tell(result: dict[str, Any], show: Callable[[dict[str, Any]], None], *, as_json: bool) -> None:
    """Print the document, or the table that ``show`` prints of it."""
    if as_json:
        print(json.dumps(result, indent=1))
    else:
        show(result)


def p50_p95(values: Sequence[float]) -> tuple[float, float]:
    """The median, and what one in twenty is above."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
