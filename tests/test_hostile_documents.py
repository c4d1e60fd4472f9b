"""Files of runs, episodes, bases and data that someone damaged, or made to do harm."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekft_engine.bases.digest import base_digest
from sekft_engine.bases.layers import layer_names
from sekft_engine.core.errors import BadInput, SekftError
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.episodes.store import episode_path, episodes_of, read_episode
from sekft_engine.records.journal import read_events
from sekft_engine.records.runs import create_run, list_runs, read_run
from sekft_engine.records.upkeep.copy import export_run
from sekft_engine.render import ChatTokenizer
from sekft_engine.sources.read.parse import trajectory_in
from tests.fuzzing import fuzz
from tests.hostile import hostile_text

DEEP = b"[" * 100_000
BROKEN = {
    "nested without end": DEEP,
    "nested in a field": b'{"id": ' + DEEP,
    "a list": b"[]",
    "a number": b"1",
    "nothing": b"",
    "no text": b"\xff\xfe\x00",
    "cut off": b'{"id": "x',
    "half a surrogate pair": b'{"id": "\\ud800", "turns": 3, "steps": "\\ud800"}',
}


def run_manifest(folder: Path, data: bytes) -> None:
    (folder / "run.json").write_bytes(data)
    read_run(folder)


def episode(folder: Path, data: bytes) -> None:
    (folder / "e.json").write_bytes(data)
    read_episode(folder / "e.json")


def refuse_text(data: bytes) -> None:
    """Configurations and headers may hold any text."""
    if b"ud800" in data:
        raise BadInput("any text is fine there", where="a base")


def base_config(folder: Path, data: bytes) -> None:
    (folder / "config.json").write_bytes(data)
    base_digest(folder)
    refuse_text(data)


def base_weights(folder: Path, data: bytes) -> None:
    (folder / "model.safetensors").write_bytes(len(data).to_bytes(8, "little") + data)
    layer_names(folder)
    refuse_text(data)


def base_tokenizer(folder: Path, data: bytes) -> None:
    (folder / "tokenizer.json").write_bytes(data)
    ChatTokenizer.load(folder)


def trajectory(_: Path, data: bytes) -> None:
    trajectory_in(data, "t.json", "t")


READERS: list[Callable[[Path, bytes], None]] = [
    run_manifest, episode, base_config, base_weights, base_tokenizer, trajectory,
]  # fmt: skip


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_a_file_that_is_not_what_it_should_be_is_named(
    reader: Callable[[Path, bytes], None], data: bytes, tmp_path: Path
) -> None:
    with pytest.raises(SekftError) as refused:
        reader(tmp_path, data)
    assert refused.value.where
    assert "\n" not in str(refused.value)


def test_one_broken_run_or_episode_hides_no_other(tmp_path: Path) -> None:
    create_run(tmp_path, "eval", about={})
    for number, data in enumerate(BROKEN.values(), 2):
        folder = tmp_path / f"{number:03d}-eval"
        folder.mkdir()
        (folder / "run.json").write_bytes(data)
        (folder / f"e{number}.json").write_bytes(data)
        assert episodes_of(folder) == {}
    assert [info.id for info in list_runs(tmp_path)] == ["001-eval"]


def test_a_journal_is_read_past_lines_that_are_none(tmp_path: Path) -> None:
    run = create_run(tmp_path, "train", about={})
    path = run.folder / "events.jsonl"
    path.write_bytes(b"".join(data + b"\n" for data in BROKEN.values() if b"\n" not in data))
    assert read_events(path) == []


@pytest.mark.parametrize(
    "name", ["../../out", "/out", "..", "a/b", "-x", "\u202e", "a\nb", 5, None]
)
def test_a_runs_own_id_does_not_lead_out_of_its_archive(tmp_path: Path, name: Any) -> None:
    run = create_run(tmp_path / "runs", "eval", about={})
    run.close()
    manifest = run.folder / "run.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"id": name}))
    info = read_run(run.folder)
    export_run(info, tmp_path / "out.tar.gz")
    with tarfile.open(tmp_path / "out.tar.gz") as archive:
        for member in archive.getnames():
            assert member.split("/")[0] == info.id
            assert ".." not in member.split("/")


@fuzz(300)
@given(subject=hostile_text(), trial=hostile_text())
def test_an_episodes_file_lies_in_its_folder_whatever_its_names(subject: str, trial: str) -> None:
    path = episode_path(Path("/runs/r/episodes"), subject, trial)
    assert path.parent == Path("/runs/r/episodes")
    assert path.suffix == ".json"
    assert not path.name.startswith(".")
    assert len(path.name.encode()) <= 255


@fuzz(300)
@given(
    fields=st.dictionaries(
        st.sampled_from([*Trajectory.__struct_fields__, "messages", "x"]),
        st.one_of(hostile_text(), st.none(), st.integers(), st.lists(st.none(), max_size=2))
        | st.lists(st.fixed_dictionaries({"role": hostile_text(), "content": hostile_text()})),
    )
)
def test_a_trajectory_is_read_or_refused_by_name(fields: dict[str, Any]) -> None:
    try:
        Trajectory.from_json(fields, "data.jsonl:3")
    except BadInput as error:
        refused = error
    else:
        return
    assert str(refused.where).startswith("data.jsonl:3")
