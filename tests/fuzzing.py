"""Fuzzers: short within the suite, as long as one likes by hand.

``HYPOTHESIS_PROFILE=fuzz timeout 1800 pytest tests/...::test_name`` runs one for half an hour.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"


def fuzz(examples: int) -> settings:
    """Settings of a fuzzer that tries so many ``examples`` within the suite."""
    return settings(
        max_examples=settings.default.max_examples if LONG and settings.default else examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
