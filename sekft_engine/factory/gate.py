"""The reference gate: a bundle is admitted only if its own solution proves it, in a real world."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from sekft_engine.bundle_check import check_bundle
from sekft_engine.dialect import DEFAULT_DIALECT, Dialect
from sekft_engine.errors import SekftError, Unavailable
from sekft_engine.factory.record import rollout
from sekft_engine.scenario import Scenario
from sekft_engine.trajectory import Trajectory
from sekft_engine.worlds import Limits, check_untouched


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a bundle passed the gate, why not, and the recorded reference session."""

    scenario: str
    admitted: bool
    reason: str = ""
    trajectory: Trajectory | None = None


def admit_one(
    scenario: Scenario,
    *,
    sandbox: str = "auto",
    userland: str = "auto",
    dialect: Dialect = DEFAULT_DIALECT,
    limits: Limits | None = None,
) -> Admission:
    """Try one bundle: its checker must fail before, and pass after, its own solution.

    What the bundle says is checked before anything of it runs.

    Raises:
        Unavailable: there is no sandbox here.
    """

    def refuse(reason: str, trajectory: Trajectory | None = None) -> Admission:
        return Admission(scenario=scenario.id, admitted=False, reason=reason, trajectory=trajectory)

    try:
        check_bundle(scenario, scenario.id)
        if check_untouched(scenario, sandbox=sandbox, userland=userland, limits=limits).passed:
            return refuse("the checker passes on the untouched world")
        trajectory, _ = rollout(
            scenario, sandbox=sandbox, userland=userland, dialect=dialect, limits=limits
        )
    except Unavailable:  # says something of this machine, and nothing of the bundle
        raise
    except SekftError as error:
        return refuse(str(error))
    if trajectory.outcome != scenario.terminal:
        return refuse(
            f"the solution ends by {trajectory.outcome}, not by {scenario.terminal}", trajectory
        )
    if not trajectory.verified:
        return refuse("the checker fails after the solution", trajectory)
    return Admission(scenario=scenario.id, admitted=True, trajectory=trajectory)


def admit(
    bundles: Iterable[Scenario],
    *,
    sandbox: str = "auto",
    userland: str = "auto",
    dialect: Dialect = DEFAULT_DIALECT,
    limits: Limits | None = None,
) -> tuple[Admission, ...]:
    """The gate's answer for each bundle, in order."""
    return tuple(
        admit_one(bundle, sandbox=sandbox, userland=userland, dialect=dialect, limits=limits)
        for bundle in bundles
    )
