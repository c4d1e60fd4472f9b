"""Trajectories are read from raw folders and curated files; what is wrong is told with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekft_engine.core.errors import BadInput, SekftError, Unavailable
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.sources import data_digest, iter_trajectories, load_trajectories
from tests.fuzzing import examples
from tests.sources.conftest import lines, raw, without_privileges


def test_a_raw_folder_is_filtered_on_keep_and_the_rest_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(raw("a")))
    (tmp_path / "b.json").write_text(json.dumps(raw("b", keep=False)))
    bare = raw("c")
    del bare["keep"]
    (tmp_path / "c.json").write_text(json.dumps(bare))
    loaded = load_trajectories(tmp_path)
    assert [one.id for one in loaded.trajectories] == ["a"]
    assert [(one.id, one.reason, one.detail) for one in loaded.skipped] == [
        ("b", "not_kept", "keep is false"),
        ("c", "not_kept", "it has no keep field"),
    ]
    everything = load_trajectories(tmp_path, keep_only=False)
    assert [one.id for one in everything.trajectories] == ["a", "b", "c"]
    assert everything.skipped == ()
    assert [one.id for one in iter_trajectories(tmp_path)] == ["a", "b", "c"]


def test_a_curated_jsonl_is_taken_whole(tmp_path: Path) -> None:
    file = tmp_path / "curated.jsonl"
    file.write_bytes(lines(raw("a"), raw("b", keep=False)) + b"\n  \n" + lines(raw("c")))
    assert [one.id for one in load_trajectories(file).trajectories] == ["a", "b", "c"]


def test_a_folder_may_hold_both(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(raw("a", keep=False)))
    (tmp_path / "b.jsonl").write_bytes(lines(raw("b", keep=False)))
    (tmp_path / "notes.txt").write_text("not ours")
    (tmp_path / ".c.json").write_text("{ half written")
    loaded = load_trajectories(tmp_path)
    assert [one.id for one in loaded.trajectories] == ["b"]
    assert [one.id for one in loaded.skipped] == ["a"]


@pytest.mark.parametrize("key", ["turns", "messages", "conversations"])
def test_other_names_for_turns_and_roles(key: str, tmp_path: Path) -> None:
    value = raw()
    del value["turns"]
    value[key] = [{"from": "human", "value": "$"}, {"from": "gpt", "value": "exit"}]
    (tmp_path / "a.json").write_text(json.dumps(value))
    (read,) = load_trajectories(tmp_path).trajectories
    assert [(turn.role, turn.content) for turn in read.turns] == [
        ("user", "$"),
        ("assistant", "exit"),
    ]


def test_unknown_fields_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(raw(score=0.5, meta={"clean": True, "x": [1]})))
    (read,) = load_trajectories(tmp_path).trajectories
    assert read.to_json()["score"] == 0.5
    assert read.meta["x"] == [1]


def test_a_missing_id_is_made_from_the_file_and_line(tmp_path: Path) -> None:
    nameless = raw()
    del nameless["id"]
    (tmp_path / "one.json").write_text(json.dumps(nameless))
    (tmp_path / "two.jsonl").write_bytes(lines(nameless, nameless | {"id": 7}))
    ids = [one.id for one in load_trajectories(tmp_path).trajectories]
    assert ids == ["one", "two:1", "7"]


def test_a_byte_order_mark_and_half_a_surrogate_pair_are_no_reason_to_stop(tmp_path: Path) -> None:
    text = json.dumps(raw(turns=[{"role": "user", "content": "\ud83d"}]))
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (read,) = load_trajectories(tmp_path).trajectories
    assert read.turns[0].content == "\ud83d"


BROKEN: list[tuple[str, bytes, str, str]] = [
    ("d.jsonl", lines(raw("a")) + b'{"id": \n', "d.jsonl:2", "broken JSON"),
    ("d.json", b'{\n "id": "a",\n oops\n}', "d.json:3", "broken JSON"),
    ("d.json", b"", "d.json:1", "broken JSON"),
    ("d.jsonl", lines(raw("a")) + b'{"id": "\xff"}\n', "d.jsonl:2", "not UTF-8: byte 0xff"),
    ("d.json", b'{\n\n"id": "\xff"}', "d.json:3", "not UTF-8: byte 0xff"),
    ("d.jsonl", lines(raw("a", turns=[])), "d.jsonl:1", "empty session"),
    ("d.jsonl", lines(raw("a", turns="x")), "d.jsonl:1", "no list of turns"),
    ("d.jsonl", lines([1, 2]), "d.jsonl:1 item 1", "must be a JSON object"),
    ("d.jsonl", lines(raw("a", turns=[3])), "d.jsonl:1: turn 1", "a turn must be an object"),
    (
        "d.jsonl",
        lines(raw("a"), raw("b", turns=[{"role": "wizard", "content": "x"}])),
        "d.jsonl:2: turn 1",
        "unknown role 'wizard'",
    ),
    (
        "d.jsonl",
        lines(raw("a", turns=[{"role": "user", "content": 5}])),
        "d.jsonl:1: turn 1",
        "content must be a string",
    ),
    ("d.jsonl", lines(raw("a"), raw("a")), "d.jsonl:2", "the id 'a' stands in"),
    (
        "d.jsonl",
        lines({"id": "b", "checker": "true", "reference_solution": ["ls"], "schema": 1}),
        "d.jsonl:1",
        "a scenario bundle where a trajectory belongs",
    ),
    ("d.json", b"[" * 100_000, "d.json:1 item 1", "nested more than 100 levels deep"),
    ("d.json", b"1" * 10_000, "d.json", ""),
    ("d.txt", b"{}", "d.txt", "cannot tell what kind"),
]


@pytest.mark.parametrize(("name", "data", "where", "what"), BROKEN)
def test_what_is_wrong_is_one_line_with_file_and_line(
    name: str, data: bytes, where: str, what: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(BadInput) as caught:
        load_trajectories(file, strict=True)
    told = str(caught.value)
    assert told.startswith(f"{tmp_path}/{where}: ")
    assert what in told
    assert "\n" not in told
    assert caught.value.exit_status == 2
    assert caught.value.mend, "the way out is missing"


def test_no_such_path_and_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file or folder"):
        load_trajectories(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="no trajectories here"):
        load_trajectories(tmp_path)
    for odd in ("a\x00b", "x" * 5000):
        with pytest.raises(SekftError):
            load_trajectories(odd)


@pytest.mark.parametrize("name", ["a.json", "b.jsonl"])
def test_no_permission_to_read(name: str, public_folder: Path) -> None:
    file = public_folder / name
    file.write_text("{}")
    file.chmod(0)
    with without_privileges(), pytest.raises(Unavailable) as caught:
        load_trajectories(public_folder)
    assert str(caught.value).startswith(f"{file}: cannot read: Permission denied (check")
    public_folder.chmod(0)
    for path in (public_folder, file):
        with without_privileges(), pytest.raises(Unavailable, match="Permission denied"):
            load_trajectories(path)


@pytest.mark.parametrize("name", ["a.json", "b.jsonl"])
def test_a_read_that_fails_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *_: object, **__: object) -> bytes:
        raise OSError(5, "Input/output error", str(self))

    (tmp_path / name).write_text("{}")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(Unavailable, match=f"{name}: cannot read: Input/output error"):
        load_trajectories(tmp_path / name)


def test_the_digest_knows_contents_and_no_order(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_bytes(lines(raw("a"), raw("b")))
    (tmp_path / "two.jsonl").write_bytes(lines(raw("b"), raw("a")))
    (tmp_path / "three.jsonl").write_bytes(lines(raw("a"), raw("b", steps=2)))
    one, two, three = (
        load_trajectories(tmp_path / f"{name}.jsonl").digest for name in ("one", "two", "three")
    )
    assert one == two != three
    assert one == data_digest(iter_trajectories(tmp_path / "one.jsonl"))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)
_turn = st.fixed_dictionaries(
    {}, optional={"role": _json | st.just("user"), "content": _json, "ids": _json, "t": _json}
)
_nearly = st.fixed_dictionaries(
    {},
    optional={"turns": _json | st.lists(_turn, max_size=3)}
    | dict.fromkeys(("id", "messages", "keep", "meta", "outcome", "provider"), _json),
)


@settings(max_examples=examples(300), deadline=None)
@given(value=_json | _nearly, cut=st.integers(0, 400), junk=st.binary(max_size=6))
def test_a_reader_never_fails_with_anything_but_its_own_error(
    tmp_path_factory: pytest.TempPathFactory, value: Any, cut: int, junk: bytes
) -> None:
    data = json.dumps(value).encode()
    folder = tmp_path_factory.mktemp("fuzz")
    for name, content in (("a.json", data), ("b.jsonl", data[:cut] + junk + data[cut:])):
        (folder / name).write_bytes(content)
        outcome = _attempt(folder / name)
        if isinstance(outcome, str):
            assert "\n" not in outcome
        else:
            assert all(one.turns for one in outcome)


def _attempt(path: Path) -> str | tuple[Trajectory, ...]:
    try:
        return load_trajectories(path, keep_only=False).trajectories
    except SekftError as error:
        return str(error)
