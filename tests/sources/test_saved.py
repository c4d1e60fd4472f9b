"""What took long to index is there at once the next time, unless the files say otherwise."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from sekft_engine.sources import Index, open_index
from sekft_engine.sources.index import saved, scan
from tests.sources.conftest import lines, raw
from tests.sources.test_index import ids, told


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, into which also the smallest index goes."""
    monkeypatch.setenv("SEKFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(saved, "MIN_SECONDS", 0.0)
    return tmp_path / "cache" / "index"


def data(folder: Path) -> Path:
    """Files of long ago, good and broken."""
    folder.mkdir()
    rows = [raw(f"t{n}", scenario=f"s{n % 3}", provider="quill", steps=n) for n in range(50)]
    (folder / "a.jsonl").write_bytes(lines(*rows) + b"junk\n" + lines(raw("t7")) + b'{"id"')
    (folder / "b.json").write_text(json.dumps(raw("é\ud83d")))
    (folder / "c.json").write_text("{")
    age(folder)
    return folder


def age(folder: Path, seconds: int = 1_000_000) -> None:
    for path in (*folder.iterdir(), folder):
        os.utime(path, (seconds, seconds))


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("nothing has to be read again")


def facts(index: Index) -> list[object]:
    return [index.facts(n) for n in range(len(index))]


def test_the_second_time_nothing_is_read(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = data(tmp_path / "d")
    first = open_index(folder).read_all()
    assert len(list(cache.iterdir())) == 1
    with monkeypatch.context() as patch:
        for name in ("skim", "facts_in"):
            patch.setattr(scan, name, refuse)
        second = open_index(folder).read_all()
        assert facts(second) == facts(first)
        assert told(second) == told(first)
        assert len(told(second)) == 4
    assert second.find("t33") == 33
    assert second.find("é\ud83d") == 50
    assert second.trajectory(33).id == "t33"
    assert second.mask("scenario", lambda word: word == "s1").sum() == 18
    assert not second.refresh()


def test_it_goes_on_where_it_was_left(tmp_path: Path, cache: Path) -> None:
    folder = data(tmp_path / "d")
    open_index(folder).read_all()
    with (folder / "a.jsonl").open("ab") as more:
        more.write(b': "late", "turns": [{"role": "user", "content": "$"}]}\n' + lines(raw("t8")))
    (folder / "c.json").write_text(json.dumps(raw("c")))
    (folder / "d.json").write_text(json.dumps(raw("d")))
    index = open_index(folder).read_all()
    assert ids(index) == [*(f"t{n}" for n in range(50)), "é\ud83d", "late", "c", "d"]
    assert [problem.reason for problem in index.problems] == ["broken", "twice", "twice"]
    assert sorted(ids(open_index(folder).read_all())) == sorted(ids(index))


def test_files_that_were_written_anew_are_read_anew(tmp_path: Path, cache: Path) -> None:
    folder = data(tmp_path / "d")
    open_index(folder).read_all()
    (folder / "a.jsonl").write_bytes(lines(raw("x"), raw("y")))
    with (folder / "b.json").open("r+") as file:
        file.write(json.dumps(raw("B")) + " " * 40)
    (folder / "c.json").unlink()
    index = open_index(folder).read_all()
    assert sorted(ids(index)) == ["B", "x", "y"]
    assert told(index) == []


@pytest.mark.parametrize("how", ["cut", "bent", "empty", "none", "other version"])
def test_a_damaged_one_is_as_good_as_none(
    how: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = data(tmp_path / "d")
    first = open_index(folder).read_all()
    (file,) = cache.iterdir()
    body = file.read_bytes()
    half = len(body) // 2
    bent = body[:half] + bytes([body[half] ^ 1]) + body[half + 1 :]
    if how == "none":
        file.unlink()
    elif how == "other version":
        monkeypatch.setattr(saved, "VERSION", 999)
    else:
        file.write_bytes({"cut": body[:-9], "bent": bent, "empty": b""}[how])
    assert facts(open_index(folder).read_all()) == facts(first)


def test_it_is_told_apart_by_path_and_by_what_is_kept(tmp_path: Path, cache: Path) -> None:
    folder = data(tmp_path / "d")
    (folder / "b.json").write_text(json.dumps(raw("b", keep=False)))
    age(folder)
    assert "b" in ids(open_index(folder).read_all())
    assert "b" not in ids(open_index(folder, keep_only=True).read_all())
    assert len(ids(open_index(folder / "a.jsonl").read_all())) == 50
    assert len(list(cache.iterdir())) == 3


def test_what_may_still_be_written_is_not_saved(tmp_path: Path, cache: Path) -> None:
    folder = data(tmp_path / "d")
    later = time.time() + 1000
    os.utime(folder / "b.json", (later, later))
    open_index(folder).read_all()
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, cache: Path) -> None:
    folder = data(tmp_path / "d")
    cache.parent.mkdir()
    cache.write_text("not a folder")
    assert len(open_index(folder).read_all()) == 51


def test_the_cache_stays_small(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "MAX_BYTES", 20_000)
    for name in "abcdef":
        open_index(data(tmp_path / name)).read_all()
    sizes = [path.stat().st_size for path in cache.iterdir()]
    assert 0 < sum(sizes) <= 20_000
    assert len(open_index(tmp_path / "f").read_all()) == 51


def test_what_was_read_quickly_is_not_saved(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "MIN_SECONDS", 1e9)
    open_index(data(tmp_path / "d")).read_all()
    assert not cache.exists()
