"""How the world that an episode left differs from what the reference solution leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from sekft_engine.cli.runs.command import command
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.workspace import Workspace
from sekft_engine.episodes import reference
from sekft_engine.episodes.command_turn import CommandTurn
from sekft_engine.episodes.divergence import first_divergence
from sekft_engine.episodes.episode import Episode, FinishedEpisode
from sekft_engine.episodes.state import Changes, changes_of, differences
from sekft_engine.episodes.store import write_episode
from sekft_engine.evaluation.report.document import document
from sekft_engine.evaluation.report.page import write_page
from sekft_engine.records.runs import RunInfo, create_run, read_run, reopen_run
from sekft_engine.worlds import open_world
from sekft_engine.worlds.trees.listing import Item, file_item

Make = Callable[..., Scenario]


def acted(scenario: Scenario, subject: str, commands: Sequence[str]) -> FinishedEpisode:
    """An episode in a real world."""
    episode = Episode(scenario, subject, step_cap=12, open_world=open_world)
    try:
        assert episode.open() is not None
        for text in commands:
            if episode.type(CommandTurn(text=text)) is None:
                break
        return episode.finish()
    finally:
        episode.close()


class Place:
    """A run of an eval on disk, with episodes by command."""

    def __init__(self, root: Path, scenario: Scenario) -> None:
        self.workspace = Workspace(root / "workspace").create()
        bundle = json.dumps(scenario.to_json())
        (self.workspace.holdout_scenarios / "one.json").write_text(bundle)
        about = {"scenarios": str(self.workspace.holdout_scenarios)}
        run = create_run(self.workspace.runs, "eval", about=about)
        run.episodes.mkdir()
        run.write(status="done")
        run.close()
        self.scenario = scenario
        self.folder = run.folder

    @property
    def run(self) -> RunInfo:
        return read_run(self.folder)

    def act(self, subject: str, *commands: str) -> FinishedEpisode:
        finished = acted(self.scenario, subject, commands)
        write_episode(self.folder / "episodes", subject, finished)
        return finished

    def say(self, *arguments: str, status: int = 0) -> str:
        place = ("--workspace", str(self.workspace.root))
        done = CliRunner().invoke(command, [*arguments, *place], standalone_mode=False)
        assert (done.return_value or 0) == status, done.output
        return done.stdout


@pytest.fixture
def place(tmp_path: Path, make_scenario: Make) -> Place:
    return Place(tmp_path, make_scenario())


def test_who_does_as_the_reference_leaves_the_same_world(place: Place) -> None:
    finished = place.act("good", "cat word.txt", "cp word.txt copy.txt", "exit")
    assert changes_of(finished.trajectory) == Changes(
        {"/home/user/copy.txt": file_item("0644", 7, b"plover\n")}
    )
    assert reference.state_difference(place.run, finished.trajectory).same
    said = place.say("diff", "001-eval", "good--copy-1")
    assert said == "the world is as the reference solution leaves it\n"


def test_what_is_missing_too_much_or_other_is_shown_line_by_line(place: Place) -> None:
    place.act(
        "poor",
        "printf 'plover\\n\\033[31mred\\n' > copy.txt; chmod 600 copy.txt",
        "rm word.txt; mkdir -p deep/down; ln -s /etc/passwd deep/down/out",
        "exit",
    )
    said = place.say("diff", "001-eval", "poor").splitlines()
    assert said == [
        "~ /home/user/copy.txt  16 bytes, not 7 bytes; mode 0600, not 0644",
        "     plover",
        "    +␛[31mred",
        "+ /home/user/deep  a folder, mode 0755",
        "+ /home/user/deep/down  a folder, mode 0755",
        "+ /home/user/deep/down/out  a link to /etc/passwd",
        "- /home/user/word.txt  a file of 7 bytes, mode 0644",
        "    -plover",
    ]
    told = json.loads(place.say("diff", "001-eval", "poor", "--json"))
    assert not told["same"]
    assert [(one["sign"], one["path"]) for one in told["differences"]][-1] == (
        "-",
        "/home/user/word.txt",
    )


def test_the_reference_is_typed_once_and_kept_with_the_run(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = place.act("idle", "exit")
    first = reference.state_difference(place.run, finished.trajectory)
    assert [(one.sign, one.path) for one in first.differences] == [("-", "/home/user/copy.txt")]

    def no_world(*_: object, **__: object) -> Any:
        raise AssertionError("a world was opened")

    monkeypatch.setattr(reference, "open_world", no_world)
    assert reference.state_difference(place.run, finished.trajectory) == first


def test_what_a_panic_says_is_no_difference(tmp_path: Path, make_scenario: Make) -> None:
    place = Place(tmp_path, make_scenario(terminal="panic"))
    finished = place.act("good", "panic I looked everywhere")
    assert reference.state_difference(place.run, finished.trajectory).same


def test_it_says_why_where_no_difference_can_be_told(place: Place) -> None:
    finished = place.act("good", "exit")
    trajectory = finished.trajectory
    old = msgspec.structs.replace(trajectory, meta={"subject": "good"})
    assert "not stored" in reference.state_difference(place.run, old).unknown
    (place.workspace.holdout_scenarios / "one.json").unlink()
    assert "was not found" in reference.state_difference(place.run, trajectory).unknown
    told = json.loads(place.say("diff", "001-eval", "good", "--json", status=2))
    assert "was not found" in told["unknown"]


def test_a_session_that_makes_very_much_leaves_a_small_record(make_scenario: Make) -> None:
    finished = acted(make_scenario(), "wild", ["seq 1 900 | xargs touch; yes | head -c 9000 >y"])
    found = changes_of(finished.trajectory)
    assert found is not None
    assert len(found.changed) == 200
    assert found.more > 700
    assert len(json.dumps(finished.trajectory.meta)) < 40_000


def test_what_could_not_be_read_is_not_called_different(make_scenario: Make) -> None:
    unread, read = Item("file", "0000", 3), file_item("0000", 3, b"abc")
    a, b = Changes({"/home/user/s": unread}), Changes({"/home/user/s": read})
    assert differences(make_scenario(), a, b) == ()


def test_two_episodes_are_told_up_to_where_they_part(place: Place) -> None:
    place.act("base", "ls", "cat word.txt", "exit")
    place.act("adapter", "ls ", "cp word.txt copy.txt", "exit")
    said = place.say("replay", "001-eval", "base--copy-1", "--beside", "adapter")
    assert said.count("$ ls  [turn 2]\n") == 1, "what both did is told once"
    assert "cat word.txt  [turn 4]" in said
    assert "here they part, at turn 4" in said
    assert said.index("here they part") < said.index("cat word.txt") < said.index("cp word.txt")
    assert "the checker ended with 0" in said
    told = json.loads(place.say("replay", "001-eval", "base", "--beside", "adapter", "--json"))
    assert (told["part_at"], told["part_turn"]) == (3, 4)
    assert [one["subject"] for one in told["episodes"]] == ["base", "adapter"]
    assert told["episodes"][0]["turns"][3]["content"] == "cat word.txt"


def test_sessions_part_at_the_first_other_command_or_where_one_ends() -> None:
    def turns(*commands: str) -> list[tuple[bool, str]]:
        return [turn for text in commands for turn in ((False, str(hash(text))), (True, text))]

    assert first_divergence(turns("ls", "cat a"), turns("ls ", "cat a")) is None
    assert first_divergence(turns("ls", "cat a"), turns("ls", "cat b")) == 3
    assert first_divergence(turns("ls"), turns("ls", "cat b")) == 2
    assert first_divergence([], []) is None
    assert (
        first_divergence([(False, "date: 1"), (True, "ls")], [(False, "date: 2"), (True, "ls")])
        is None
    )


def test_the_page_of_an_eval_says_what_failed_episodes_left(place: Place, tmp_path: Path) -> None:
    done = [place.act("base", "echo '<b>' > other.txt", "exit")]
    good = [place.act("tuned", "cp word.txt copy.txt", "exit")]
    run = reopen_run(place.folder)
    run.write(status="done", result=document({"base": done, "tuned": good}, seconds=1, about={}))
    run.close()
    html = write_page(place.run, tmp_path / "page.html").read_text()
    assert "<i>- /home/user/copy.txt  a file of 7 bytes, mode 0644</i>" in html
    assert "<b>    +&lt;b&gt;</b>" in html
    assert html.count("against the reference") == 1, "who passed has nothing to explain"
