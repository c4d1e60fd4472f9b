"""Whether the limit on commands leaves room for the reference solutions."""

from __future__ import annotations

from collections.abc import Sequence

from sekft_engine.data.scenario import Scenario


def too_low(scenarios: Sequence[Scenario], step_cap: int) -> str:
    """What is wrong with a limit that the reference solutions exceed; "" = all of them fit.

    Args:
        scenarios: the worlds that are acted in.
        step_cap: most command turns in each.
    """
    beyond = sum(len(scenario.reference_solution) > step_cap for scenario in scenarios)
    if not beyond:
        return ""
    worlds = f"{len(scenarios)} world{'s' * (len(scenarios) != 1)}"
    return f"the step cap of {step_cap} is below the reference solution of {beyond} of {worlds}"
