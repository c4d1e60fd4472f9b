"""A folder that grows while a rollout writes it: what is new turns up, half a file is no error."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.sources import Index, open_index, staged, write_trajectory
from sekft_engine.sources.index import watcher
from tests.sources.conftest import lines, raw
from tests.sources.test_index import ids, told


def again(index: Index) -> bool:
    """One look, and whatever it brings."""
    changed = index.refresh()
    while index.advance(1.0):
        pass
    return changed


def old(path: Path, seconds: int = 1000) -> None:
    """As if it was written long ago; another number of seconds is another time."""
    os.utime(path, (seconds, seconds))


def test_new_files_stand_at_the_end_in_the_order_of_their_names(tmp_path: Path) -> None:
    write_trajectory(tmp_path / "m.json", Trajectory.from_json(raw("m"), ""))
    index = open_index(tmp_path).read_all()
    for name in ("z", "a", "b"):
        write_trajectory(tmp_path / f"{name}.json", Trajectory.from_json(raw(name), ""))
    generation = index.generation
    assert again(index)
    assert ids(index) == ["m", "a", "b", "z"]
    assert index.generation == generation, "no row got another number"
    assert not again(index)


def test_half_a_file_is_no_error_until_nobody_writes_it_any_more(tmp_path: Path) -> None:
    whole = json.dumps(raw("a"))
    file = tmp_path / "a.json"
    file.write_text(whole[:50])
    index = open_index(tmp_path)
    while index.advance():
        pass
    assert told(index) == []
    file.write_text(whole)
    assert again(index)
    assert (ids(index), told(index)) == (["a"], [])

    other = tmp_path / "b.json"
    other.write_text(whole[:40])
    again(index)
    assert told(index) == []
    assert again(index), "it did not grow: now it is told"
    assert told(index)[0].startswith(f"{other}:1: broken JSON")
    assert not again(index)
    other.write_text(json.dumps(raw("b")))
    again(index)
    assert (ids(index), told(index)) == (["a", "b"], [])


def test_the_last_line_of_a_file_that_grows(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    line = lines(raw("b", turns=[{"role": "user", "content": "é"}]))
    file.write_bytes(lines(raw("a")) + line[:-30])
    index = open_index(file)
    while index.advance():
        pass
    assert (ids(index), told(index)) == (["a"], [])
    with file.open("ab") as more:
        more.write(line[-30:-1])
    again(index)
    assert (ids(index), told(index)) == (["a", "b"], [])
    with file.open("ab") as more:
        more.write(b"\n" + line[:9])
    again(index)
    assert told(index) == []
    again(index)
    (problem,) = index.problems
    assert (problem.where, problem.reason) == (f"{file}:3", "unfinished")


def test_a_last_line_that_was_whole_stays_whatever_follows(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_bytes(lines(raw("a"), raw("b"))[:-1])
    index = open_index(file).read_all()
    assert ids(index) == ["a", "b"]
    with file.open("ab") as more:
        more.write(b" junk\n" + lines(raw("c")))
    again(index)
    assert ids(index) == ["a", "b", "c"]
    assert told(index)[0].startswith(f"{file}:2 item 2: broken JSON")


def test_a_last_line_whose_id_is_another_in_the_end_has_the_last_one(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    turns = raw("a")["turns"]
    file.write_bytes(lines(raw("a"), turns)[:-2])  # a list that has no end yet
    index = open_index(file).read_all()
    generation = index.generation
    with file.open("ab") as more:
        more.write(b"]\n" + lines(raw("c")))
    again(index)
    assert ids(index) == ["a", "d:2", "c"]
    assert index.generation >= generation
    assert told(index) == []


def test_an_unfinished_file_of_long_ago_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(raw("a")) + b'{"id')
    (tmp_path / "b.json").write_bytes(b'{"id')
    old(tmp_path / "a.jsonl")
    old(tmp_path / "b.json")
    index = open_index(tmp_path)
    while index.advance():
        pass
    assert [problem.reason for problem in index.problems] == ["unfinished", "broken"]


@pytest.mark.parametrize("way", ["replaced", "rewritten", "shorter", "longer"])
def test_a_file_that_was_written_anew_is_read_anew(way: str, tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_bytes(lines(raw("a"), raw("b"), raw("c")) + b"junk\n")
    old(file)
    index = open_index(tmp_path).read_all()
    assert len(index.problems) == 1
    new = {
        "replaced": lines(raw("c"), raw("x"), raw("y")) + b"junk\n",
        "rewritten": lines(raw("x"), raw("b"), raw("y")) + b"junk\n",
        "shorter": lines(raw("x")),
        "longer": lines(raw("x"), raw("y"), raw("z"), raw("w"), raw("v")),
    }[way]
    if way == "replaced":
        with staged(file) as out:
            out.write(new)
    else:
        file.write_bytes(new)
    generation = index.generation
    again(index)
    expected = [json.loads(line)["id"] for line in new.splitlines() if line != b"junk"]
    assert ids(index) == expected
    assert [index.trajectory(n).id for n in range(len(index))] == expected
    assert index.generation > generation
    assert len(index.problems) == new.count(b"junk")
    assert index.find("a") is None


def test_one_recording_that_is_made_again_keeps_its_place(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_trajectory(tmp_path / f"{name}.json", Trajectory.from_json(raw(name), ""))
    index = open_index(tmp_path).read_all()
    assert index.trajectory(1).steps == 1
    again_b = Trajectory.from_json(raw("b", steps=5), "")
    write_trajectory(tmp_path / "b.json", again_b)
    generation = index.generation
    assert again(index)
    assert ids(index) == ["a", "b", "c"]
    assert index.facts(1).steps == 5
    assert index.trajectory(1) == again_b
    assert index.generation > generation


def test_what_is_deleted_is_gone_and_what_it_hid_comes_up(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(raw("same")))
    (tmp_path / "b.json").write_text(json.dumps(raw("same")))
    (tmp_path / "c.jsonl").write_bytes(lines(raw("c"), raw("same")))
    index = open_index(tmp_path).read_all()
    assert ids(index) == ["same", "c"]
    assert [problem.reason for problem in index.problems] == ["twice", "twice"]
    (tmp_path / "a.json").unlink()
    again(index)
    assert sorted(ids(index)) == ["c", "same"]
    assert index.trajectory(index.find("same") or 0).id == "same"
    assert len(index.problems) == 1
    (tmp_path / "b.json").unlink()
    again(index)
    assert sorted(ids(index)) == ["c", "same"]
    assert told(index) == []
    for path in tmp_path.iterdir():
        path.unlink()
    again(index)
    assert (ids(index), told(index)) == ([], [])
    (tmp_path / "a.json").write_text(json.dumps(raw("same")))
    again(index)
    assert ids(index) == ["same"]


def test_writing_into_an_old_recording_is_noticed_within_some_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "CHECKED_AT_ONCE", 3)
    for n in range(10):
        (tmp_path / f"{n}.json").write_text(json.dumps(raw(f"{n}")))
    index = open_index(tmp_path).read_all()
    with (tmp_path / "7.json").open("r+") as file:
        file.write(json.dumps(raw("7", steps=4)))
    for _ in range(5):
        again(index)
    assert index.facts(7).steps == 4


def test_a_look_at_what_did_not_change_reads_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(5):
        (tmp_path / f"{n}.json").write_text(json.dumps(raw(f"{n}")))
    (tmp_path / "d.jsonl").write_bytes(lines(raw("d")))
    old(tmp_path)
    index = open_index(tmp_path).read_all()
    index.refresh()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing has to be opened or listed")

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    assert not index.refresh()
    assert index.complete


def test_a_single_file_that_vanishes_and_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_bytes(lines(raw("a")))
    index = open_index(file).read_all()
    file.unlink()
    again(index)
    assert ids(index) == []
    assert told(index)[0].startswith(f"{file}: cannot read: No such file")
    file.write_bytes(lines(raw("a"), raw("b")))
    again(index)
    assert (ids(index), told(index)) == (["a", "b"], [])


def test_a_file_cut_short_while_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_bytes(b"".join(lines(raw(f"t{n}", pad="x" * 2000)) for n in range(2000)))
    index = open_index(file)
    index.advance(0.0)
    index.advance(0.0)
    index.advance(0.0)
    assert 0 < len(index) < 2000
    file.write_bytes(lines(raw("new")))
    while index.advance():
        pass
    index.read_all()
    assert ids(index) == ["new"]


def test_a_reader_never_gets_another_trajectory_than_it_asked_for(tmp_path: Path) -> None:
    """Between a change on disk and the next look, a row is what it was or an error."""
    for n in range(4):
        (tmp_path / f"{n}.json").write_text(json.dumps(raw(f"{n}")))
    index = open_index(tmp_path).read_all()
    (tmp_path / "1.json").write_text(json.dumps(raw("other")))
    assert index.trajectory(0).id == "0"
    with pytest.raises(BadInput, match=r"1\.json: changed on disk since it was indexed"):
        index.trajectory(1)
    again(index)
    assert sorted(ids(index)) == ["0", "2", "3", "other"]
