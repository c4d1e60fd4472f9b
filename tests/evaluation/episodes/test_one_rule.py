"""Whoever types a session, one rule says whether it is clean and worth training on."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from sekft_engine.data.scenario import Fixture, Provider, Scenario
from sekft_engine.data.trajectory import Turn
from sekft_engine.episodes.clean import known_programs, why_prose
from sekft_engine.episodes.episode import Episode, FinishedEpisode
from sekft_engine.episodes.reference import run_reference
from sekft_engine.factory import admit, rollout
from sekft_engine.operators.runner import run_episodes
from sekft_engine.takeover.keep import Keeper
from sekft_engine.takeover.origin import Origin
from sekft_engine.takeover.takeover import TakeOver
from sekft_engine.worlds import open_world
from tests.evaluation.conftest import Scripted

Make = Callable[..., Scenario]
#: Reads like English and fails: only who knows the program knows that it is a command.
FREE_TEXT = "the disk is full and the log is gone"
WORK = "cp word.txt copy.txt"

#: The commands of a session, whether all of them are commands, and whether it is kept.
SESSIONS = {
    "the work alone": ((WORK, "exit"), True, True),
    "a fixture by its name fails": ((f"noter {FREE_TEXT}", WORK, "exit"), True, True),
    "a fixture by its path fails": ((f"bin/noter {FREE_TEXT}", WORK, "exit"), True, True),
    "a fixture by another path": ((f"./bin/noter {FREE_TEXT}", WORK, "exit"), True, True),
    "the provider by its path": ((f"/usr/local/bin/quil {FREE_TEXT}", WORK, "exit"), True, True),
    "a file that is no program": ((f"plain {FREE_TEXT}", WORK, "exit"), False, False),
    "a sentence": (("I will copy the file now.", WORK, "exit"), False, False),
    "white space and a blank line": ((f"  {WORK} \n", "", "exit"), True, True),
    "a turn too long to type": (("true\n" * 1100, WORK, "exit"), False, False),
    "the wrong terminal": ((WORK, "panic I am lost"), True, False),
    "no terminal": ((WORK,), True, False),
    "its own shell killed": ((WORK, "kill -9 $$"), True, False),
    "the work left out": (("exit",), True, False),
}


@pytest.fixture(params=SESSIONS)
def session(request: pytest.FixtureRequest, make_scenario: Make) -> tuple[Scenario, bool, bool]:
    """A bundle whose solution is that session, whether it is clean, and whether it is kept."""
    solution, clean, keep = SESSIONS[request.param]
    bundle = make_scenario()
    fixtures = (
        *bundle.fixtures,
        Fixture(path="bin/noter", content="#!/bin/sh\nexit 3\n", mode="0755"),
        Fixture(path="plain", content="nothing to run\n"),
    )
    script = '#!/bin/sh\n[ "$#" -lt 2 ]\n'
    provider = Provider(name="quil", path="/usr/local/bin/quil", script=script)
    return (
        msgspec.structs.replace(
            bundle, fixtures=fixtures, provider=provider, reference_solution=solution
        ),
        clean,
        keep,
    )


def test_exam_factory_gate_takeover_and_reference_agree(
    session: tuple[Scenario, bool, bool],
) -> None:
    scenario, clean, keep = session
    exam = typed_by_an_operator(scenario)
    reference = run_reference(scenario, open_world).finished
    recorded, _ = rollout(scenario)
    by_hand = typed_again_by_hand(scenario, recorded.turns)
    (admission,) = admit([scenario])
    found = {
        "exam": (exam.verdict.clean, exam.trajectory.keep),
        "take-over": (by_hand.verdict.clean, by_hand.trajectory.keep),
        "reference": (reference.verdict.clean, reference.trajectory.keep),
        "factory": (recorded.clean, recorded.keep),
    }
    if admission.trajectory is not None:  # else the bundle itself is refused
        found["gate"] = (admission.trajectory.clean, admission.trajectory.keep)
    assert found == dict.fromkeys(found, (clean, keep))
    assert exam.trajectory.commands == recorded.commands
    assert exam.trajectory.steps == recorded.steps
    assert exam.trajectory.outcome == recorded.outcome


def typed_by_an_operator(scenario: Scenario) -> FinishedEpisode:
    solution = scenario.reference_solution
    episode = Episode(scenario, "script", step_cap=len(solution), open_world=open_world)
    operator = Scripted({episode.key: solution})
    done: list[FinishedEpisode] = []
    run_episodes([episode], operator, rows=1, on_done=lambda _episode, end: done.append(end))
    return done[0]


def typed_again_by_hand(scenario: Scenario, turns: tuple[Turn, ...]) -> FinishedEpisode:
    """As a take-over types a recording again, ended where that ends."""
    origin = Origin(scenario=scenario, turns=turns, turn=len(turns))
    session = TakeOver(lambda: origin, keeper=Keeper("", None)).start()
    try:
        view = session.wait("ready", "over", "failed", timeout=120)
        if view.state == "ready":
            session.finish()
            view = session.wait("over", "failed", timeout=120)
        assert view.finished is not None, view
        return view.finished
    finally:
        session.close()
        assert session.join(120)


@pytest.mark.parametrize(
    "program", ["noter", "bin/noter", "./bin/noter", "~/bin/noter", "/home/user/bin/noter"]
)
def test_a_worlds_program_is_one_however_it_is_named(program: str, make_scenario: Make) -> None:
    scenario = msgspec.structs.replace(
        make_scenario(), fixtures=(Fixture(path="bin/noter", mode="0755"),)
    )
    known = known_programs(scenario)
    assert why_prose(f"{program} {FREE_TEXT}", status=3, known=known) == ""
    assert why_prose(f"{program}s {FREE_TEXT}", status=127, known=known)


def test_a_folder_and_a_plain_file_are_no_programs(make_scenario: Make) -> None:
    fixtures = (
        Fixture(path="notes/", mode="0755"),
        Fixture(path="list.txt", mode="0644"),
        Fixture(path="/srv/tool", mode="0711"),
    )
    scenario = msgspec.structs.replace(make_scenario(), fixtures=fixtures)
    assert known_programs(scenario) == {"quil", "tool"}
