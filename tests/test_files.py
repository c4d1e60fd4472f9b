"""Files are written whole, and what is no file is written into."""

from __future__ import annotations

import errno
import os
import resource
import threading
from pathlib import Path

import pytest

from sekft_engine.core.errors import NoRoom, in_words
from sekft_engine.core.files import read_regular, write_whole
from sekft_engine.data.workspace import Workspace


def test_a_pipe_gets_what_is_written_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_whole(pipe, b"a page")
    reader.join(60)
    assert read == [b"a page"]
    assert pipe.is_fifo()


def test_a_link_to_a_file_is_replaced_by_the_file(tmp_path: Path) -> None:
    target, link = tmp_path / "old", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_whole(link, b"new")
    assert (link.read_bytes(), target.read_bytes()) == (b"new", b"old")


def test_a_workspace_without_room_is_no_matter_of_permissions(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(NoRoom):
            Workspace(tmp_path / "w").create()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_no_file_or_too_large_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * 9)
    for name, why in (("pipe", "not a regular file"), (".", "is a folder"), ("a\0b", "no path")):
        with pytest.raises(OSError, match=why):
            read_regular(tmp_path / name)
    with pytest.raises(OSError, match="is larger than"):
        read_regular(tmp_path / "large", most=8)
    assert read_regular(tmp_path / "large", most=9) == b"x" * 9


def test_a_full_disk_is_told_by_the_name_of_the_file_that_has_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as refused:
        write_whole(tmp_path / "curve.csv", b"1,2")
    assert in_words(refused.value).startswith(f"{tmp_path / 'curve.csv'}: the disk is full")
    assert list(tmp_path.iterdir()) == []


def test_where_a_copy_has_no_room_its_target_is_named() -> None:
    copied = OSError(errno.ENOSPC, "No space left on device", "/big/from", None, "/small/to")
    assert in_words(copied).startswith("/small/to: the disk is full (")
