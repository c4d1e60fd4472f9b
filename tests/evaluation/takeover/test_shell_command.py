"""``sekft shell --plain``: a model lands in a real world, and each turn is a line."""

from __future__ import annotations

import _thread
import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sekft_engine.cli.main import run as run_command
from sekft_engine.cli.shell.command import command
from sekft_engine.core.errors import BadInput, SekftError
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.trajectory import Turn
from sekft_engine.data.workspace import Workspace
from sekft_engine.episodes.store import read_episode
from sekft_engine.records.runs import list_runs, read_run
from sekft_engine.render import ChatTokenizer
from sekft_engine.render.template.prompt import encode_prompt
from sekft_engine.sources import load_scenarios
from sekft_engine.takeover.origin import origin_of_session
from tests.contract.servers import ModelServer, models
from tests.evaluation.episodes.test_asciicast import unlike_v2

Make = Callable[..., Scenario]
SHORT = ("--turn-tokens", "6", "--step-cap", "2")


@pytest.fixture
def place(tmp_path: Path, tiny_base: Path, make_scenario: Make) -> Workspace:
    made = Workspace(tmp_path / "place").create()
    (made.bases / "tiny").symlink_to(tiny_base)
    text = json.dumps(make_scenario().to_json())
    (made.holdout_scenarios / "copy-1.json").write_text(text)
    return made


def shell(place: Workspace, *arguments: str) -> Result:
    return CliRunner().invoke(
        command, ["--workspace", str(place.root), *arguments], standalone_mode=False
    )


def test_a_base_lands_in_a_world_and_each_turn_is_a_line(place: Workspace, tmp_path: Path) -> None:
    cast = tmp_path / "session.cast"
    done = shell(place, "--plain", "--seed", "3", "--cast", str(cast), *SHORT)
    assert done.return_value == 0, done.output
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert all(len(line) == 4 for line in lines)
    seconds = [float(line[0]) for line in lines]
    assert seconds == sorted(seconds)
    who = [line[1] for line in lines]
    assert who[:2] == ["world", "base"]
    assert who[-3:] == ["verdict", "checker", "certificate"]
    assert "Orders: quil⏎user@box:~$" in lines[0][3]
    (info,) = list_runs(place.runs)
    assert (info.kind, info.status) == ("shell", "done")
    (path,) = (Path(info.path) / "episodes").glob("*.json")
    turns = read_episode(path).trajectory.turns
    assert who.count("base") == sum(turn.is_command for turn in turns)
    assert turns[1].ids
    assert info.result.touched is False  # type: ignore[union-attr]
    recording = cast.read_text()
    assert unlike_v2(recording) == []
    events = [json.loads(line) for line in recording.splitlines()[1:]]
    shown = "".join(data for _, code, data in events if code == "o")
    assert "Orders: quil\r\nuser@box:~$ " in shown
    assert [code for _, code, _ in events][-1] == "m", "it ends with the verdict"


def test_the_document_says_who_landed_where_and_that_nobody_touched_it(
    place: Workspace, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = shell(place, "--json", "--scenario", "copy-1", "--out", str(out), *SHORT)
    told = json.loads(done.stdout)
    assert (told["scenario"], told["subject"], told["touched"]) == ("copy-1", "base", False)
    assert told["steps"] <= 2
    assert Path(told["path"]).is_file()
    assert read_run(out).about["turn_tokens"] == 6
    assert "  world  " in done.stderr
    # It is replayed as an eval's episodes are, and is no eval.
    assert run_command(["runs", "replay", str(out), "copy-1"]) == 0
    assert run_command(["runs", "report", str(out), str(tmp_path / "page.html")]) == 2


def test_a_copy_of_a_folder_is_a_world_that_nothing_judges(
    place: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "garden"
    (folder / "beds").mkdir(parents=True)
    (folder / "beds" / "tools.txt").write_text("rake\n")
    (folder / ".secret").write_text("x")
    done = shell(place, "--plain", "--world", str(folder), *SHORT)
    assert done.return_value == 0, done.output
    assert "\tworld\t\tabout: what is here⏎user@box:~$" in done.stdout
    assert "not verified" in done.stdout
    (info,) = list_runs(place.runs)
    (path,) = (Path(info.path) / "episodes").glob("*.json")
    assert read_episode(path).trajectory.scenario == "garden"
    # The world is kept with the session, so that it can be taken over.
    (world,) = load_scenarios(info.about["scenarios"])
    assert [(file.path, file.content) for file in world.fixtures] == [("beds/tools.txt", "rake\n")]
    assert origin_of_session(path, None, place).scenario == world


def test_a_server_types_as_a_model_here_does(place: Workspace, tiny_base: Path) -> None:
    """A server that feeds its model what training fed."""
    tokenizer = ChatTokenizer.load(tiny_base)
    said = iter(["quil", "cp word.txt copy.txt", "exit"])

    def turns(body: Mapping[str, Any]) -> list[Turn]:
        return [Turn.from_json(each, "request") for each in body["messages"]]

    def chat(body: Mapping[str, Any]) -> dict[str, Any]:
        fed = len(encode_prompt(tokenizer, turns(body)))
        message = {"role": "assistant", "content": next(said)}
        return {
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": fed, "completion_tokens": 3, "total_tokens": fed + 3},
        }

    routes = models("served") | {"POST /v1/chat/completions": chat}
    with ModelServer(routes) as server:
        done = shell(place, "--plain", "--endpoint", server.url, "--unchecked")
    assert done.return_value == 0, done.output
    typed = [line.split("\t")[3] for line in done.stdout.splitlines() if "\tserved\t" in line]
    assert typed == ["quil", "cp word.txt copy.txt", "exit"]
    assert "done: exit after 3 commands, verified" in done.stdout
    (info,) = list_runs(place.runs)
    (path,) = (Path(info.path) / "episodes").glob("served--copy-1.json")
    assert read_episode(path).trajectory.meta["subject"] == "served"


def test_ctrl_c_ends_the_session_as_a_limit_would_and_it_is_judged(place: Workspace) -> None:
    left = threading.Event()

    def chat(body: Mapping[str, Any]) -> dict[str, Any]:
        if len(body["messages"]) > 1:
            _thread.interrupt_main()
            left.wait(60.0)
        message = {"role": "assistant", "content": "cp word.txt copy.txt"}
        usage = {"prompt_tokens": 60, "completion_tokens": 3, "total_tokens": 63}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"choices": [choice], "usage": usage}

    with ModelServer(models("served") | {"POST /v1/chat/completions": chat}) as server:
        done = shell(place, "--plain", "--endpoint", server.url, "--unchecked")
        left.set()
    assert done.return_value == 0, done.output
    assert "cap after 1 command, verified" in done.stdout
    (info,) = list_runs(place.runs)
    (path,) = (Path(info.path) / "episodes").glob("*.json")
    assert read_episode(path).trajectory.meta["limit"] == "hand"


def test_what_cannot_begin_is_refused_in_a_line(place: Workspace, tmp_path: Path) -> None:
    for words, why in (
        (("--scenario", "no-such"), "its scenario was not found"),
        (("--adapter", str(tmp_path / "nothing")), "no such run"),
        (("--endpoint", "http://127.0.0.1:1", "--adapter", "x"), "a server's model types"),
        (("--world", str(tmp_path / "none")), "no such folder"),
        (("--scenario", "copy-1", "--world", str(tmp_path)), "both --world and --scenario"),
        (("--scenarios", str(tmp_path / "none")), "no scenarios"),
    ):
        done = shell(place, "--plain", *words)
        assert isinstance(done.exception, BadInput), words
        assert why in str(done.exception), words
    assert list_runs(place.runs) == ()


def test_a_model_that_cannot_type_ends_it_with_the_reason(place: Workspace) -> None:
    done = shell(place, "--plain", "--endpoint", "http://127.0.0.1:1", "--unchecked")
    assert "127.0.0.1:1" in str(done.exception)


def test_a_recording_that_cannot_be_written_is_told_before_anything_is_typed(
    place: Workspace, tmp_path: Path
) -> None:
    done = shell(place, "--plain", "--cast", str(tmp_path / "no" / "session.cast"), *SHORT)
    assert isinstance(done.exception, SekftError)
    assert str(tmp_path / "no") in str(done.exception)
