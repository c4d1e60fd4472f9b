"""The journal: whole lines, whatever happens to the writer."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sekft_engine.core.errors import Unavailable
from sekft_engine.records import events
from sekft_engine.records.journal import (
    Journal,
    decode_line,
    is_being_written,
    read_events,
    read_from,
)


def log(text: str) -> events.Log:
    return events.Log(job="j", t=1.0, level="info", text=text)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    written = [log("one"), log("zwei\nlines \u2028 too"), log("")]
    for event in written:
        journal.write(event)
    assert read_events(journal.path) == written


def test_a_line_torn_by_a_crash_loses_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(events.encode(log("whole")) + b"\n" + events.encode(log("torn"))[:-7])
    assert read_events(path) == [log("whole")]
    journal = Journal(path)
    journal.write(log("after"))
    assert read_events(path) == [log("whole"), log("after")]


def test_a_reader_can_follow_without_reading_anything_twice(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    assert read_from(tmp_path / "nothing") == ([], 0)
    journal.write(log("one"))
    first, offset = read_from(journal.path)
    journal.write(log("two"))
    with journal.path.open("ab") as file:
        file.write(b'{"event":"Log","job')  # another line is on its way
    second, end = read_from(journal.path, offset)
    assert (first, second) == ([log("one")], [log("two")])
    assert read_from(journal.path, end) == ([], end)


def test_a_loss_that_is_no_number_is_read_as_one_that_is_none() -> None:
    event = events.HeldoutDone(job="j", t=1.0, step=3, loss=math.nan, tokens=5)
    read = decode_line(events.encode(event))
    assert isinstance(read, events.HeldoutDone)
    assert math.isnan(read.loss)
    assert read.step == 3


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"null", b'{"event":"OfTomorrow","job":"j"}', b"\xff\xfe"]
)
def test_what_cannot_be_understood_is_passed_over(line: bytes) -> None:
    assert decode_line(line) is None


def test_only_one_process_writes_and_others_can_tell(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    journal = Journal(path)
    assert is_being_written(path)
    with pytest.raises(Unavailable, match="another process"):
        Journal(path)
    journal.close()
    assert not is_being_written(path)
    assert not is_being_written(tmp_path / "nothing")


def test_who_only_looks_whether_a_journal_is_written_keeps_nobody_from_writing_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "events.jsonl"
    path.touch()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            is_being_written(path)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(100):
            Journal(path).close()
    finally:
        over.set()
        looker.join()


def test_a_disk_that_refuses_in_the_middle_of_a_line_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    script = f"""
import resource
from pathlib import Path
from sekft_engine.records import events
from sekft_engine.records.journal import Journal
journal = Journal(Path({str(path)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (250, 250))
try:
    for number in range(9):
        journal.write(events.Log(job="j", t=1.0, level="info", text="x" * 50))
except OSError:
    raise SystemExit(7)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert done.returncode == 7
    assert path.read_bytes().endswith(b"\n")
    assert len(read_events(path)) == 2


NO_LOCKS = """
import errno, fcntl, sys, time
from pathlib import Path

def refuse(*_):
    raise OSError(errno.{name}, "no locks here")

fcntl.flock = refuse
from sekft_engine.core.errors import Unavailable
from sekft_engine.records.journal import Journal, is_being_written
path = Path(sys.argv[1])
"""


def without_locks(path: Path, code: str, name: str = "ENOSYS") -> subprocess.Popen[str]:
    """Run ``code`` where the file system of ``path`` has no locks."""
    return subprocess.Popen(
        [sys.executable, "-c", NO_LOCKS.format(name=name) + code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("name", ["ENOSYS", "ENOLCK", "EOPNOTSUPP", "EBADF"])
def test_where_there_are_no_locks_a_run_is_written_with_one_warning(
    tmp_path: Path, name: str
) -> None:
    code = """
first, second = Journal(path), Journal(path.with_name("other.jsonl"))
print(is_being_written(path), flush=True)
first.close()
print(is_being_written(path), flush=True)
"""
    out, err = without_locks(tmp_path / "events.jsonl", code, name).communicate(timeout=60)
    assert out.split() == ["True", "False"]
    assert len(err.splitlines()) == 1
    assert "no locks" in err


def test_where_there_are_no_locks_the_process_that_writes_is_known(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = without_locks(path, "journal = Journal(path); print('open', flush=True); input()")
    assert writer.stdout is not None
    assert writer.stdout.readline() == "open\n"
    ask = """
try:
    Journal(path)
except Unavailable as error:
    print(error.what)
print(is_being_written(path))
"""
    out, _ = without_locks(path, ask).communicate(timeout=60)
    assert out.splitlines() == ["another process is writing this journal", "True"]
    writer.kill()
    writer.communicate(timeout=60)
    out, _ = without_locks(path, "print(is_being_written(path)); Journal(path)").communicate(
        timeout=60
    )
    assert out.splitlines() == ["False"]
