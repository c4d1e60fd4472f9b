"""An eval's report as a page, and an episode as a recording: hostile text reaches neither."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.episodes.asciicast import asciicast
from sekft_engine.episodes.episode import FinishedEpisode
from sekft_engine.episodes.store import as_finished, find_episode, write_episode
from sekft_engine.evaluation.report.document import Conditions, document
from sekft_engine.evaluation.report.page import page, write_page
from sekft_engine.evaluation.report.tables import some_passes, tables
from sekft_engine.evaluation.statistics.paired import Decision
from sekft_engine.records.evals import ContextLimit, Partial, ServedFacts
from sekft_engine.records.runs import create_run, read_run

HOSTILE = "</pre><script>alert(1)</script>\x1b]52;c;aGk=\x07\u202egnp.exe {{ 7*7 }}"


def episode(
    output: str = "notes.txt\r\n$ ", subject: str = "base", scenario: str = "s1"
) -> FinishedEpisode:
    turns = (
        Turn(role="user", content="Orders: quil\n$ ", t=0.1),
        Turn(role="assistant", content="ls", t=1.0, exit_status=0),
        Turn(role="user", content=output, t=1.1),
        Turn(role="assistant", content="cat nothing", t=2.0, exit_status=1),
        Turn(role="user", content="cat: nothing: No such file or directory\n$ ", t=2.1),
        Turn(role="assistant", content="exit", t=3.0),
    )
    return as_finished(
        Trajectory(
            id=f"{subject}--{scenario}",
            scenario=scenario,
            archetype="copy",
            announcement="motd",
            turns=turns,
            steps=3,
            outcome="exit",
            verified=True,
            meta={"clean": True, "expected": "exit", "seconds": 3.2},
        )
    )


def screen_of(recording: str) -> tuple[list[str], list[tuple[float, str, str]]]:
    """Play a recording on a terminal; what stands there at the end, and all events."""
    header, *lines = recording.splitlines()
    size = json.loads(header)
    screen = pyte.Screen(size["width"], size["height"])
    stream = pyte.Stream(screen)
    played = [tuple(json.loads(line)) for line in lines]
    for _, code, data in played:
        if code == "o":
            stream.feed(data)
    return [line.rstrip() for line in screen.display], played


def test_a_recording_plays_the_session_as_it_was() -> None:
    recording = asciicast(episode())
    header = json.loads(recording.splitlines()[0])
    assert header["version"] == 2, "which every player plays"
    shown, played = screen_of(recording)
    assert shown[:7] == [
        "Orders: quil",
        "$ ls",
        "notes.txt",
        "$ cat nothing",
        "cat: nothing: No such file or directory",
        "$ exit",
        "",
    ]
    assert [data for _, code, data in played if code == "m"] == [
        "first command",
        "first failure: status 1",
        "exit",
        "done",
    ]
    times = [at for at, _, _ in played]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(3.2, abs=0.01)


@given(st.text())
def test_no_recording_passes_on_what_a_terminal_obeys(output: str) -> None:
    _, played = screen_of(asciicast(episode(output.encode(errors="replace").decode())))
    ours = {"\x1b[1m", "\x1b[0m", "\r\n"}
    for _, code, data in played:
        if code == "o" and data not in ours:
            assert not re.search(
                "[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", data
            )


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert all(not name.startswith("on") for name, _ in attrs)
        assert all(name not in ("src", "href") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_holds_tables_plots_and_transcripts_and_nothing_foreign() -> None:
    done = [episode(HOSTILE), episode(subject="tuned")]
    facts = document({"base": done[:1], "tuned": done[1:]}, seconds=6.4, about={"n": 1})
    html = page(facts, done, title="eval <1>", when="today")
    tags = Tags()
    tags.feed(html)
    assert {"table", "svg", "details"} <= tags.seen
    assert not {"script", "iframe", "img", "link"} & tags.seen
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "{{ 7*7 }}" in tags.text
    assert "<script>alert(1)</script>" in tags.text
    assert "cat nothing" in tags.text
    assert "exact, paired" in tags.text


def test_the_page_and_the_tables_tell_every_fact_of_the_document() -> None:
    """pass@k, decisions, the confusion of terminals, intervals of breakdowns, what is missing."""
    draws = [
        as_finished(msgspec.structs.replace(one.trajectory, meta=one.trajectory.meta | {"draw": n}))
        for n, one in enumerate([episode(), episode(subject="base--2")])
    ]
    tuned = [episode(subject="tuned", scenario=name) for name in ("s1", "s2", "s3")]
    decision = Decision(state="decided", better="tuned", evidence=30.0)
    facts = document(
        {"base": draws, "tuned": tuned},
        seconds=1,
        any_time=True,
        order=[("s1", 0), ("s1", 1), ("s2", 0)],
        decisions={"tuned": decision},
        partial=Partial(episodes=5, of=12),
    )
    group = facts.subjects[1].by_archetype["copy"]
    assert group.intervals["clean_termination"] == [0.4385, 1.0]
    assert facts.subjects[0].by["channel"]["motd"].intervals["verified"][1] == 1.0
    (pair,) = facts.comparisons
    assert (pair.pairs, pair.test, pair.p) == (0, "any time", 1.0), (
        "the second draw of s1 is open for one of them"
    )
    for shown in (page(facts, tuned, title="x"), tables(facts)):
        for fact in (
            "5 of 12 episodes",
            "tuned against base: decided: tuned is better (p = 0.033 at any time)",
            "@2",
            "3/3 [0.44, 1.00]",
            "panic",
            "valid at any time",
        ):
            assert fact in shown


def test_what_to_know_first_stands_before_the_rates() -> None:
    """Limits, what did not count and sampling defaults of a server, with nothing that acts."""
    capped = msgspec.structs.replace(
        episode().trajectory, outcome="cap", meta={"expected": "exit", "limit": "context"}
    )
    broken = msgspec.structs.replace(
        episode(subject="m").trajectory, meta={"invalid": f"busy: http://x: {HOSTILE}"}
    )
    server = ServedFacts(endpoint="http://x", model="m", open=["repetition_penalty"])
    facts = document(
        {"base": [as_finished(capped)], "m": [as_finished(broken)]},
        seconds=1,
        conditions=Conditions(context=ContextLimit(limit=4096, by="sekft"), served=[server]),
    )
    names = [one.name for one in facts.warnings]
    assert names == ["nothing_counted", "context_limit", "sampling"]
    assert [one.limits for one in facts.subjects] == [{"context": 1}, {}]
    assert [one.invalid_by for one in facts.subjects] == [{}, {"busy": 1}]
    html = page(facts, [], title="x")
    for head in (html.split("<table>")[0], tables(facts).split("clean termination")[0]):
        assert "nothing counted for m: the only episode is invalid, most often: busy" in head
        assert "1 of 1 episodes of base (100%) ended because their context was full" in head
        assert "limit of sekft is 4096 tokens; --context sets another" in head
        assert "takes no repetition_penalty for m" in head
    assert "\x1b" not in html
    assert "<script>" not in html


def test_pass_at_many_k_fits_into_a_line() -> None:
    shares = {str(k): k / 180 for k in range(1, 181)}
    assert [int(k) for k, _ in some_passes(shares)] == [1, 2, 3, 4, 8, 16, 32, 64, 128, 180]


def test_a_broken_episode_is_left_out_of_the_page(tmp_path: Path) -> None:
    run = create_run(tmp_path, "eval", about={"n": 1})
    run.episodes.mkdir()
    write_episode(run.episodes, "base", episode())
    (run.episodes / "base--broken.json").write_text("{")
    result = document({"base": [episode()]}, seconds=1, about={"n": 1})
    run.write(status="done", result=result)
    run.close()
    assert "base" in write_page(read_run(run.folder), tmp_path / "page.html").read_text()


def test_a_finished_eval_gives_its_page_and_episodes_are_found_by_a_part_of_their_name(
    tmp_path: Path,
) -> None:
    run = create_run(tmp_path, "eval", about={"n": 2})
    run.episodes.mkdir()
    done = [episode(), episode(scenario="s2")]
    for one in done:
        write_episode(run.episodes, "base", one)
    with pytest.raises(BadInput, match="no eval with results"):
        write_page(read_run(run.folder), tmp_path / "page.html")
    run.write(status="done", result=document({"base": done}, seconds=1, about={"n": 2}))
    run.close()
    target = write_page(read_run(run.folder), tmp_path / "out" / "page.html")
    assert "base--s2" in target.read_text()
    assert find_episode(run.episodes, "s2").stem == "base--s2"
    with pytest.raises(BadInput, match="2 episodes have that"):
        find_episode(run.episodes, "base")
    with pytest.raises(BadInput, match="no such episode"):
        find_episode(run.episodes, "other")


def test_thoughts_that_were_typed_as_commands_are_said_above_the_rates() -> None:
    done = episode()
    turns = list(done.trajectory.turns)
    turns[1] = Turn(role="assistant", content="<think>\nWhat is here? ls", t=1.0)
    thinking = as_finished(msgspec.structs.replace(done.trajectory, turns=tuple(turns)))
    result = document({"base": [thinking, done]}, seconds=1.0)
    (warning,) = result.warnings
    assert warning.name == "typed_thoughts"
    assert "in 1 of 2 episodes" in warning.text
    assert "enable_thinking false" in tables(result)
    assert not document({"base": [done]}, seconds=1.0).warnings
