"""The data set beside the screen: listed, filtered, certified, searched and rendered on threads."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sekft_engine.bases import resolve
from sekft_engine.data import filters
from sekft_engine.sources import Index, open_index
from sekft_tui.library import Library, Rendered, Renderer, reader, rendering
from sekft_tui.library.scan import next_hit
from sekft_tui.library.statistics import statistics
from sekft_tui.process.workers import KeyPriority
from tests.tui.conftest import trajectory

DEADLINE_S = 60.0
KINDS = ("count", "merge", "tidy")


def until(true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end, f"never came true: {what}"
        time.sleep(0.005)


class Heard:
    """Remembers what the library says."""

    def __init__(self) -> None:
        self.rendered: list[tuple[int, Rendered]] = []
        self.errors: list[Exception] = []
        self.asked_for_base = 0
        self.threads: set[str] = set()

    def listed(self) -> None:
        self.threads.add(threading.current_thread().name)

    def certified(self) -> None:
        self.threads.add(threading.current_thread().name)

    def searched(self) -> None:
        self.threads.add(threading.current_thread().name)

    def opened(self, number: int, rendered: Rendered) -> None:
        self.threads.add(threading.current_thread().name)
        self.rendered.append((number, rendered))

    def not_ready(self) -> None:
        self.asked_for_base += 1

    def failed(self, error: Exception) -> None:
        self.errors.append(error)


Make = Callable[..., tuple[Library, Heard]]


@pytest.fixture
def make_library(tiny_base: Path) -> Iterator[Make]:
    made: list[Library] = []

    def make(
        data: Path | Index, base: str | None = None, max_length: int = 2048
    ) -> tuple[Library, Heard]:
        heard = Heard()
        index = open_index(data) if isinstance(data, Path) else data
        renderer = Renderer(str(tiny_base) if base is None else base, None, max_length)
        library = Library(index, renderer, heard, KeyPriority())
        library.show(True)
        made.append(library)
        return library, heard

    yield make
    for library in made:
        library.close()


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows(count: int) -> list[dict[str, Any]]:
    out = []
    for number in range(count):
        outcome = ("exit", "panic", "cap")[number % 3]
        row = trajectory(number, KINDS[number % 3], outcome, keep=number % 4 != 0)
        row["turns"] = row["turns"] * (1 + number % 3)
        if number % 10 == 7:
            row["turns"] = row["turns"][:1]  # nothing to train on
        out.append(row)
    return out


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "data.jsonl", rows(200))


def settle(library: Library, text: str) -> list[int]:
    """The numbers that a filter lets through, once it has gone through everything."""
    number = library.reader.filter(filters.parse(text))
    until(lambda: library.listed.filtering == number and library.listed.done, f"filtered {text}")
    listed = library.listed
    return [listed.number(position) for position in range(listed.rows)]


@pytest.mark.parametrize(
    "text",
    [
        "", "outcome:panic", "arch:merge keep:no", "-keep:yes", "turns>12", "turns:1", "length<200",
        "notes-15", "-notes-15", '"line of [bold]count"', "merge-0 outcome:panic,cap", "id:01",
        "NOTES-1 -notes-11 verified:yes", "warden turns>6", "channel:motd -channel:motd",
    ],
)  # fmt: skip
def test_whole_columns_give_what_looking_at_each_row_gives(
    make_library: Make, data: Path, text: str
) -> None:
    library, _ = make_library(data, base="")
    index = library.index
    until(lambda: library.listed.done, "read")
    wanted = filters.parse(text)

    def passes(number: int) -> bool:
        facts = index.facts(number)
        other = {"channel": "announcement", "length": "characters"}
        return filters.matches(
            wanted,
            lambda field: getattr(facts, other.get(field, field)),
            lambda: f"{facts.id}\n{index.text(number)}",
        )

    assert settle(library, text) == [n for n in range(200) if passes(n)]


def test_a_filter_on_what_only_rendering_tells_certifies_as_far_as_it_needs(
    make_library: Make, data: Path
) -> None:
    library, heard = make_library(data)
    verdicts = library.certifier.verdicts
    dropped = settle(library, "dropped:yes")
    assert dropped == [n for n in range(200) if n % 10 == 7]
    assert settle(library, "reason:no_command -outcome:exit") == [n for n in dropped if n % 3]
    tokens = [int(verdicts.tokens[n]) for n in range(200)]
    limit = sorted(tokens)[150]
    assert settle(library, f"tokens>{limit}") == [n for n in range(200) if tokens[n] > limit]
    assert settle(library, "share>5 dropped:no arch:tidy") == [
        n
        for n in range(200)
        if n % 3 == 2 and n % 10 != 7 and 100 * int(verdicts.trained[n]) / tokens[n] > 5
    ]
    assert not heard.errors


def test_what_comes_new_is_listed_at_the_end_and_filtered(make_library: Make, data: Path) -> None:
    library, _ = make_library(data, base="")
    before = settle(library, "outcome:panic")
    more = [trajectory(number, "late", "panic") for number in range(500, 520)]
    with data.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in more)
    until(lambda: library.listed.rows == len(before) + 20, "the new ones")
    listed = library.listed
    assert [listed.number(n) for n in range(listed.rows)] == [*before, *range(200, 220)]
    assert all(listed.position(listed.number(n)) == n for n in range(listed.rows))
    assert listed.position(0) == -1


def test_nothing_is_watched_while_nobody_looks(
    make_library: Make, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "WATCH_S", 0.0)  # who watches looks at each step
    library, _ = make_library(data, base="")
    until(lambda: library.listed.done, "read")
    library.show(False)
    settle(library, "outcome:exit")  # steps that began before are over
    with data.open("a") as file:
        file.write(json.dumps(trajectory(999, "late")) + "\n")
    for text in ("outcome:panic", ""):
        settle(library, text)
        assert library.listed.total == 200
    library.show(True)
    until(lambda: library.listed.total == 201, "seen when shown again")


def test_certifying_says_what_the_report_of_the_command_says(
    make_library: Make, tmp_path: Path, tiny_base: Path
) -> None:
    from sekft_engine.maskview.report import inspect_report
    from sekft_engine.render.template.tokenizer import load_tokenizer
    from sekft_engine.sources import load_trajectories

    folder = tmp_path / "raw"
    folder.mkdir()
    for row in rows(60):
        (folder / f"{row['id']}.json").write_text(json.dumps(row))
    library, _ = make_library(folder, max_length=150)
    library.certifier.request()
    until(lambda: library.certifier.known == 60, "certified")
    found = statistics(library.index, library.certifier.verdicts)
    report = inspect_report(
        load_trajectories(folder), load_tokenizer(str(tiny_base)), max_length=150
    )
    assert found.kept == report.kept
    assert found.dropped == report.dropped
    assert set(found.dropped) == {"not_kept", "no_command", "too_long"}
    assert (found.tokens, found.trained) == (report.tokens, report.trained_tokens)
    assert found.length == report.length
    assert {kind.name: kind.kept for kind in found.archetypes if kind.kept} == report.by_archetype
    assert sum(bar.count for bar in found.lengths) == found.kept


def test_what_cannot_be_read_and_what_is_noted_is_counted_as_the_command_does(
    make_library: Make, tmp_path: Path, tiny_base: Path
) -> None:
    from sekft_engine.maskview.report import inspect_report
    from sekft_engine.render.template.tokenizer import load_tokenizer
    from sekft_engine.sources import load_trajectories

    folder = tmp_path / "raw"
    folder.mkdir()
    some = rows(6)
    some[0]["source"] = "web"
    some[2]["turns"][1]["tool_calls"] = [{"id": "1"}]
    file = write(folder / "d.jsonl", some)
    file.write_text("no JSON\n" + file.read_text())
    (folder / "notes.txt").write_text("")
    library, _ = make_library(folder)
    library.certifier.request()
    until(lambda: library.index.complete and library.certifier.known == 5, "certified")
    found = statistics(library.index, library.certifier.verdicts)
    report = inspect_report(load_trajectories(folder), load_tokenizer(str(tiny_base)))
    assert found.dropped == report.dropped == library.dropped()
    assert found.dropped == {"broken_json": 1, "tool_calls": 1}
    assert (found.total, found.certified, found.kept) == (report.trajectories, 7, report.kept)
    assert found.notes == report.notes == {"unused:source": 1}
    assert found.passed_over == {".txt": 1} == load_trajectories(folder).passed_over


def test_a_search_knows_every_trajectory_that_holds_the_words(
    make_library: Make, data: Path
) -> None:
    library, heard = make_library(data, base="")
    until(lambda: library.listed.done, "read")
    for by, start in ((1, 0), (-1, 0), (1, 199), (-1, 77)):
        finder = library.search("NOTES-15")
        assert finder is not None
        order = library.listed.order(start, by)
        finder.search_from(order)
        until(lambda: finder.count(order)[1] == 200, "searched")  # noqa: B023
        holds = np.flatnonzero(finder.table.codes == 2).tolist()
        wanted = [n for n in range(200) if "notes-15" in library.index.text(n)]
        assert holds == wanted
        assert len(holds) > 2
        position = next_hit(order, finder.table.codes, finder.wanted).position
        ahead = [(start + by * step) % 200 for step in range(1, 201)]
        assert position == next(n for n in ahead if n in holds)
    assert not heard.errors


def long_trajectory(words: int) -> dict[str, Any]:
    row = trajectory(1, "long")
    row["turns"][4]["content"] = "word and word\n" * words
    return row


def test_a_long_trajectory_shows_its_beginning_before_the_whole(
    make_library: Make, tmp_path: Path
) -> None:
    path = write(tmp_path / "long.jsonl", [long_trajectory(40_000), *rows(3)])
    library, heard = make_library(path)
    until(lambda: library.listed.done, "read")
    library.opener.open(0)
    until(lambda: len(heard.rendered) == 2, "both")
    (first, beginning), (second, whole) = heard.rendered
    assert first == second == 0
    assert not beginning.whole
    assert 0 < beginning.tokens < 20_000
    assert beginning.doc.certificate is None, "what is not whole is not certified"
    assert whole.whole
    assert whole.tokens > 120_000
    assert whole.dropped.startswith("too_long: ")
    assert whole.doc.text.startswith(beginning.doc.text[:20_000])
    assert not heard.errors


def test_what_nobody_waits_for_any_more_is_not_shown(make_library: Make, data: Path) -> None:
    library, heard = make_library(data)
    until(lambda: library.listed.done, "read")
    for number in range(100):
        library.opener.open(number)
    until(lambda: heard.rendered and heard.rendered[-1][0] == 99, "the last one")
    assert len(heard.rendered) < 100
    assert threading.current_thread().name not in heard.threads


def test_kept_rows_are_bounded_by_their_tokens(
    make_library: Make, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "CACHED_TOKENS", 1000)
    library, _ = make_library(data)
    until(lambda: library.listed.done, "read")
    for number in range(40):
        library.renderer.render(number, library.index.trajectory)
        assert library.renderer.cached_tokens <= 1000
    assert library.renderer.known(39) is not None
    assert library.renderer.known(0) is None


def test_what_has_no_tokens_is_bounded_as_well(
    make_library: Make, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "CACHED_TOKENS", 100)
    library, _ = make_library(data, base="")
    until(lambda: library.listed.done, "read")
    for number in range(40):
        library.renderer.render(number, library.index.trajectory)
    assert library.renderer.known(39) is not None
    assert library.renderer.known(0) is None


def test_without_a_base_sessions_can_still_be_read(make_library: Make, data: Path) -> None:
    library, _ = make_library(data, base="")
    until(lambda: library.listed.done, "read")
    shown = library.renderer.render(0, library.index.trajectory)
    assert "no base" in shown.trouble
    assert not shown.dropped
    assert "warden --help" in shown.doc.text


def test_a_session_that_is_not_trained_on_is_shown_with_the_reason(
    make_library: Make, data: Path
) -> None:
    library, _ = make_library(data, max_length=60)
    until(lambda: library.listed.done, "read")
    nothing = library.renderer.render(7, library.index.trajectory)
    assert nothing.dropped.startswith("no_command: ")
    assert nothing.row is None
    long = library.renderer.render(1, library.index.trajectory)
    assert "the limit is 60" in long.dropped
    assert long.row is not None, "its tokens are shown all the same"


def test_a_base_that_has_to_be_converted_first_is_left_to_the_engine(
    make_library: Make, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("no conversion beside the screen")

    monkeypatch.setattr(resolve, "convert_gguf", forbidden)
    monkeypatch.setenv("SEKFT_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")
    library, heard = make_library(data, base=str(model))
    until(lambda: library.listed.done, "read")
    library.opener.open(0)
    until(lambda: heard.asked_for_base, "asked for")
    assert not heard.rendered
    assert not heard.errors


def test_a_broken_file_does_not_hide_the_others(make_library: Make, tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    for row in rows(5):
        (folder / f"{row['id']}.json").write_text(json.dumps(row))
    (folder / "broken.json").write_text("{")
    library, _ = make_library(folder, base="")
    until(lambda: library.listed.done and library.listed.problems, "read")
    assert library.listed.total == 5
    assert "broken.json" in str(library.index.problems[0])


def test_the_index_is_asked_for_facts_only_of_what_is_drawn(
    make_library: Make, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    index = open_index(data)
    facts = index.facts

    def counted(n: int) -> object:
        asked.append(n)
        return facts(n)

    # On this index alone: a thread of an earlier test may still end its step on another.
    monkeypatch.setattr(index, "facts", counted)
    library, _ = make_library(index, base="")
    assert len(settle(library, "outcome:panic")) == 67
    assert not asked, "listing and filtering go by columns"
