"""What is written is whole or not there; a reader gets back what was written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sekft_engine.core.errors import Unavailable
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.sources import (
    load_trajectories,
    staged,
    write_json,
    write_jsonl,
    write_trajectory,
)
from tests.sources.conftest import raw, without_privileges

ONE = Trajectory.from_json(
    raw("a", score=1, turns=[{"role": "user", "content": "é👋\ud83d\n"}]), "x"
)
TWO = Trajectory.from_json(raw("b"), "x")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_reading_back_gives_the_same(tmp_path: Path) -> None:
    write_trajectory(tmp_path / "a.json", ONE)
    write_jsonl(tmp_path / "b.jsonl", [TWO])
    assert load_trajectories(tmp_path).trajectories == (ONE, TWO)
    assert names(tmp_path) == ["a.json", "b.jsonl"]
    mask = os.umask(0o022)
    os.umask(mask)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o666 & ~mask


def test_text_stays_readable_for_people(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"content": "é👋"})
    assert "é👋" in (tmp_path / "x.json").read_text(encoding="utf-8")


def test_an_error_in_the_middle_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [ONE])
    before = (tmp_path / "a.jsonl").read_bytes()

    def broken() -> object:
        yield TWO
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write_jsonl(tmp_path / "a.jsonl", broken())  # type: ignore[arg-type]
    assert (tmp_path / "a.jsonl").read_bytes() == before
    assert names(tmp_path) == ["a.jsonl"]


def test_a_full_disk_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    """Real: the process may write files of 64 KiB at most (EFBIG), and /dev/full (ENOSPC)."""
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "from sekft_engine.core.errors import Unavailable\n"
        "from sekft_engine.sources import write_json\n"
        "try:\n"
        "    write_json(Path(sys.argv[1]) / 'a.json', 'x' * 200000)\n"
        "except Unavailable as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"{tmp_path}/a.json: cannot write: the file grows over a limit")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "the disk is full (free some space"),
        (errno.EROFS, "the file system is read-only (choose another folder"),
        (errno.EACCES, "no permission (change its permissions"),
    ],
)
def test_what_the_system_refuses_is_told_with_the_way_out(
    number: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "a.json").write_text("old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(Unavailable) as caught:
        write_trajectory(tmp_path / "a.json", ONE)
    assert str(caught.value).startswith(f"{tmp_path}/a.json: cannot write: {says}")
    assert (tmp_path / "a.json").read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"a\.json: cannot write: no such file or folder"):
        write_trajectory(tmp_path / "nowhere" / "a.json", ONE)


def test_no_permission_to_write(public_folder: Path) -> None:
    public_folder.chmod(0o555)
    with without_privileges(), pytest.raises(Unavailable) as caught:
        write_trajectory(public_folder / "a.json", ONE)
    assert str(caught.value).startswith(f"{public_folder}/a.json: cannot write: no permission (")
    assert names(public_folder) == []


def test_a_reader_of_the_folder_never_sees_the_stage(tmp_path: Path) -> None:
    write_trajectory(tmp_path / "a.json", ONE)
    with staged(tmp_path / "b.json") as file:
        file.write(b"{ half")
        file.flush()
        assert len(load_trajectories(tmp_path).trajectories) == 1
        file.seek(0)
        file.truncate()
        file.write(b'{"messages": [{"role": "user", "content": "$"}], "keep": true}')
    assert len(load_trajectories(tmp_path).trajectories) == 2
