"""How long an eval has yet to go."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from sekft_engine.records import events
from sekft_tui.model.evaluation import EvalEvent, EvalView
from tests.tui.scripted import verdict

WORLDS = ["tidy-000", "tidy-001", "tidy-002", "tidy-003"]


def begun(t: float) -> events.EvalStarted:
    return events.EvalStarted(
        job="eval-1", t=t, subjects=["base", "oracle", "exit"], scenarios=WORLDS,
        archetypes=["tidy"] * 4, controls=["oracle", "exit"],
    )  # fmt: skip


def episode(subject: str, world: str, start: float, end: float) -> Iterator[EvalEvent]:
    """Of eleven turns."""
    yield events.EpisodeStarted(job="eval-1", t=start, subject=subject, scenario=world)
    for number in range(11):
        yield events.TurnDone(
            job="eval-1", t=start, subject=subject, scenario=world, number=number,
            role="assistant", content="ls", at=1.0,
        )  # fmt: skip
    yield msgspec.structs.replace(verdict(subject, world, "good"), t=end)


def shown(*happened: EvalEvent) -> EvalView:
    view = EvalView()
    for event in happened:
        view.apply(event)
    return view


def test_controls_that_wait_are_not_taken_to_be_as_slow_as_models() -> None:
    view = shown(begun(10.0), *episode("base", WORLDS[0], 10.0, 70.0))
    assert view.eta(70.0) == 3 * 60.0
    for event in episode("oracle", WORLDS[0], 70.0, 71.0):
        view.apply(event)
    assert view.eta(71.0) == 3 * 60.0 + 3 + 4


def test_the_time_between_stop_and_resume_makes_nothing_slower() -> None:
    one = list(episode("base", WORLDS[0], 10.0, 70.0))
    view = shown(begun(10.0), *one, begun(7270.0))  # two hours later
    assert view.eta(7270.0) == 3 * 60.0
    assert view.pace == (60.0, 1)


def test_nothing_is_said_before_a_model_has_ended_an_episode() -> None:
    assert shown(begun(10.0), *episode("oracle", WORLDS[0], 10.0, 11.0)).eta(11.0) is None


def test_only_what_the_last_end_cut_off_is_said_to_be_in_play() -> None:
    view = shown(begun(10.0), *list(episode("base", WORLDS[0], 10.0, 70.0))[:5])
    view.stop()
    assert view.in_play == 1
    for event in (begun(90.0), *episode("base", WORLDS[0], 90.0, 95.0)):
        view.apply(event)
    assert view.in_play == 0
