"""When what is wrong with a file is told: not while somebody may still be writing it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sekft_engine.sources.index.facts import Problem
from sekft_engine.sources.index.file_problems import FileProblems

HALF = Problem(where="a.json", what="it ends too early", reason="broken", dropped="")
DAMAGED = Problem(where="a.json", what="it is damaged", reason="broken", dropped="")
FILE = 3


@pytest.fixture
def problems() -> FileProblems:
    return FileProblems()


def status(path: Path, *, seconds_ago: float) -> os.stat_result:
    path.touch()
    then = path.stat().st_mtime - seconds_ago
    os.utime(path, (then, then))
    return path.stat()


def test_a_problem_of_a_file_that_rests_is_told_at_once(
    problems: FileProblems, tmp_path: Path
) -> None:
    problems.hold(FILE, HALF, status(tmp_path / "a.json", seconds_ago=3600))
    assert problems.reported == {FILE: HALF}
    assert problems.files_with("broken") == {FILE}


def test_a_problem_of_a_file_that_was_just_written_is_told_once_it_did_not_change(
    problems: FileProblems, tmp_path: Path
) -> None:
    problems.hold(FILE, HALF, status(tmp_path / "a.json", seconds_ago=-3600))
    assert not problems.reported
    assert problems.files == {FILE}, "it is looked at again"
    problems.settle(FILE)
    assert problems.reported == {FILE: HALF}
    assert not problems.held


def test_a_file_that_is_read_again_has_no_problem_but_a_new_one(
    problems: FileProblems, tmp_path: Path
) -> None:
    problems.hold(FILE, HALF, status(tmp_path / "a.json", seconds_ago=-3600))
    problems.report(FILE, DAMAGED)
    problems.settle(FILE)
    assert problems.reported == {FILE: DAMAGED}
    problems.forget(FILE)
    problems.settle(FILE)
    assert not problems.files
