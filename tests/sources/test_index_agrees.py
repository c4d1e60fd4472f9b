"""The index, which skims, says of each line what the strict reader says, which reads it whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekft_engine.core.errors import SekftError
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.sources import Index, load_trajectories, open_index
from sekft_engine.sources.read import line_reader as reading
from sekft_engine.sources.read.parse import trajectory_in
from tests.sources.strategies import FILES

Told = tuple[list[Trajectory], list[str]]


def strictly(file: Path) -> Told:
    """Each line on its own, as training would take it."""
    good: dict[str, tuple[Trajectory, str]] = {}
    broken = []
    for number, line in enumerate(file.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            one = trajectory_in(line, where, f"{file.stem}:{number}")
        except SekftError as error:
            broken.append(str(error))
            continue
        if one.id in good:
            broken.append(f"{where}: the id {one.id!r} stands in {good[one.id][1]} already")
        else:
            good[one.id] = one, where
    return [one for one, _ in good.values()], broken


def indexed(index: Index) -> Told:
    problems = [
        str(problem).removesuffix(f" ({problem.mend})") if problem.reason == "twice" else problem
        for problem in index.problems
    ]
    return [index.trajectory(n) for n in range(len(index))], list(map(str, problems))


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


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=FILES)
def test_good_and_broken_lines_in_any_mix(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    file = tmp_path_factory.mktemp("mix") / "d.jsonl"
    file.write_bytes(data)
    index = open_index(file).read_all()
    good, broken = strictly(file)
    assert indexed(index) == (good, broken)
    check_facts(index)
    assert index.complete
    assert not index.refresh()
    if broken:
        with pytest.raises(SekftError) as caught:
            load_trajectories(file)
        assert str(caught.value).startswith(broken[0])
    elif good:
        assert list(load_trajectories(file).trajectories) == good


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=FILES, cuts=st.lists(st.integers(0, 4000), max_size=6), chunk=st.integers(1, 300))
def test_a_file_that_grew_in_any_pieces_reads_as_the_finished_one(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, cuts: list[int], chunk: int
) -> None:
    file = tmp_path_factory.mktemp("grow") / "d.jsonl"
    file.write_bytes(b"")
    grown = open_index(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "CHUNK", chunk)
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
