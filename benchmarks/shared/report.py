"""The options that all have, the two ways a result is told, and how an error is."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from sekft_engine.core.errors import SekftError


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


def run_main(main: Callable[[], None]) -> None:
    """Call ``main``; an error that says what to do is a line, as it is for the commands."""
    try:
        main()
    except SekftError as error:
        print(f"benchmark: error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


def p50_p95(values: Sequence[float]) -> tuple[float, float]:
    """The median, and what one in twenty is above."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
