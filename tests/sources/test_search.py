"""Searching contents on disk finds what the decoded text holds, however the file wrote it down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sekft_engine.sources import Index, open_index
from sekft_engine.sources.index import search
from tests.fuzzing import examples
from tests.sources.conftest import raw


def session(*contents: str, **fields: Any) -> dict[str, Any]:
    return raw(turns=[{"role": "user", "content": text} for text in contents], **fields)


def write(file: Path, rows: list[dict[str, Any]], escaped: bool = False) -> Index:
    each = [
        json.dumps(row | {"id": f"t{n}"}, ensure_ascii=escaped) + "\n" for n, row in enumerate(rows)
    ]
    file.write_bytes("".join(each).encode("utf-8", "surrogatepass"))
    return open_index(file).read_all()


def found(index: Index, needle: str, start: int = 0, step: int = 1) -> list[int]:
    return list(index.search(needle, start, step))


def test_what_the_file_escapes_is_found_all_the_same(tmp_path: Path) -> None:
    texts = ["one\ntwo", 'say "hi"', "caf\u00e9", "back\\slash", "a/b", "\x1b[1mbold", "👋 wave"]
    for escaped in (True, False):
        index = write(tmp_path / "d.jsonl", [session(text) for text in texts], escaped)
        for n, text in enumerate(texts):
            assert found(index, text) == [n]
            assert found(index, text.upper()) == [n]
        assert found(index, "nothing of it") == []


def test_characters_that_hide_behind_their_numbers(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    line = json.dumps(session("XX")).encode()
    hidden = b"".join(b"\\u%04x" % ord(letter) for letter in "find me")
    file.write_bytes(
        line.replace(b"XX", hidden).replace(b'"a"', b'"t0"')
        + b"\n"
        + line.replace(b"XX", b"ls \\/etc\\/passwd").replace(b'"a"', b'"t1"')
        + b"\n"
        + line.replace(b"XX", "\u212aelvin and \u0130".encode()).replace(b'"a"', b'"t2"')
        + b"\n"
    )
    index = open_index(file).read_all()
    assert found(index, "Find Me") == [0]
    assert found(index, "/etc/passwd") == [1]
    assert found(index, "kelvin") == [2]
    assert found(index, "and i") == [2]


def test_no_other_character_has_plain_small_letters() -> None:
    """The filter over the bytes rests on this."""
    strange = {
        chr(code)
        for code in range(0x80, 0x110000)
        if any(ord(small) < 0x80 for small in chr(code).lower())
    }
    assert strange == {"\u212a", "\u0130"}
    for letter in strange:
        assert search._may_be_escaped(letter.encode())
        assert search._may_be_escaped(json.dumps(letter).encode())


_text = st.text(max_size=10) | st.text(
    st.sampled_from('aAbkKi\u212a\u0130 \n"\\/\x1bé👋$'), max_size=8
)


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    texts=st.lists(_text, min_size=1, max_size=6),
    needle=_text,
    cut=st.integers(0, 8),
    escaped=st.booleans(),
    block=st.integers(1, 4),
)
@example(texts=["\ud83d x"], needle="\ud83d", cut=0, escaped=True, block=1)
def test_as_if_all_of_it_was_in_memory(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[str],
    needle: str,
    cut: int,
    escaped: bool,
    block: int,
) -> None:
    needle = needle or texts[-1][cut : cut + 3]
    try:
        index = write(
            tmp_path_factory.mktemp("s") / "d.jsonl", [session(t) for t in texts], escaped
        )
    except UnicodeEncodeError:
        return
    rows = [n for n in range(len(index)) if needle.lower() in index.text(n)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "BLOCK_ROWS", block)
        assert found(index, needle) == rows
        assert found(index, needle, len(index) - 1, -1) == rows[::-1]


def test_from_the_middle_both_ways_and_among_some_rows(tmp_path: Path) -> None:
    index = write(tmp_path / "d.jsonl", [session("yes" if n % 3 else "no") for n in range(20)])
    assert found(index, "no", 10) == [12, 15, 18]
    assert found(index, "no", 10, -1) == [9, 6, 3, 0]
    only = np.arange(20) % 2 == 0
    assert list(index.search("no", 0, 1, only)) == [0, 6, 12, 18]
    assert found(index, "no", 20) == []
    assert found(index, "no", -1, -1) == []


def test_it_can_be_left_at_any_time_and_tells_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "BLOCK_ROWS", 50)
    index = write(
        tmp_path / "d.jsonl", [session("needle" if n == 900 else "x") for n in range(1000)]
    )
    looking = index.search("needle")
    looked, hits = [0], []
    while looking.advance(0.0):
        looked.append(looking.looked)
        hits += looking.take()
    assert looked == sorted(looked)
    assert len(set(looked)) == 20
    assert hits == [900]
    assert (looking.done, looking.looked, looking.failed) == (True, 1000, 0)


def test_rows_that_come_while_it_searches(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    index = write(file, [session("a")])
    looking = index.search("new")
    with file.open("a") as more:
        more.write(json.dumps(session("new") | {"id": "more"}) + "\n")
    index.refresh()
    index.read_all()
    assert list(looking) == [1]


def test_a_search_over_rows_that_were_renumbered_stops(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(session("x") | {"id": name}))
    index = open_index(tmp_path).read_all()
    looking = index.search("x")
    (tmp_path / "a.json").unlink()
    index.refresh()
    assert not looking.advance()
    assert looking.stale
    assert looking.take() == []
    assert found(index, "x") == [0]


def test_a_folder_of_files_and_what_was_taken_away_meanwhile(tmp_path: Path) -> None:
    for n in range(5):
        (tmp_path / f"{n}.json").write_text(json.dumps(session(f"text {n % 2}") | {"id": f"{n}"}))
    (tmp_path / "z.jsonl").write_text(json.dumps(session("text 1") | {"id": "z"}) + "\n")
    index = open_index(tmp_path).read_all()
    assert found(index, "TEXT 1") == [1, 3, 5]
    (tmp_path / "3.json").unlink()
    looking = index.search("text 1")
    assert list(looking) == [1, 5]
    assert looking.failed == 1
