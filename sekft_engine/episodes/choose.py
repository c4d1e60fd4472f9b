"""Choose the scenarios of an eval, evenly spread and in an order fixed by a seed; digest them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import TypeVar

from sekft_engine.core.documents import encode
from sekft_engine.core.errors import BadInput
from sekft_engine.data.scenario import Scenario

Item = TypeVar("Item")


def choose_scenarios(scenarios: Sequence[Scenario], n: int, seed: int) -> tuple[Scenario, ...]:
    """Take ``n`` scenarios in an order that depends on ``seed`` alone.

    Archetypes take turns; within an archetype the two terminals take turns. So any ``n`` is as
    evenly spread as the bundles allow, and a larger ``n`` only adds to a smaller one.

    Args:
        scenarios: all that there are, in any order.
        n: how many to take; 0 = all.
        seed: fixes the order.

    Returns:
        ``n`` scenarios, in the order in which they are run.

    Raises:
        BadInput: there are no scenarios, or fewer than ``n``.
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
                # The first terminal alternates too, or odd counts would favour one of the two.
                for terminal in (("exit", "panic") if number % 2 == 0 else ("panic", "exit"))
            ]
        )
        for number, (_, group) in enumerate(sorted(groups.items()))
    ]
    ordered = _take_turns(spread)
    return tuple(ordered[: n or None])


def scenario_digest(scenario: Scenario) -> str:
    """SHA-256 over a scenario's content, in hexadecimal.

    Its name does not identify it: the factory gives the same names for every seed.
    """
    return hashlib.sha256(_content(scenario)).hexdigest()


def scenarios_digest(scenarios: Iterable[Scenario]) -> str:
    """SHA-256 over the scenarios' contents, in hexadecimal; their order does not matter."""
    total = hashlib.sha256()
    for scenario in sorted(scenarios, key=lambda scenario: scenario.id):
        total.update(_content(scenario))
    return total.hexdigest()


def _content(scenario: Scenario) -> bytes:
    return encode(scenario.to_json(), order="deterministic")


def _take_turns(groups: Iterable[Sequence[Item]]) -> list[Item]:
    """Take an item of each group in turn, until all groups are used up."""
    return [item for row in zip_longest(*groups) for item in row if item is not None]
