"""The index, which skims, says of each line what the strict reader says, which reads it whole."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.sources import Dropped, Index, load_trajectories, open_index
from sekft_engine.sources.read import line_reader
from sekft_engine.sources.read.parse import trajectory_in
from sekft_engine.sources.read.plain import plain_trajectory
from sekft_engine.sources.read.source import DataSource
from sekft_engine.sources.read.trajectories import Reading
from tests.fuzzing import examples
from tests.sources.strategies import FILES, LINES

Told = tuple[list[Trajectory], list[tuple[str, str, str]]]


def strictly(file: Path) -> Told:
    """Each value on its own, as training takes it."""
    reading = Reading(DataSource(file), keep_only=False)
    good: list[Trajectory] = []
    dropped: list[tuple[str, str, str]] = []
    with contextlib.suppress(BadInput):  # nothing can be read
        for each in reading:
            if isinstance(each, Dropped):
                dropped.append((each.id, each.reason, each.detail))
            else:
                good.append(each)
    return good, dropped


def indexed(index: Index) -> Told:
    problems = [(each.name, each.dropped, str(each)) for each in index.problems]
    return [index.trajectory(n) for n in range(len(index))], problems


def check_facts(index: Index) -> None:
    for n in range(len(index)):
        facts, read = index.facts(n), index.trajectory(n)
        assert index.find(facts.id) == n
        assert facts.id == read.id
        assert (facts.scenario, facts.archetype) == (read.scenario, read.archetype)
        assert (facts.provider, facts.announcement) == (read.provider, read.announcement)
        assert facts.outcome == read.outcome
        assert facts.steps == read.steps or abs(read.steps) > 2**31
        assert (facts.verified, facts.keep, facts.clean) == (read.verified, read.keep, read.clean)
        assert facts.turns == len(read.turns)
        assert facts.characters == sum(len(turn.content) for turn in read.turns)
        assert index.text(n) == "\n".join(turn.content for turn in read.turns).lower()


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=FILES)
def test_good_and_broken_lines_in_any_mix(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    file = tmp_path_factory.mktemp("mix") / "d.jsonl"
    file.write_bytes(data)
    index = open_index(file).read_all()
    good, dropped = strictly(file)
    assert indexed(index) == (good, dropped)
    assert sum(index.dropped.values()) == len(dropped)
    check_facts(index)
    assert index.complete
    assert not index.refresh()
    if dropped:
        with pytest.raises(BadInput) as caught:
            load_trajectories(file, strict=True)
        place = rf"\A({re.escape(str(file))}:[\w ]+: turn )(\d+)"  # an error counts turns from 1
        shown = re.sub(place, lambda found: f"{found[1]}{int(found[2]) + 1}", dropped[0][2])
        assert str(caught.value) == shown
    if good:
        assert list(load_trajectories(file).trajectories) == good


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(line=LINES)
def test_the_quick_reader_gives_what_the_tolerant_one_gives(line: bytes) -> None:
    quick = plain_trajectory(line)
    if quick is not None:
        assert quick == trajectory_in(line, "d.jsonl:1", "d:1")


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=FILES, cuts=st.lists(st.integers(0, 4000), max_size=6), chunk=st.integers(1, 300))
def test_a_file_that_grew_in_any_pieces_reads_as_the_finished_one(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, cuts: list[int], chunk: int
) -> None:
    file = tmp_path_factory.mktemp("grow") / "d.jsonl"
    file.write_bytes(b"")
    grown = open_index(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_reader, "CHUNK", chunk)
        done = 0
        for cut in [*sorted({min(cut, len(data)) for cut in cuts}), len(data)]:
            with file.open("ab") as more:
                more.write(data[done:cut])
            done = cut
            grown.refresh()
            grown.read_all()
            assert indexed(grown) == strictly(file)
    check_facts(grown)
    assert indexed(grown) == indexed(open_index(file).read_all())
