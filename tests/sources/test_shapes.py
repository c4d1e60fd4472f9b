"""Files in every shape that people have: lists, several values in a row, compressed, damaged."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekft_engine.core.errors import BadInput
from sekft_engine.sources import Index, load_trajectories, open_index
from sekft_engine.sources.read.pieces import pieces
from tests.fuzzing import examples
from tests.sources.conftest import lines, raw


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEKFT_CACHE", str(tmp_path / "sekft-cache"))


def read(path: Path) -> tuple[list[str], dict[str, int]]:
    """The ids in a file and what is dropped of it, which the reader and the index agree on."""
    index = open_index(path).read_all()
    try:
        loaded = load_trajectories(path)
    except BadInput as error:
        assert len(index) == 0
        return [str(error)], index.dropped
    ids = [each.id for each in loaded.trajectories]
    assert [index.trajectory(n) for n in range(len(index))] == list(loaded.trajectories)
    reasons = [each.reason for each in loaded.skipped]
    dropped = {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}
    assert index.dropped == dropped
    return ids, dropped


def pretty(*values: Any) -> str:
    return "\n".join(json.dumps(value, indent=1) for value in values) + "\n"


A, B, C = raw("a"), raw("b"), raw("c")
WHOLE = {
    "list": json.dumps([A, B, C]),
    "pretty list": json.dumps([A, B, C], indent=2),
    "a list with one on each line": "[\n" + ",\n".join(map(json.dumps, (A, B, C))) + "\n]\n",
    "pretty in a row": pretty(A, B, C),
    "in a row on one line": json.dumps(A) + json.dumps(B) + " " + json.dumps(C),
    "lists on lines": json.dumps([A, B]) + "\n" + json.dumps([C]) + "\n",
    "old Mac line ends": "\r".join(map(json.dumps, (A, B, C))) + "\r",
    "commas after lines": "".join(json.dumps(each) + ",\n" for each in (A, B, C)),
    "a mark of the byte order on each line": "".join(
        "\ufeff" + json.dumps(each) + "\n" for each in (A, B, C)
    ),
    "the end of file of DOS": "".join(json.dumps(each) + "\r\n" for each in (A, B, C)) + "\x1a",
    "lines that hold nothing": "\ufeff\n" + "\n\r\n".join(map(json.dumps, (A, B, C))),
}


@pytest.mark.parametrize("shape", WHOLE)
@pytest.mark.parametrize("name", ["d.jsonl", "D.NDJSON", "d.json"])
def test_sessions_are_found_in_any_shape(shape: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(WHOLE[shape], newline="")
    assert read(tmp_path / name) == (["a", "b", "c"], {})


@pytest.mark.parametrize("name", ["d.jsonl", "d.json"])
def test_one_pretty_session_is_one(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(pretty(A))
    assert read(tmp_path / name) == (["a"], {})


def test_a_list_is_taken_whole_and_a_recording_only_with_keep(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(json.dumps([A | {"keep": False}, B]))
    (tmp_path / "one.json").write_text(json.dumps(C | {"keep": False}))
    loaded = load_trajectories(tmp_path)
    assert [each.id for each in loaded.trajectories] == ["a", "b"]
    assert [each.reason for each in loaded.skipped] == ["not_kept"]
    index = open_index(tmp_path).read_all()
    assert [index.facts(n).left_out for n in range(3)] == [False, False, True]


def test_what_is_wrong_in_a_list_is_told_with_its_line_and_item(tmp_path: Path) -> None:
    file = tmp_path / "d.json"
    file.write_text("[\n" + ",\n".join([json.dumps(A), '{"id": "b', json.dumps(C)]) + "\n]")
    loaded = load_trajectories(file)
    assert [each.id for each in loaded.trajectories] == ["a", "c"]
    (dropped,) = loaded.skipped
    assert (dropped.id, dropped.reason) == ("d:3.2", "broken_json")
    assert dropped.detail.startswith(f"{file}:3 item 2: broken JSON")
    assert read(file) == (["a", "c"], {"broken_json": 1})


def test_a_list_that_was_cut_off_gives_what_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "d.json"
    file.write_text(json.dumps([A, B, C])[:-40])
    assert read(file) == (["a", "b"], {"broken_json": 1})


def test_nameless_sessions_of_one_line_have_different_ids(tmp_path: Path) -> None:
    nameless = {"turns": A["turns"]}
    (tmp_path / "d.json").write_text(json.dumps([nameless, nameless]))
    assert read(tmp_path / "d.json") == (["d:1.1", "d:1.2"], {})


@pytest.mark.parametrize("where", ["line", "list"])
def test_a_bare_list_of_turns_is_a_session(where: str, tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    turns = A["turns"]
    text = lines(turns, turns) if where == "line" else json.dumps([turns, turns]).encode()
    file.write_bytes(text)
    ids, dropped = read(file)
    assert (len(ids), dropped) == (2, {})
    assert load_trajectories(file).notes == {"bare": 2}


# --- compressed -----------------------------------------------------------------------------------


def zstd(data: bytes) -> bytes:
    import pyarrow

    packed: bytes = pyarrow.compress(data, codec="zstd", asbytes=True)
    return packed


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
}


@pytest.mark.parametrize("ending", PACKERS)
@pytest.mark.parametrize("name", ["d.jsonl", "d.json", "D.JSONL"])
def test_compressed_files_are_read(ending: str, name: str, tmp_path: Path) -> None:
    text = lines(A, B, C) if "json" in name.lower()[-5:] else b""
    file = tmp_path / f"{name}.{ending.upper() if name.isupper() else ending}"
    file.write_bytes(PACKERS[ending](text))
    ids, dropped = read(file)
    assert (ids, dropped) == (["a", "b", "c"], {})
    index = open_index(file).read_all()
    assert list(index.search("motd")) == [0, 1, 2]
    assert not index.refresh()


@pytest.mark.parametrize("ending", PACKERS)
def test_a_damaged_compressed_file_gives_what_comes_before(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"d.jsonl.{ending}"
    many = [raw(f"t{n}", note=f"{n * 7919 % 10007}" * 40) for n in range(9000)]
    packed = PACKERS[ending](lines(*many))
    file.write_bytes(packed[: len(packed) * 2 // 3])
    loaded = load_trajectories(file)
    assert 0 <= len(loaded.trajectories) < 9000
    assert [each.reason for each in loaded.skipped] == ["damaged_file"]
    index = open_index(file).read_all()
    assert len(index) == len(loaded.trajectories)
    assert index.dropped == {"damaged_file": 1}


def test_a_compressed_file_that_is_replaced_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl.gz"
    file.write_bytes(gzip.compress(lines(A)))
    index = open_index(file).read_all()
    file.write_bytes(gzip.compress(lines(A, B)))
    index.refresh()
    index.read_all()
    assert [index.trajectory(n).id for n in range(len(index))] == ["a", "b"]


# --- damaged tails --------------------------------------------------------------------------------

TAILS = {
    "zero bytes": (b"\0" * 64, "zero_bytes"),
    "half a line and zero bytes": (b'{"id": "b", "tur' + b"\0" * 64, "zero_bytes"),
    "half a line": (b'{"id": "b", "turns": [{"role": "us', "half_line"),
    "a broken line": (b'{"id": "b" "turns"}\n', "broken_json"),
    "Latin-1": (b'{"id": "\xe9"}\n', "not_utf8"),
}


@pytest.mark.parametrize("tail", TAILS)
def test_a_damaged_tail_is_dropped_by_name(tail: str, tmp_path: Path) -> None:
    data, reason = TAILS[tail]
    file = tmp_path / "d.jsonl"
    file.write_bytes(lines(A) + data)
    index = open_index(file).read_all()
    index.refresh()
    index.refresh()
    loaded = load_trajectories(file)
    assert [each.id for each in loaded.trajectories] == ["a"]
    assert [each.reason for each in loaded.skipped] == [reason]
    assert loaded.skipped[0].detail.startswith(f"{file}:2: ")
    assert len(index) == 1
    with pytest.raises(BadInput, match=":2"):
        load_trajectories(file, strict=True)


def test_zero_bytes_before_a_line_hide_nothing(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_bytes(b"\0" * 40 + lines(A, B))
    assert read(file) == (["a", "b"], {})


def test_where_nothing_can_be_read_the_first_fault_is_the_error(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_bytes(b"one\ntwo\n")
    with pytest.raises(BadInput, match=r"d\.jsonl:1: .*nothing else of 2 can be read either"):
        load_trajectories(file)


def test_files_that_are_passed_over_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(A))
    for name in ("x.txt", "y.TXT", "z.csv", "README.md", ".hidden.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "more").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "gone.json").symlink_to("nowhere")
    expected = {
        ".csv": 1, ".txt": 2, "folders": 1, "links to nothing": 1, "pipes or devices": 1,
    }  # fmt: skip
    assert load_trajectories(tmp_path).passed_over == expected
    assert open_index(tmp_path).read_all().passed_over == expected
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(BadInput, match=r"no trajectories here, only 1 \.csv, 2 \.txt"):
        load_trajectories(tmp_path)


# --- growing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", WHOLE)
def test_a_file_that_is_still_written_ends_as_if_it_had_been_whole(
    shape: str, tmp_path: Path
) -> None:
    data = WHOLE[shape].encode()
    file = tmp_path / "d.jsonl"
    file.write_bytes(b"")
    index = open_index(file).read_all()
    for cut in range(0, len(data) + 97, 97):
        file.write_bytes(data[:cut])
        index.refresh()
        index.read_all()
    assert _ids(index) == ["a", "b", "c"]
    assert index.dropped == {}


def _ids(index: Index) -> list[str]:
    return [index.trajectory(n).id for n in range(len(index))]


# --- properties -----------------------------------------------------------------------------------

_value = st.recursive(
    st.integers() | st.text(max_size=6) | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
_object = st.dictionaries(st.text(max_size=4), _value, max_size=3)
_space = st.sampled_from(["", " ", "\n", "\r\n", "\r", "\t", "\ufeff", " \n "])


@settings(max_examples=examples(150))
@given(
    objects=st.lists(_object, min_size=1, max_size=5),
    space=_space,
    indent=st.none() | st.integers(0, 2),
    listed=st.booleans(),
    ascii_only=st.booleans(),
)
def test_pieces_are_the_values_that_were_written(
    objects: list[dict[str, Any]], space: str, indent: int | None, listed: bool, ascii_only: bool
) -> None:
    texts = [json.dumps(each, indent=indent, ensure_ascii=ascii_only) for each in objects]
    text = f"[{space}{f',{space}'.join(texts)}{space}]" if listed else space.join(texts)
    if listed and "\ufeff" in space:
        return
    data = f"{space}{text}{space}".encode()
    found = pieces(data)
    assert [json.loads(piece.of(data)) for piece in found] == objects
    assert [piece.line for piece in found] == [data.count(b"\n", 0, p.offset) for p in found]


@settings(max_examples=examples(150))
@given(data=st.binary(max_size=60) | st.text('[]{}",: \n\0\x1aab1', max_size=60).map(str.encode))
def test_pieces_never_fail_and_never_overlap(data: bytes) -> None:
    end = 0
    for piece in pieces(data):
        assert end <= piece.offset <= piece.offset + piece.length <= len(data)
        end = piece.offset + piece.length


def test_a_string_that_does_not_end_is_told_with_its_column(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_bytes(b'{"id": "a')
    with pytest.raises(BadInput, match="broken JSON: Unterminated string starting at column 8"):
        load_trajectories(file)
