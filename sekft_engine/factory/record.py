"""Record the session of a bundle's reference solution, as a trajectory to train on."""

from __future__ import annotations

import msgspec

from sekft_engine.data.dialect import DEFAULT_DIALECT, Dialect
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.episodes.reference import run_reference
from sekft_engine.worlds import CommandResult, Limits, World, open_world


def rollout(
    scenario: Scenario,
    *,
    sandbox: str = "auto",
    userland: str = "auto",
    dialect: Dialect = DEFAULT_DIALECT,
    limits: Limits | None = None,
) -> tuple[Trajectory, tuple[CommandResult, ...]]:
    """One session of the reference solution.

    Returns:
        The trajectory and each command's result. The trajectory holds no times, so that the same
        bundle gives the same bytes.

    Raises:
        Unavailable, WorldBroken, BadInput: as :func:`~sekft_engine.worlds.open_world`.
    """

    def world_of(wanted: Scenario) -> World:
        return open_world(
            wanted, sandbox=sandbox, userland=userland, dialect=dialect, limits=limits
        )

    session = run_reference(scenario, world_of)
    recorded, verdict = session.finished.trajectory, session.finished.verdict
    trajectory = msgspec.structs.replace(
        recorded,
        id=scenario.id,
        turns=_turns(recorded, scenario.mistakes),
        meta={
            "clean": verdict.clean,
            "terminal": scenario.terminal,
            "difficulty": scenario.difficulty,
            "doc_depth": scenario.doc_depth,
            "dialect": dialect.digest,
        },
    )
    return trajectory, session.results


def _turns(recorded: Trajectory, mistakes: tuple[int, ...]) -> tuple[Turn, ...]:
    """The turns without times; commands that are mistakes are not to be trained."""
    out, number = [], 0
    for turn in recorded.turns:
        train = not (turn.is_command and number in mistakes)
        number += turn.is_command
        out.append(msgspec.structs.replace(turn, t=None, train=train))
    return tuple(out)
