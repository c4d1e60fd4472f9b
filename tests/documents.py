"""Jobs run as commands run them, with their results as the commands print them."""

from __future__ import annotations

from typing import Any

import msgspec

from sekft_engine.engine.run_job import run_job


def document(result: object) -> dict[str, Any]:
    """What ``--json`` shows of a result, an event or the facts of a run."""
    found: dict[str, Any] = msgspec.to_builtins(result)
    return found


def run_document(*arguments: Any, **options: Any) -> dict[str, Any]:
    """The JSON document of a job, done by :func:`~sekft_engine.engine.run_job.run_job`."""
    return document(run_job(*arguments, **options))
