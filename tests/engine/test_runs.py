"""Runs on disk: a reader sees a whole state at any instant."""

from __future__ import annotations

import errno
import json
import tarfile
from pathlib import Path

import pytest

from sekft_engine.core.errors import BadInput
from sekft_engine.core.files import staged_folder, write_whole
from sekft_engine.records.runs import (
    adapter_folder,
    create_run,
    find_run,
    list_runs,
    read_run,
)
from sekft_engine.records.trainings import TrainResult
from sekft_engine.records.upkeep.copy import export_run


def test_runs_are_numbered_in_the_order_they_were_made(tmp_path: Path) -> None:
    made = [create_run(tmp_path, kind, about={}) for kind in ("train", "eval", "train")]
    assert [run.id for run in made] == ["001-train", "002-eval", "003-train"]
    assert [info.id for info in list_runs(tmp_path)] == [run.id for run in made]
    assert create_run(tmp_path, "train", about={}, name="a b/c").id == "004-train-a-b-c"


def test_a_run_whose_writer_is_gone_has_died(tmp_path: Path) -> None:
    run = create_run(tmp_path, "train", about={"recipe": {"lr": 1}})
    assert read_run(run.folder).status == "running"
    run.close()
    assert read_run(run.folder).status == "died"
    assert read_run(run.folder).about == {"recipe": {"lr": 1}}


def test_a_folder_that_holds_something_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(BadInput, match="not empty"):
        create_run(None, "train", about={}, out=str(tmp_path / "mine"))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    with pytest.raises(BadInput, match="--out"):
        create_run(None, "train", about={})


def test_a_run_is_found_by_the_beginning_of_its_id_or_by_its_folder(tmp_path: Path) -> None:
    first = create_run(tmp_path, "train", about={})
    create_run(tmp_path, "train", about={})
    assert find_run(tmp_path, "001").id == first.id
    assert find_run(tmp_path, str(first.folder)).id == first.id
    with pytest.raises(BadInput, match="several"):
        find_run(tmp_path, "00")
    with pytest.raises(BadInput, match="no such run"):
        find_run(tmp_path, "9")


def test_a_broken_manifest_is_named_and_does_not_hide_the_other_runs(tmp_path: Path) -> None:
    good = create_run(tmp_path, "train", about={})
    bad = tmp_path / "002-train"
    bad.mkdir()
    (bad / "run.json").write_text("[]")
    with pytest.raises(BadInput, match=r"/run\.json: broken manifest: not a JSON object"):
        read_run(bad)
    (bad / "run.json").write_text("{")
    with pytest.raises(BadInput, match=r"002-train/run\.json: broken manifest"):
        read_run(bad)
    assert [info.id for info in list_runs(tmp_path)] == [good.id]


def test_a_manifest_survives_being_moved_elsewhere(tmp_path: Path) -> None:
    run = create_run(tmp_path, "train", about={})
    run.write(status="done", result={"steps": 3})
    run.close()
    moved = tmp_path / "moved"
    run.folder.rename(moved)
    info = read_run(moved)
    assert (info.path, info.id, info.result) == (str(moved), "001-train", TrainResult(steps=3))
    assert str(tmp_path) not in json.dumps(json.loads((moved / "run.json").read_text()))


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "adapter"
    for text in ("one", "two"):
        with staged_folder(target) as stage:
            (stage / "weights").write_text(text)
        assert (target / "weights").read_text() == text

    def fail() -> None:
        with staged_folder(target) as stage:
            (stage / "weights").write_text("half of three")
            raise RuntimeError("the power fails")

    with pytest.raises(RuntimeError):
        fail()
    assert (target / "weights").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_what_a_folder_lacks_is_named_by_its_own_place(tmp_path: Path) -> None:
    """And not by that of the half-made one, which is gone by then."""
    target = tmp_path / "base"
    with pytest.raises(OSError, match="full") as caught, staged_folder(target) as stage:
        raise OSError(errno.ENOSPC, "full", str(stage / "weights"))
    assert caught.value.filename == str(target / "weights")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_an_adapter_is_taken_from_its_folder_or_from_its_runs(tmp_path: Path) -> None:
    adapter = tmp_path / "run" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text("{}")
    assert adapter_folder(adapter) == adapter_folder(tmp_path / "run") == adapter
    with pytest.raises(BadInput, match="no such folder"):
        adapter_folder(tmp_path / "nothing")
    with pytest.raises(BadInput, match="no adapter"):
        adapter_folder(tmp_path)


@pytest.mark.parametrize("target", ["out", "out.tar.gz"])
def test_an_export_holds_what_the_run_held(tmp_path: Path, target: str) -> None:
    run = create_run(tmp_path / "runs", "eval", about={})
    run.episodes.mkdir()
    (run.episodes / "one.json").write_text("{}")
    run.close()
    written = export_run(read_run(run.folder), tmp_path / target)
    if target.endswith(".gz"):
        with tarfile.open(written) as archive:
            archive.extractall(tmp_path / "unpacked", filter="data")
        written = tmp_path / "unpacked" / run.id
    assert read_run(written).id == run.id
    assert (written / "episodes" / "one.json").read_text() == "{}"
    with pytest.raises(BadInput, match="already there"):
        export_run(read_run(run.folder), tmp_path / target)


def test_a_folder_whose_process_died_before_it_wrote_who_it_is_can_be_taken(
    tmp_path: Path,
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "events.jsonl").touch()
    (out / ".run.json.half").write_text("{")
    run = create_run(None, "train", about={}, out=str(out))
    run.close()
    with pytest.raises(BadInput, match="not empty"):
        create_run(None, "train", about={}, out=str(out))
