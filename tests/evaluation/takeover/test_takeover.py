"""A person takes over: the world is as it was at that turn, and what comes of it can be trained
on."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sekft_engine.core.errors import BadInput
from sekft_engine.data.scenario import Fixture, Scenario
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.episodes.command_turn import CommandTurn
from sekft_engine.episodes.episode import Episode
from sekft_engine.episodes.store import read_episode, write_episode
from sekft_engine.records import jobs
from sekft_engine.records.runs import create_run
from sekft_engine.sources import load_trajectories
from sekft_engine.takeover.draft_files import drafts_folder
from sekft_engine.takeover.keep import Keeper, folder_for
from sekft_engine.takeover.origin import (
    last_turn,
    origin_of_scenario,
    origin_of_session,
)
from sekft_engine.takeover.takeover import TakeOver
from sekft_engine.takeover.view import TakeOverView
from sekft_engine.worlds import open_world
from sekft_engine.worlds.shell.session import ShellWorld

Make = Callable[..., Scenario]
SECONDS = 120.0


@pytest.fixture
def place(tmp_path: Path, tiny_base: Path, make_scenario: Make) -> Workspace:
    """A workspace with a held-out world, a training world and the tiny base."""
    made = Workspace(tmp_path / "place").create()
    (made.bases / "tiny").symlink_to(tiny_base)
    for folder, name in ((made.holdout_scenarios, "copy-1"), (made.train_scenarios, "copy-2")):
        text = json.dumps(make_scenario(name).to_json())
        (folder / f"{name}.json").write_text(text)
    return made


@pytest.fixture
def taken() -> Iterator[Callable[..., TakeOver]]:
    """Take-overs that are left after the test, whatever happened in it."""
    all_of_them: list[TakeOver] = []

    def begin(find: Callable[[], Any], place: Workspace, **more: Any) -> TakeOver:
        more.setdefault("keeper", Keeper(place.base, place))
        session = TakeOver(find, base=place.base, **more).start()
        all_of_them.append(session)
        return session

    yield begin
    for session in all_of_them:
        session.close()
    assert all(session.join(SECONDS) for session in all_of_them)


@pytest.fixture
def engine(place: Workspace) -> Iterator[Engine]:
    started = Engine(place, nice=0).start()
    yield started
    started.close()


def record(place: Workspace, scenario: Scenario, commands: Sequence[str], **about: Any) -> Path:
    """An episode of an eval, typed by a script in a real world."""
    run = create_run(place.runs, "eval", about={"scenarios": str(place.holdout_scenarios)} | about)
    episode = Episode(scenario, "script", step_cap=len(commands), open_world=open_world)
    episode.open()
    for command in commands:
        if not episode.over:
            episode.type(CommandTurn(text=command))
    run.episodes.mkdir()
    path = write_episode(run.episodes, "script", episode.finish())
    run.close()
    return path


def asked(session: TakeOver) -> TakeOverView:
    """The view once it is the person's turn, or all is over."""
    view = session.wait("ready", "over", "failed", timeout=SECONDS)
    assert view.state in ("ready", "over", "failed"), view
    return view


def type_all(session: TakeOver, *commands: str) -> TakeOverView:
    for command in commands:
        assert session.type(command), session.view
        asked(session)
    return session.view


def typists(view: TakeOverView) -> list[tuple[str, str]]:
    return [(str(turn.extra["by"]), turn.content) for turn in view.turns if turn.is_command]


def test_one_goes_on_where_a_session_had_come_to_and_keeps_what_can_be_trained_on(
    place: Workspace, make_scenario: Make, taken: Callable[..., TakeOver]
) -> None:
    path = record(place, make_scenario(), ["quil", "touch copy.txt", "exit"])
    session = taken(lambda: origin_of_session(path, 3, place), place)
    view = asked(session)
    assert view.state == "ready"
    assert view.differences == ()
    assert view.turns[-1].content == read_episode(path).trajectory.turns[2].content
    assert not view.unsaved
    view = type_all(session, "cp word.txt copy.txt", "exit")
    assert view.state == "over"
    assert view.unsaved
    assert view.finished is not None
    assert view.finished.verdict.keep
    assert typists(view) == [
        ("script", "quil"),
        ("hand", "cp word.txt copy.txt"),
        ("hand", "exit"),
    ]
    folder = folder_for(session.origin, place)
    assert session.keep(folder)
    view = asked(session)
    assert view.kept is not None, view.problem
    assert view.kept.passed_over == ""
    assert view.kept.certificate["ok"] is True
    assert not view.unsaved

    (kept,) = load_trajectories(folder).trajectories  # what `sekft train --data` reads
    assert kept.id == view.kept.id
    assert kept.keep
    assert kept.commands == ("quil", "cp word.txt copy.txt", "exit")
    assert kept.meta["certificate"]["ok"] is True
    told = kept.meta["takeover"]
    assert (told["run"], told["episode"], told["turn"]) == ("001-eval", path.stem, 3)
    assert (told["hand"], told["models"], told["differences"]) == ([3, 5], [], [])


def test_a_session_of_a_held_out_world_is_not_put_with_the_data(
    place: Workspace, taken: Callable[..., TakeOver]
) -> None:
    session = taken(lambda: origin_of_scenario("copy-1", place), place)
    asked(session)
    assert session.origin.heldout
    assert folder_for(session.origin, place) == place.root / "takeovers"
    session = taken(lambda: origin_of_scenario("copy-2", place), place)
    asked(session)
    assert folder_for(session.origin, place) == place.trajectories
    view = type_all(session, "quil", "cp word.txt copy.txt", "exit")
    assert view.finished is not None
    assert view.finished.verdict.keep
    session.keep(place.trajectories)
    asked(session)
    (kept,) = load_trajectories(place.trajectories).trajectories
    assert kept.meta["takeover"]["hand"] == [1, 3, 5]
    assert kept.meta["takeover"]["turn"] == 0


def test_answers_that_are_not_as_recorded_are_told_turn_by_turn(
    place: Workspace, make_scenario: Make, taken: Callable[..., TakeOver]
) -> None:
    path = record(place, make_scenario(), ["cat word.txt", "grep plover word.txt", "pwd", "exit"])
    other = msgspec.structs.replace(
        make_scenario(), fixtures=(Fixture(path="word.txt", content="curlew\n"),)
    )
    (place.holdout_scenarios / "copy-1.json").write_text(json.dumps(other.to_json()))
    session = taken(lambda: origin_of_session(path, 7, place), place)
    view = asked(session)
    told = {one.turn: one for one in view.differences}
    assert sorted(told) == [2, 3, 4]
    assert "plover" in told[2].recorded
    assert "curlew" in str(told[2].now)
    assert (told[3].recorded_status, told[3].now_status) == (0, 1)
    # The person may go on in the world as it is now.
    view = type_all(session, "cp word.txt copy.txt", "exit")
    assert view.finished is not None
    assert [one["turn"] for one in view.finished.trajectory.meta["takeover"]["differences"]] == [
        2, 3, 4,
    ]  # fmt: skip


def test_undo_forks_the_world_as_it_was_then(
    place: Workspace, taken: Callable[..., TakeOver]
) -> None:
    session = taken(lambda: origin_of_scenario("copy-2", place), place)
    asked(session)
    view = type_all(session, "touch first", "touch second", "ls")
    assert "first" in view.turns[-1].content
    assert "second" in view.turns[-1].content
    assert session.rewind(3)
    view = asked(session)
    assert [name for _, name in typists(view)] == ["touch first"]
    view = type_all(session, "ls")
    assert "first" in view.turns[-1].content
    assert "second" not in view.turns[-1].content
    view = type_all(session, "exit")
    assert view.state == "over"
    assert session.rewind(0)  # also once it is judged
    view = asked(session)
    assert view.state == "ready"
    assert len(view.turns) == 1
    assert not view.unsaved


def test_it_is_known_how_many_commands_are_typed_again(
    place: Workspace, make_scenario: Make, taken: Callable[..., TakeOver]
) -> None:
    path = record(place, make_scenario(), ["quil", "touch copy.txt", "exit"])
    session = taken(lambda: origin_of_session(path, 3, place), place)
    assert asked(session).retyped == 1
    assert session.rewind(1)
    assert asked(session).retyped == 0, "it is the first prompt again"
    assert asked(taken(lambda: origin_of_scenario("copy-1", place), place)).retyped == 0


def test_a_hanging_command_is_interrupted_and_the_session_goes_on(
    place: Workspace, taken: Callable[..., TakeOver]
) -> None:
    session = taken(lambda: origin_of_scenario("copy-2", place), place)
    asked(session)
    assert session.type("sleep 9.5; sleep 9.5")
    while session.wait("ready", timeout=0.1).state == "running":
        session.interrupt()
    view = session.view
    assert view.turns[-1].content.startswith("^C")
    assert view.turns[-2].exit_status == 130
    assert type_all(session, "echo here").turns[-1].content.startswith("here")


def test_what_cannot_be_certified_is_refused_with_the_reason_and_nothing_is_lost(
    place: Workspace, taken: Callable[..., TakeOver]
) -> None:
    keeper = Keeper(place.base, place, max_length=64)
    session = taken(lambda: origin_of_scenario("copy-2", place), place, keeper=keeper)
    asked(session)
    type_all(session, "quil", "cp word.txt copy.txt", "exit")
    assert session.keep(place.trajectories)
    view = asked(session)
    assert view.kept is None
    assert "too long" in view.problem
    assert view.unsaved
    assert [*place.trajectories.iterdir()] == []
    assert session.rewind(5)  # go on from there, and end it otherwise
    assert asked(session).state == "ready"


def test_what_is_pasted_too_much_is_not_typed_and_costs_nothing(
    place: Workspace, taken: Callable[..., TakeOver]
) -> None:
    session = taken(lambda: origin_of_scenario("copy-2", place), place)
    asked(session)
    assert not session.type("ls " * 30_000)
    assert session.view.problem == "not typed, because it is too long: 90000 bytes, at most 65536"
    assert session.view.state == "ready"
    view = type_all(session, "cp word.txt copy.txt", "exit")
    assert view.finished is not None
    assert view.finished.verdict.keep


def test_a_world_that_fails_ends_the_session_by_name_and_one_goes_on_before_that(
    place: Workspace, taken: Callable[..., TakeOver], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = taken(lambda: origin_of_scenario("copy-2", place), place)
    asked(session)
    type_all(session, "ls")
    with monkeypatch.context() as broken:
        broken.setattr(ShellWorld, "run", lambda *_: (_ for _ in ()).throw(RecursionError("deep")))
        view = type_all(session, "quil")
    assert view.state == "over"
    assert view.finished is not None
    assert view.finished.verdict.invalid == "RecursionError: deep"
    session.keep(place.trajectories)
    assert "it does not count: RecursionError: deep" in asked(session).problem
    session.rewind(3)
    assert asked(session).state == "ready"
    assert type_all(session, "cp word.txt copy.txt", "exit").state == "over"


def test_a_session_that_is_not_worth_training_on_is_kept_and_says_so(
    place: Workspace, taken: Callable[..., TakeOver]
) -> None:
    session = taken(lambda: origin_of_scenario("copy-2", place), place)
    asked(session)
    type_all(session, "ls")
    assert session.finish()
    view = asked(session)
    assert view.finished is not None
    assert view.finished.verdict.outcome == "cap"
    session.keep(place.trajectories)
    view = asked(session)
    assert view.kept is not None
    assert "did not end by itself" in view.kept.passed_over
    loaded = load_trajectories(place.trajectories)
    assert [one.reason for one in loaded.skipped] == ["not_kept"]


def test_where_the_checker_fails_one_sees_what_the_reference_would_have_left(
    place: Workspace, taken: Callable[..., TakeOver]
) -> None:
    news = threading.Event()
    session = taken(lambda: origin_of_scenario("copy-2", place), place, changed=news.set)
    asked(session)
    type_all(session, "echo other > copy.txt", "exit")
    while session.view.against is None:  # the verdict is told first
        assert news.wait(SECONDS)
        news.clear()
    (one,) = session.view.against.differences
    assert one.path.endswith("copy.txt")
    assert any("plover" in line for line in one.lines)


def test_there_is_no_taking_over_after_the_end(place: Workspace, make_scenario: Make) -> None:
    path = record(place, make_scenario(), ["ls", "exit"])
    assert last_turn(read_episode(path).trajectory) == 3
    with pytest.raises(BadInput, match="at turn 5: turn 4 ended the session"):
        origin_of_session(path, 4, place)
    with pytest.raises(BadInput, match="no turn 10"):
        origin_of_session(path, 9, place)
    assert origin_of_session(path, 3, None).heldout is None, "no workspace tells"
    capped = record(place, make_scenario(), ["ls", "ls"])
    assert origin_of_session(capped, None, place).turn == 5
    (place.holdout_scenarios / "copy-1.json").unlink()
    with pytest.raises(BadInput, match="--scenarios"):
        origin_of_session(path, 3, place)


def test_handed_back_at_any_turn_a_greedy_model_goes_on_as_it_did(
    place: Workspace, engine: Engine, taken: Callable[..., TakeOver]
) -> None:
    from sekft_engine.engine.run_job import run_job

    run_job(
        jobs.Evaluate(
            base=place.base,
            scenarios=str(place.holdout_scenarios),
            n=1,
            exact=True,
            step_cap=3,
            turn_tokens=6,
        ),
        place,
        engine=engine,
    )
    (path,) = place.runs.glob("*/episodes/*.json")
    before = read_episode(path).trajectory.turns
    for turn in (1, 3):
        session = taken(
            lambda turn=turn: origin_of_session(path, turn, place), place, engine=engine, step_cap=3
        )
        asked(session)
        assert session.hand_back()
        view = asked(session)
        assert view.problem == ""
        assert view.state == "over"
        assert [one.content for one in view.turns] == [one.content for one in before]
        assert [one.ids for one in view.turns] == [one.ids for one in before]


def test_person_and_model_take_turns_and_it_is_told_who_typed_what(
    place: Workspace, engine: Engine, taken: Callable[..., TakeOver]
) -> None:
    session = taken(lambda: origin_of_scenario("copy-2", place), place, engine=engine)
    asked(session)
    type_all(session, "ls")
    assert session.hand_back(turns=1)
    view = asked(session)
    assert view.problem == ""
    assert [by for by, _ in typists(view)] == ["hand", "base"]
    view = type_all(session, "exit")
    assert view.finished is not None
    told = view.finished.trajectory.meta["takeover"]
    assert told["hand"] == [1, 5]
    ((model),) = told["models"]
    assert (model["subject"], model["adapter"], model["turns"]) == ("base", "", [3])
    assert len(model["base"]) == 64


def test_handing_back_waits_for_the_job_that_runs_and_can_be_taken_back(
    place: Workspace, taken: Callable[..., TakeOver]
) -> None:
    began, go_on = threading.Event(), threading.Event()

    def long_job(_job: Any, _context: Any) -> dict[str, Any]:
        began.set()
        go_on.wait(SECONDS)
        return {}

    engine = Engine(place, nice=0, handlers={jobs.Load: long_job}).start()
    try:
        engine.submit(jobs.Load(base="whatever"))
        assert began.wait(SECONDS)
        session = taken(lambda: origin_of_scenario("copy-2", place), place, engine=engine)
        assert asked(session).state == "ready"
        type_all(session, "ls")  # hands need no engine
        assert session.hand_back(turns=1)
        assert session.view.state == "model"
        assert not session.type("pwd")
        assert session.take_back()
        assert asked(session).state == "ready"
        assert type_all(session, "pwd").turns[-1].content.startswith("/home/user")
    finally:
        go_on.set()
        engine.close()


def test_what_is_typed_lies_on_disk_until_it_is_kept_or_left(
    place: Workspace, taken: Callable[..., TakeOver]
) -> None:
    drafts = drafts_folder(place)
    assert drafts is not None
    session = taken(lambda: origin_of_scenario("copy-2", place), place, drafts=drafts)
    asked(session)
    assert not drafts.exists()
    type_all(session, "quil", "cp word.txt copy.txt")
    (draft,) = drafts.iterdir()
    assert draft.name.startswith(".")  # no reader takes it for data
    # Whoever lost the terminal goes on from it.
    again = taken(lambda: origin_of_session(draft, None, place), place)
    view = asked(again)
    assert [name for _, name in typists(view)] == ["quil", "cp word.txt copy.txt"]
    view = type_all(again, "exit")
    assert view.finished is not None
    assert view.finished.verdict.keep
    assert view.finished.trajectory.meta["takeover"]["hand"] == [1, 3, 5]
    again.close()
    assert again.join(SECONDS)
    assert [*drafts.iterdir()] == [draft]
    session.close(discard=True)
    assert session.join(SECONDS)
    assert [*drafts.iterdir()] == []
