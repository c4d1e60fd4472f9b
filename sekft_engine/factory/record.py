"""Record: type a bundle's reference solution into its real world and keep what happened."""

from __future__ import annotations

from sekft_engine.dialect import DEFAULT_DIALECT, Dialect
from sekft_engine.evaluate.clean import is_prose
from sekft_engine.evaluate.command_turn import well_formed
from sekft_engine.scenario import Scenario
from sekft_engine.trajectory import Outcome, Trajectory, Turn
from sekft_engine.worlds import CommandResult, Limits, open_world

_OUTCOMES: dict[str, Outcome] = {"exit": "exit", "panic": "panic", "died": "error", "": "cap"}


def rollout(
    scenario: Scenario,
    *,
    sandbox: str = "auto",
    userland: str = "auto",
    dialect: Dialect = DEFAULT_DIALECT,
    limits: Limits | None = None,
) -> tuple[Trajectory, tuple[CommandResult, ...]]:
    """One session of the reference solution: the trajectory and each command's result.

    The trajectory holds no times, so that the same bundle gives the same bytes.
    """
    turns: list[Turn] = []
    transcript: list[CommandResult] = []
    with open_world(
        scenario, sandbox=sandbox, userland=userland, dialect=dialect, limits=limits
    ) as world:
        turns.append(Turn(role="user", content=world.login))
        for command in map(well_formed, scenario.reference_solution):
            result = world.run(command)
            transcript.append(result)
            turns.append(Turn(role="assistant", content=command, exit_status=result.status))
            if result.ended:
                break
            turns.append(Turn(role="user", content=world.environment_turn(result)))
        verdict = world.check()
    outcome = _OUTCOMES[transcript[-1].ended if transcript else ""]
    known = frozenset({scenario.provider.name})
    clean = not any(
        is_prose(result.command, status=result.status, known=known) for result in transcript
    )
    trajectory = Trajectory(
        id=scenario.id,
        scenario=scenario.id,
        archetype=scenario.archetype,
        provider=scenario.provider.name,
        announcement=scenario.announcement.channel,
        turns=tuple(turns),
        steps=len(transcript),
        outcome=outcome,
        verified=verdict.passed,
        keep=outcome == scenario.terminal and verdict.passed and clean,
        meta={
            "clean": clean,
            "terminal": scenario.terminal,
            "difficulty": scenario.difficulty,
            "doc_depth": scenario.doc_depth,
            "dialect": dialect.digest,
        },
    )
    return trajectory, tuple(transcript)
