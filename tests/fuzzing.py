"""How many examples properties and fuzzers try: few within the suite, as many as one likes by hand.

``HYPOTHESIS_PROFILE=thorough pytest tests/...`` tries twice as many, and
``HYPOTHESIS_PROFILE=fuzz timeout 1800 pytest tests/...::test_name`` goes on for half an hour.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"
THOROUGH = LONG or os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


def examples(thorough: int) -> int:
    """How many a property tries that is to try ``thorough`` of them at a thorough look."""
    return thorough if THOROUGH else (thorough + 1) // 2


def fuzz(thorough: int) -> settings:
    """Settings of a fuzzer that tries ``thorough`` examples at a thorough look."""
    return settings(
        max_examples=settings.default.max_examples
        if LONG and settings.default
        else examples(thorough),
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
