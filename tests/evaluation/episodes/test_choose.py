"""The choice of scenarios is fixed by its seed and spread evenly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from sekft_engine.core.errors import BadInput
from sekft_engine.data.scenario import Scenario
from sekft_engine.episodes.choose import choose_scenarios


@pytest.fixture
def bundles(make_scenario: Callable[..., Scenario]) -> list[Scenario]:
    return [
        make_scenario(
            f"{archetype}-{number}", archetype, terminal="panic" if number % 4 == 0 else "exit"
        )
        for archetype in ("copy", "merge", "prune")
        for number in range(16)
    ]


def test_archetypes_and_terminals_take_turns(bundles: list[Scenario]) -> None:
    chosen = choose_scenarios(bundles, 12, seed=1)
    assert Counter(scenario.archetype for scenario in chosen) == {"copy": 4, "merge": 4, "prune": 4}
    assert Counter(scenario.terminal for scenario in chosen) == {"exit": 6, "panic": 6}
    counts = Counter(scenario.archetype for scenario in choose_scenarios(bundles, 16, seed=1))
    assert max(counts.values()) - min(counts.values()) <= 1


def test_the_seed_fixes_the_order_whatever_order_the_files_came_in(
    bundles: list[Scenario],
) -> None:
    assert choose_scenarios(bundles, 16, 3) == choose_scenarios(bundles[::-1], 16, 3)
    assert choose_scenarios(bundles, 16, 3) != choose_scenarios(bundles, 16, 4)


def test_a_larger_n_only_adds(bundles: list[Scenario]) -> None:
    assert choose_scenarios(bundles, 20, 3)[:9] == choose_scenarios(bundles, 9, 3)
    assert len({one.id for one in choose_scenarios(bundles, 0, 3)}) == len(bundles)


def test_asking_for_more_than_there_are_is_refused(bundles: list[Scenario]) -> None:
    with pytest.raises(BadInput, match="only 48"):
        choose_scenarios(bundles, 49, 0)
