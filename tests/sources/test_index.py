"""Any amount of trajectories opens at once, stays on disk, and is found again by number and id."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.core.errors import BadInput, SekftError, Unavailable
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.sources import Facts, Index, load_trajectories, open_index
from sekft_engine.sources.index import session_table
from sekft_engine.sources.index.columns import INTERNED, HashIndex, WordTable
from tests.sources.conftest import lines, raw, without_privileges


def ids(index: Index) -> list[str]:
    return [index.facts(n).id for n in range(len(index))]


def told(index: Index) -> list[str]:
    return [str(problem) for problem in index.problems]


def test_opening_reads_nothing_and_advancing_reads_on(tmp_path: Path) -> None:
    file = tmp_path / "big.jsonl"
    file.write_bytes(b"".join(lines(raw(f"t{n}", pad="x" * 3000)) for n in range(2000)))
    index = open_index(file)
    assert (len(index), index.complete) == (0, False)
    seen = [0]
    while index.advance(0.0):
        seen.append(len(index))
    assert index.complete
    assert not index.advance(0.0)
    assert len(index) == 2000
    assert seen == sorted(seen)
    assert len(set(seen)) > 3  # it grew bit by bit
    facts = index.facts(1234)
    assert (facts.id, facts.where) == ("t1234", f"{file}:1235")
    assert (facts.scenario, facts.archetype, facts.outcome) == ("s1", "disk", "exit")
    assert (facts.turns, facts.steps, facts.characters) == (2, 1, 10)
    assert facts.verified
    assert facts.keep
    assert facts.clean
    assert index.find("t1999") == 1999
    assert index.find("t2000") is None
    with pytest.raises(IndexError):
        index.facts(2000)
    with pytest.raises(IndexError):
        index.trajectory(-1)


def test_a_folder_in_the_order_of_its_names(tmp_path: Path) -> None:
    names = [f"{n:03}" for n in range(200)]
    for name in random.Random(3).sample(names, len(names)):
        (tmp_path / f"{name}.json").write_text(json.dumps(raw(name)))
    (tmp_path / "100.jsonl").write_bytes(lines(raw("x"), raw("y")))
    (tmp_path / "notes.txt").write_text("not ours")
    (tmp_path / ".half.json").write_text("{")
    index = open_index(str(tmp_path)).read_all()
    assert ids(index) == [*names[:101], "x", "y", *names[101:]]
    assert ids(index) == [one.id for one in load_trajectories(tmp_path).trajectories]
    assert index.facts(0).where == f"{tmp_path}/000.json"
    assert index.trajectory(102).id == "y"


def test_what_is_broken_hides_only_itself(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{\n oops")
    (tmp_path / "b.json").write_text(json.dumps(raw("b")))
    (tmp_path / "c.jsonl").write_bytes(
        lines(raw("c1")) + b'{"id":\n' + b"\xff\n" + lines(raw("c4", turns=[]), raw("b"), raw("c6"))
    )
    index = open_index(tmp_path).read_all()
    assert ids(index) == ["b", "c1", "c6"]
    starts = [
        "a.json:2: broken JSON",
        "c.jsonl:2: broken JSON",
        "c.jsonl:3: not UTF-8",
        "c.jsonl:4: empty session",
        f"c.jsonl:5: the id 'b' stands in {tmp_path}/b.json already",
    ]
    for text, start in zip(told(index), starts, strict=True):
        assert text.startswith(f"{tmp_path}/{start}")
        assert "\n" not in text
        assert text.endswith(")"), "the way out is missing"
    assert [each.reason for each in index.problems] == ["broken"] * 4 + ["twice"]


def test_a_file_of_nothing_but_junk_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_table, "MAX_PROBLEMS", 10)
    (tmp_path / "a.jsonl").write_bytes(b"junk\n" * 1000 + lines(raw("a")))
    index = open_index(tmp_path).read_all()
    assert ids(index) == ["a"]
    assert len(index.problems) == 11
    assert told(index)[-1] == f"{tmp_path}: 990 more problems"


def test_only_what_is_kept_as_in_training(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(raw("a")))
    (tmp_path / "b.json").write_text(json.dumps(raw("b", keep=False)))
    (tmp_path / "c.jsonl").write_bytes(lines(raw("c", keep=False)))
    assert ids(open_index(tmp_path).read_all()) == ["a", "b", "c"]
    kept = open_index(tmp_path, keep_only=True).read_all()
    assert ids(kept) == ["a", "c"] == [one.id for one in load_trajectories(tmp_path).trajectories]
    assert kept.skipped == 1


def test_a_million_trajectories_take_about_a_hundred_bytes_each(tmp_path: Path) -> None:
    """Counted over the arrays themselves; a tenth of a million tells the same."""
    short = raw("{}", scenario="s{}", turns=[{"role": "user", "content": "$"}], provider="quill")
    line = json.dumps(short).replace("{}", "%s")
    file = tmp_path / "many.jsonl"
    with file.open("w") as out:
        for n in range(100_000):
            out.write(line % (f"count-{n:07}", n // 8) + "\n")
    index = open_index(file).read_all()
    assert len(index) == 100_000
    assert index.nbytes < 120 * len(index)
    assert index.facts(77_777).scenario == "s9722"
    assert index.find("count-0077777") == 77_777
    codes, words = index.codes("provider")
    assert {words[code] for code in set(codes.tolist())} == {"quill"}


def test_columns_for_filters(tmp_path: Path) -> None:
    rows = [
        raw("a", provider="quill", steps=3),
        raw("b", provider={"name": "desk"}, outcome="cap", keep=False, verified=False),
        raw("s1", provider="quill", announcement="motd", meta={}),
    ]
    (tmp_path / "d.jsonl").write_bytes(lines(*rows))
    index = open_index(tmp_path).read_all()
    assert index.column("steps").tolist() == [3, 1, 1]
    assert index.column("turns").tolist() == [2, 2, 2]
    assert index.column("characters").tolist() == [10, 10, 10]
    assert index.column("keep").tolist() == [True, False, True]
    assert index.column("verified").tolist() == [True, False, True]
    assert index.column("clean").tolist() == [True, True, False]
    asked: list[str] = []

    def quill(word: str) -> bool:
        asked.append(word)
        return word == "quill"

    assert index.mask("provider", quill).tolist() == [True, False, True]
    assert sorted(asked) == ["desk", "quill"]
    assert index.mask("outcome", lambda word: word == "cap").tolist() == [False, True, False]
    assert index.mask("id", lambda word: word in "ab").tolist() == [True, True, False]
    assert index.mask("scenario", lambda word: word == "s1").tolist() == [True] * 3
    codes, words = index.codes("announcement")
    assert [words[code] for code in codes] == ["", "", "motd"]


def test_rows_are_sorted_by_ids_words_and_numbers(tmp_path: Path) -> None:
    long = "one/and/the/same/beginning/" * 4
    names = ["b", "B10", "a", f"{long}2", "é", f"{long}10", "", "b1", "aa", long]
    rows = [raw(name or f"{n}") for n, name in enumerate(names)]
    for n, row in enumerate(rows):
        row |= {"archetype": ("disk", "Copy", "")[n % 3], "steps": n * 3 % 7}
    (tmp_path / "rows.jsonl").write_bytes(lines(*rows))
    index = open_index(tmp_path / "rows.jsonl").read_all()
    found = [index.facts(n) for n in range(len(index))]
    assert len(found) == len(rows)

    def sorted_by(key: Callable[[Facts], Any]) -> list[int]:
        return sorted(range(len(found)), key=lambda n: key(found[n]))

    assert index.order("id").tolist() == sorted_by(lambda facts: facts.id.lower().encode())
    assert index.order("archetype").tolist() == sorted_by(lambda facts: facts.archetype.lower())
    assert index.order("steps").tolist() == sorted_by(lambda facts: facts.steps)
    assert index.order("outcome").tolist() == sorted_by(lambda facts: facts.outcome)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "none.jsonl").write_text("")
    assert open_index(empty).read_all().order("id").tolist() == []


def test_more_words_than_are_remembered() -> None:
    words = WordTable()
    names = [f"w{n}" for n in range(2 * INTERNED + 100)]
    codes = [words.code(name) for name in names]
    assert [words[code] for code in codes] == names
    assert words.code("w5") in (5, len(words) - 1)
    assert words[words.code("w5")] == "w5"
    assert words.mask(lambda word: word == "w70000").sum() == 1


def test_ids_of_one_hash_are_told_apart() -> None:
    import numpy as np

    rows_of = HashIndex()
    for start in range(0, 300, 3):
        rows_of.add(np.array([7, 7, start], np.int64), np.arange(start, start + 3, dtype=np.uint32))
    assert len(list(rows_of.rows(7))) == 200
    assert list(rows_of.rows(297)) == [299]
    assert rows_of.first(np.array([297, 298], np.int64)).tolist() == [299, -1]


def test_a_line_that_changed_under_the_index_is_never_taken_for_another(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_bytes(lines(raw("a"), raw("b"), raw("c")))
    data = file.read_bytes()
    for changed in (
        lines(raw("b"), raw("a"), raw("c")),  # other rows of the same length
        data.replace(b'"id": "a"', b'"id": "z"'),
        data.replace(b"motd", b"mot\xff"),
        data.replace(b'"steps": 1', b'"steps": 9'),
        b"\n" + data[:-1],
        data[:5],
        b"",
    ):
        file.write_bytes(data)
        index = open_index(file).read_all()
        file.write_bytes(changed)
        read = [attempt(index, n) for n in range(3)]
        assert any(isinstance(found, str) for found in read)
        for n, found in enumerate(read):
            if isinstance(found, str):
                assert found.startswith(f"{file}:{n + 1}: changed on disk")
                assert found.endswith("(reload the data)")
            else:
                assert found == Trajectory.from_json(raw("abc"[n]), "")
    file.unlink()
    with pytest.raises(Unavailable, match=r"d\.jsonl: cannot read: No such file"):
        index.trajectory(2)


def attempt(index: Index, n: int) -> Trajectory | str:
    try:
        return index.trajectory(n)
    except BadInput as error:
        return str(error)


def test_looking_from_many_threads_while_it_reads_on(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_bytes(b"".join(lines(raw(f"t{n}")) for n in range(3000)))
    index = open_index(file)
    wrong: list[str] = []

    def look(seed: int) -> None:
        chance = random.Random(seed)
        while not index.complete:
            if len(index):
                n = chance.randrange(len(index))
                if not index.facts(n).id == index.trajectory(n).id == f"t{n}":
                    wrong.append(f"{n}")
                if index.find(f"t{n}") != n:
                    wrong.append(f"find {n}")

    threads = [threading.Thread(target=look, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    while index.advance(0.0):
        pass
    for thread in threads:
        thread.join()
    assert wrong == []


def test_what_cannot_be_opened_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file or folder"):
        open_index(tmp_path / "nowhere")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(BadInput, match="cannot tell what kind"):
        open_index(tmp_path / "a.txt")
    for odd in ("a\x00b", "x" * 5000):
        with pytest.raises(SekftError):
            open_index(odd)
    empty = open_index(tmp_path).read_all()  # a rollout will write here
    assert (len(empty), told(empty), empty.complete) == (0, [], True)


def test_no_permission_to_read_one_of_the_files(public_folder: Path) -> None:
    for name in ("a", "b", "c"):
        (public_folder / f"{name}.json").write_text(json.dumps(raw(name)))
    (public_folder / "b.json").chmod(0)
    index = open_index(public_folder)
    with without_privileges():
        index.read_all()
    assert ids(index) == ["a", "c"]
    (problem,) = index.problems
    assert str(problem).startswith(f"{public_folder}/b.json: cannot read: Permission denied")
    assert problem.reason == "unreadable"
    (public_folder / "b.json").chmod(0o644)
    os.utime(public_folder / "b.json", (1, 1))
    index.refresh()
    index.read_all()
    assert sorted(ids(index)) == ["a", "b", "c"]
    assert told(index) == []


def test_a_line_of_many_megabytes(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "x" * 5_000_000 + "é"}]
    file = tmp_path / "d.jsonl"
    file.write_bytes(lines(raw("a"), raw("huge", turns=turns), raw("c")))
    index = open_index(file).read_all()
    assert ids(index) == ["a", "huge", "c"]
    assert index.facts(1).characters == 5_000_001
    assert index.trajectory(1).turns[0].content.endswith("é")
