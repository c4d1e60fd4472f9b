"""The reference gate: a bundle is admitted if its solution passes its checker in a real world."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from sekft_engine.core.errors import SekftError, Unavailable
from sekft_engine.data.bundle_check import check_bundle
from sekft_engine.data.dialect import DEFAULT_DIALECT, Dialect
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.factory.record import rollout
from sekft_engine.worlds import Limits, check_untouched


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """The gate's decision about a bundle.

    Attributes:
        scenario: the bundle's id.
        admitted: whether it passed.
        reason: why it did not.
        trajectory: the session of its solution, where there was one.
    """

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
    """Try a bundle: its checker must fail in the untouched world, and pass after its solution.

    The bundle's fields are checked before anything of it runs.

    Raises:
        Unavailable: this machine has no such sandbox.
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
    except Unavailable:  # a fault of this machine, not of the bundle
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
    """The gate's decision about each bundle, in order."""
    return tuple(
        admit_one(bundle, sandbox=sandbox, userland=userland, dialect=dialect, limits=limits)
        for bundle in bundles
    )
