"""Parquet and Arrow files, as the library ``datasets`` writes them, are read row by row."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekft_engine.core.errors import BadInput, SekftError, Unavailable
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.sources import (
    Index,
    iter_trajectories,
    load_scenarios,
    load_trajectories,
    open_index,
)
from sekft_engine.sources.read import tables
from tests.fuzzing import examples
from tests.sources.conftest import lines, raw
from tests.sources.test_index import ids, told

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
datasets = pytest.importorskip("datasets")


def rows(count: int = 10) -> list[dict[str, Any]]:
    """Sessions as recorded: some turns know more than others."""
    found = [raw(f"t{n}", steps=n, provider="quill") for n in range(count)]
    for n, row in enumerate(found):
        row["turns"] = [
            {"role": "user", "content": f"motd {n} é\n$ "},
            {"role": "assistant", "content": "exit"}
            | ({"exit_status": 1, "t": 0.5} if n % 2 else {}),
        ]
    return found


def same(index: Index, values: list[dict[str, Any]]) -> None:
    """Row by row what a ``.jsonl`` of these values would give."""
    assert told(index) == []
    expected = [Trajectory.from_json(value, "") for value in values]
    assert [index.trajectory(n) for n in range(len(index))] == expected
    for n, one in enumerate(expected):
        facts = index.facts(n)
        assert (facts.id, facts.steps, facts.turns) == (one.id, one.steps, len(one.turns))
        assert facts.characters == sum(len(turn.content) for turn in one.turns)
        assert (facts.keep, facts.verified, facts.clean) == (one.keep, one.verified, one.clean)
        assert (facts.outcome, facts.provider) == (one.outcome, one.provider)


def test_every_way_in_which_a_data_set_lies_on_disk(tmp_path: Path) -> None:
    values = rows()
    (tmp_path / "lines.jsonl").write_bytes(lines(*values))
    data = datasets.Dataset.from_list(values)
    data.save_to_disk(tmp_path / "saved", num_shards=3)
    data.map(lambda row: {"more": row["id"]}).save_to_disk(tmp_path / "mapped")
    datasets.DatasetDict(test=data.select([0]), train=data).save_to_disk(tmp_path / "split")
    data.to_parquet(tmp_path / "one.parquet")
    (tmp_path / "parts").mkdir()
    for n in range(2):
        part = data.select(range(5 * n, 5 * n + 5))
        part.to_parquet(tmp_path / "parts" / f"{n}.parquet")
    (tmp_path / "repo" / "data").mkdir(parents=True)
    data.to_parquet(tmp_path / "repo" / "data" / "train-00000-of-00001.parquet")
    data.to_parquet(tmp_path / "repo" / "data" / "test-00000-of-00001.parquet")
    (tmp_path / "repo" / "README.md").write_text("# Sessions")

    digest = load_trajectories(tmp_path / "lines.jsonl").digest
    for name in ("saved", "split", "one.parquet", "parts", "repo"):
        index = open_index(tmp_path / name).read_all()
        same(index, values)
        loaded = load_trajectories(tmp_path / name)
        assert loaded.digest == digest, "the same sessions in whatever file"
        assert [one.id for one in iter_trajectories(tmp_path / name)] == ids(index)
    mapped = open_index(tmp_path / "mapped").read_all()
    assert mapped.trajectory(3).extra == {"more": "t3"}
    where = open_index(tmp_path / "one.parquet").read_all().facts(7).where
    assert where == f"{tmp_path}/one.parquet:row 7"


def test_a_data_set_that_the_library_made_of_lines(tmp_path: Path) -> None:
    """What differs from row to row it keeps as JSON in strings."""
    values = rows(4)
    values[1]["meta"] = {"clean": "yes", "seconds": [1, "x"]}
    values[2]["turns"][0]["note"] = {"deep": [1, None]}
    (tmp_path / "d.jsonl").write_bytes(lines(*values))
    made = datasets.load_dataset(
        "json", data_files=str(tmp_path / "d.jsonl"), split="train", cache_dir=str(tmp_path / "c")
    )
    made.save_to_disk(tmp_path / "saved")
    (cached,) = made.cache_files
    for path in (Path(cached["filename"]), Path(cached["filename"]).parent, tmp_path / "saved"):
        same(open_index(path).read_all(), values)


@pytest.mark.parametrize("key", ["turns", "messages", "conversations"])
def test_other_names_and_shapes_of_the_turns(key: str, tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "$ é"}, {"from": "gpt", "value": "exit"}]
    shapes: list[Any] = [
        turns,
        json.dumps(turns),
        [json.dumps(turn) for turn in turns],
        {"from": ["human", "gpt"], "value": ["$ é", "exit"]},
    ]
    for n, shape in enumerate(shapes):
        file = tmp_path / f"{n}.parquet"
        pq.write_table(pa.Table.from_pylist([{"id": "a", key: shape}]), file)
        index = open_index(file).read_all()
        assert told(index) == []
        read = index.trajectory(0)
        assert [(turn.role, turn.content) for turn in read.turns] == [
            ("user", "$ é"),
            ("assistant", "exit"),
        ]
        facts = index.facts(0)
        assert (facts.steps, facts.turns, facts.characters) == (1, 2, 7)


def test_arrow_files_of_both_kinds(tmp_path: Path) -> None:
    values = rows(300)
    table = pa.Table.from_pylist(values)
    with pa.ipc.new_file(tmp_path / "file.arrow", table.schema) as out:
        out.write_table(table, max_chunksize=7)
    with pa.ipc.new_stream(tmp_path / "stream.arrow", table.schema) as out:
        out.write_table(table)
    for name in ("file", "stream"):
        index = open_index(tmp_path / f"{name}.arrow").read_all()
        same(index, values)
        for n in (299, 0, 150, 149, 151):
            assert index.trajectory(n).id == f"t{n}"


def test_any_row_of_many_row_groups(tmp_path: Path) -> None:
    values = rows(1000)
    pq.write_table(pa.Table.from_pylist(values), tmp_path / "x.parquet", row_group_size=64)
    index = open_index(tmp_path / "x.parquet").read_all()
    for n in (999, 0, 64, 63, 500, 501, 502, 130, 999):
        assert index.trajectory(n).id == f"t{n}"
    assert list(index.search("MOTD 77")) == [77, *range(770, 780)]
    assert list(index.search("motd 77", 900, -1)) == [*range(779, 769, -1), 77]
    missing = tables.TableFile(tmp_path / "x.parquet")
    assert [first for first, _ in missing.batches(["id"], start=995)] == [995]


def test_what_is_wrong_is_told_with_its_row(tmp_path: Path) -> None:
    values = rows(6)
    values[1]["turns"] = []
    values[2]["turns"][0]["role"] = "wizard"
    values[3]["outcome"] = "won"
    values[4]["id"] = "t0"
    values[5]["turns"][0]["content"] = None
    file = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_pylist(values), file)
    index = open_index(file).read_all()
    assert ids(index) == ["t0", "t3", "t5"]
    starts = [
        "row 1: empty session",
        "row 2: turn 0: unknown role 'wizard'",
        f"row 4: the id 't0' stands in {file}:row 0 already",
    ]
    for text, start in zip(told(index), starts, strict=True):
        assert text.startswith(f"{file}:{start}")
    with pytest.raises(BadInput, match=r"x\.parquet:row 1: empty session"):
        load_trajectories(file, strict=True)
    loaded = load_trajectories(file)
    assert list(loaded.trajectories) == [index.trajectory(n) for n in range(3)]
    assert [one.reason for one in loaded.skipped] == list(index.dropped)
    assert loaded.notes == {"foreign:outcome": 1, "no_content": 1}


def test_a_missing_id_is_made_from_the_file_and_row(tmp_path: Path) -> None:
    nameless = [{key: value for key, value in row.items() if key != "id"} for row in rows(2)]
    pq.write_table(pa.Table.from_pylist(nameless), tmp_path / "x.parquet")
    assert ids(open_index(tmp_path / "x.parquet").read_all()) == ["x:0", "x:1"]
    assert [one.id for one in iter_trajectories(tmp_path / "x.parquet")] == ["x:0", "x:1"]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("x.parquet", b"", "broken table"),
        ("x.parquet", b"PAR1 this is none", "broken table"),
        ("x.arrow", b"neither", "broken table"),
        ("x.arrow", b"", "broken table"),
    ],
)
def test_a_damaged_file(name: str, data: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadInput) as caught:
        load_trajectories(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path}/{name}: {says}")
    assert "\n" not in str(caught.value)
    assert told(open_index(tmp_path / name).read_all()) == [str(caught.value)]


def test_a_file_that_is_cut_or_bent_never_raises_anything_else(tmp_path: Path) -> None:
    values = rows(50)
    whole = tmp_path / "whole.parquet"
    pq.write_table(pa.Table.from_pylist(values), whole, row_group_size=10)
    with pa.ipc.new_stream(tmp_path / "whole.arrow", pa.Table.from_pylist(values).schema) as out:
        out.write_table(pa.Table.from_pylist(values), max_chunksize=10)
    for suffix in ("parquet", "arrow"):
        data = (tmp_path / f"whole.{suffix}").read_bytes()
        file = tmp_path / f"bent.{suffix}"
        for at in range(0, len(data), max(1, len(data) // 40)):
            for bent in (data[:at], data[:at] + b"\xff\x00\xff" + data[at + 3 :]):
                file.write_bytes(bent)
                index = open_index(file).read_all()
                for n in range(len(index)):
                    with contextlib.suppress(SekftError):
                        index.trajectory(n)
                assert all("\n" not in text for text in told(index))


def test_a_table_of_something_else(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": ["x"], "label": [1]}), tmp_path / "x.parquet")
    with pytest.raises(BadInput, match="no column of turns among 'prompt', 'label'"):
        load_trajectories(tmp_path)
    with pytest.raises(BadInput, match="no scenario bundles here"):
        load_scenarios(tmp_path)
    data = datasets.Dataset.from_list(rows(2))
    datasets.DatasetDict(good=data, bad=data).save_to_disk(tmp_path / "odd")
    with pytest.raises(BadInput, match="without a split train, but with good, bad"):
        load_trajectories(tmp_path / "odd")
    (tmp_path / "odd" / "dataset_dict.json").write_text('{"splits": ["../../etc"]}')
    with pytest.raises(BadInput, match="describes no data set"):
        load_trajectories(tmp_path / "odd")


def test_without_the_extra_a_table_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(pa.Table.from_pylist(rows(1)), tmp_path / "x.parquet")
    (tmp_path / "y.jsonl").write_bytes(lines(raw("y")))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Unavailable, match=r"pip install 'sekft-tui\[hub\]'"):
        load_trajectories(tmp_path / "x.parquet")
    index = open_index(tmp_path).read_all()
    assert ids(index) == ["y"], "the rest is there all the same"
    assert "pip install 'sekft-tui[hub]'" in told(index)[0]


def test_a_table_that_is_written_anew(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_pylist(rows(3)), file)
    index = open_index(tmp_path).read_all()
    assert index.trajectory(2).id == "t2"
    pq.write_table(pa.Table.from_pylist([raw("new")] * 1 + rows(3)), file)
    with pytest.raises(BadInput, match=r"x\.parquet:row 0: changed on disk"):
        index.trajectory(0)
    index.refresh()
    index.read_all()
    assert ids(index) == ["new", "t0", "t1", "t2"]
    assert index.trajectory(3).id == "t2"


_value = st.none() | st.sampled_from(["exit", "panic", "won", "", "é"])
_turn = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant", "system", "tool"]) | st.none(),
        "content": st.text(max_size=5) | st.none(),
    },
    optional={
        "ids": st.none() | st.lists(st.integers(0, 9) | st.none(), max_size=2),
        "t": st.none() | st.floats(0, 9),
        "exit_status": st.none() | st.integers(0, 9),
        "note": st.none() | st.text(max_size=3),
    },
)
_row = st.fixed_dictionaries(
    {"turns": st.none() | st.lists(_turn, max_size=3)},
    optional={
        "id": st.none() | st.sampled_from(["", "a", "b", "c"]),
        "messages": st.none() | st.lists(_turn, max_size=2),
        "scenario": _value,
        "provider": _value,
        "outcome": _value,
        "steps": st.none() | st.integers(-9, 9),
        "keep": st.none() | st.booleans(),
        "meta": st.none() | st.fixed_dictionaries({"clean": st.none() | st.booleans()}),
        "checker": st.none() | st.just("true"),
        "reference_solution": st.none() | st.lists(st.just("ls"), max_size=1),
    },
)


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values=st.lists(_row, min_size=1, max_size=5))
def test_columns_at_once_say_what_row_by_row_says(
    tmp_path_factory: pytest.TempPathFactory, values: list[dict[str, Any]]
) -> None:
    names = sorted({name for value in values for name in value})
    table = pa.Table.from_pylist([{name: value.get(name) for name in names} for value in values])
    file = tmp_path_factory.mktemp("t") / "x.parquet"
    pq.write_table(table, file)
    index = open_index(file).read_all()
    found = [index.trajectory(n).id for n in range(len(index))]  # compares all facts
    assert found == ids(index)
    assert len(index) + len(index.problems) == len(values)
    if not index.problems:
        assert [one.id for one in iter_trajectories(file)] == found
