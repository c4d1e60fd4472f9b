"""Notice by names, sizes and times which files are new, grown, changed or gone."""

from __future__ import annotations

import stat
import time

import numpy as np

from sekft_engine.core.errors import SekftError
from sekft_engine.sources.index.facts import Problem
from sekft_engine.sources.index.file_problems import FOLDER, FRESH_NS
from sekft_engine.sources.index.file_table import GONE, NEW
from sekft_engine.sources.index.scan import Scan

#: How many finished files one refresh checks, in turn. A file that is replaced is noticed by the
#: folder at once, one that is written into within some refreshes.
CHECKED_AT_ONCE = 2000


class FileWatcher:
    """Checks the disk for a scan.

    Args:
        scan: the files that it found are checked.
    """

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._folder_changed = -1
        self._turn = 0

    def refresh(self, *, everywhere: bool = False) -> bool:
        """Check what may have changed, or everything; true if something changed or is left to
        read."""
        scan = self._scan
        if not scan.complete:
            return True
        if not scan.source.watched:
            return False
        before = self._extent()
        self._check_folder()
        worth = range(len(scan.files)) if everywhere else self._due_files()
        for file in worth:
            self._check_file(file)
        return before != self._extent() or not scan.complete

    def _extent(self) -> tuple[int, int, int]:
        """What is not the same after a change that is shown."""
        scan = self._scan
        return scan.generation, len(scan.files), len(scan.file_problems.reported)

    def _check_folder(self) -> None:
        scan = self._scan
        try:
            status = scan.source.root.stat()
        except OSError:
            changed = 0  # listing it tells why
        else:
            alone = not stat.S_ISDIR(status.st_mode)
            if alone and len(scan.files) and scan.files.states[0] != GONE:
                return
            changed = status.st_mtime_ns
        if changed == self._folder_changed:
            return
        # A second change within a tick of the clock leaves no trace: until then, look again.
        fresh = time.time_ns() - changed < FRESH_NS
        self._folder_changed = -1 if fresh else changed
        self._list()

    def _list(self) -> None:
        scan = self._scan
        scan.file_problems.forget(FOLDER)
        try:
            found = scan.source.list()
        except SekftError as error:
            scan.file_problems.report(FOLDER, Problem.of(error, "unreadable"))
            found = []
        names = [each.name for each in found]
        inodes = np.array([each.inode for each in found], np.uint64)
        files = scan.files.find(names)
        known = files >= 0
        here = np.zeros(len(scan.files), bool)
        here[files[known]] = True
        changed = files[known][scan.files.listed[files[known]] != inodes[known]]
        scan.files.listed[files[known]] = inodes[known]
        back = np.flatnonzero(here & (scan.files.states == GONE))
        scan.files.states[back] = NEW
        scan.to_read_again.extend(np.union1d(changed, back).tolist())
        for file in np.flatnonzero(~here & (scan.files.states != GONE)).tolist():
            scan.forget(file)
            scan.files.states[file] = GONE
        new = np.flatnonzero(~known).tolist()
        scan.files.add([names[n] for n in new], [int(inodes[n]) for n in new])

    def _due_files(self) -> set[int]:
        scan = self._scan
        count = len(scan.files)
        start = self._turn if self._turn < count else 0
        self._turn = start + CHECKED_AT_ONCE
        files = {*scan.lines, *scan.file_problems.files, *range(start, min(self._turn, count))}
        return files - {FOLDER}

    def _check_file(self, file: int) -> None:
        scan = self._scan
        if scan.files.states[file] in (GONE, NEW) or file in scan.to_read_again:
            return
        try:
            status = scan.path(file).stat()
        except OSError:
            if file not in scan.file_problems.reported:
                scan.to_read_again.append(file)  # reading it tells why
            return
        if not scan.files.same(file, status):
            scan.to_read_again.append(file)
        else:
            scan.file_problems.settle(file)
