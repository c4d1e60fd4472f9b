"""What is wrong with whole files, as far as that may have another end when they are read again."""

from __future__ import annotations

import os
import time

from sekft_engine.sources.index.facts import Problem

#: A file that changed less than so many ns ago may still be in the process of being written.
FRESH_NS = 2_000_000_000
#: The number under which the folder itself has a problem.
FOLDER = -1


class FileProblems:
    """One problem of a file at most: that of the last time it was read.

    Attributes:
        reported: the problems that are told, by their files.
        held: those that a half-written file may have, which are not told yet.
    """

    def __init__(self) -> None:
        self.reported: dict[int, Problem] = {}
        self.held: dict[int, Problem] = {}

    @property
    def files(self) -> set[int]:
        """The files that are worth another look."""
        return {*self.reported, *self.held}

    def report(self, file: int, problem: Problem) -> None:
        """Tell a problem in place of any other of the file."""
        self.held.pop(file, None)
        self.reported[file] = problem

    def hold(self, file: int, problem: Problem, status: os.stat_result) -> None:
        """Tell a problem, or hold it back while somebody may still be writing."""
        fresh = time.time_ns() - status.st_mtime_ns < FRESH_NS
        (self.held if fresh else self.reported)[file] = problem

    def settle(self, file: int) -> None:
        """The file has not changed since it was read: its problem is one."""
        if file in self.held:
            self.reported[file] = self.held.pop(file)

    def forget(self, file: int) -> None:
        self.held.pop(file, None)
        self.reported.pop(file, None)

    def files_with(self, reason: str) -> set[int]:
        """The files whose problem is told for this reason."""
        return {file for file, problem in self.reported.items() if problem.reason == reason}
