"""Which scenarios an eval takes: in an order that a seed fixes, spread evenly; their digests."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import TypeVar

from sekft_engine.documents import encode
from sekft_engine.errors import BadInput
from sekft_engine.scenario import Scenario

Item = TypeVar("Item")


def choose_scenarios(scenarios: Sequence[Scenario], n: int, seed: int) -> tuple[Scenario, ...]:
    """Take ``n`` scenarios (0 = all) in a fixed order for ``seed``.

    Archetypes take turns; within an archetype the two terminals take turns, so any ``n`` is as
    evenly spread as the bundles allow, and a larger ``n`` only adds to a smaller one.
    """
    if not scenarios:
        raise BadInput("no scenarios", where="--scenarios", mend="make some: sekft factory make")
    if n > len(scenarios):
        raise BadInput(
            f"only {len(scenarios)} scenarios for n={n}", where="--n", mend="make more, or lower n"
        )
    random_order = random.Random(seed)  # noqa: S311 - a shuffle that anyone may repeat
    shuffled = sorted(scenarios, key=lambda scenario: scenario.id)
    random_order.shuffle(shuffled)
    groups: dict[str, list[Scenario]] = {}
    for scenario in shuffled:
        groups.setdefault(scenario.archetype, []).append(scenario)
    spread = [
        _take_turns(
            [
                [scenario for scenario in group if scenario.terminal == terminal]
                # Which terminal goes first alternates too, or every odd count would favour one.
                for terminal in (("exit", "panic") if number % 2 == 0 else ("panic", "exit"))
            ]
        )
        for number, (_, group) in enumerate(sorted(groups.items()))
    ]
    ordered = _take_turns(spread)
    return tuple(ordered[: n or None])


def scenario_digest(scenario: Scenario) -> str:
    """SHA-256 over what a scenario holds. Names tell little: a factory gives the same ones again
    with every seed."""
    return hashlib.sha256(_content(scenario)).hexdigest()


def scenarios_digest(scenarios: Iterable[Scenario]) -> str:
    """SHA-256 over what the scenarios hold, whatever their order."""
    total = hashlib.sha256()
    for scenario in sorted(scenarios, key=lambda one: one.id):
        total.update(_content(scenario))
    return total.hexdigest()


def _content(scenario: Scenario) -> bytes:
    return encode(scenario.to_json(), order="deterministic")


def _take_turns(groups: Iterable[Sequence[Item]]) -> list[Item]:
    """One of each group in turn, until all are empty."""
    return [item for row in zip_longest(*groups) for item in row if item is not None]
