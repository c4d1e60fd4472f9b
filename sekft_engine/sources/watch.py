"""Watching: notice by names, sizes and times which files are new, grown, changed or gone."""

from __future__ import annotations

import stat
import time

import numpy as np

from sekft_engine.errors import SekftError
from sekft_engine.sources.facts import Problem
from sekft_engine.sources.filetable import GONE, NEW
from sekft_engine.sources.scan import FOLDER, FRESH_NS, Scan

#: Finished files of one trajectory that one look takes, in turn: who replaces a file is noticed
#: by the folder at once, who writes into an old one within some looks.
LOOKED_AT = 2000


class Watch:
    """Looks at the disk on behalf of a scan."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._folder_changed = -1
        self._turn = 0

    def refresh(self, *, everywhere: bool = False) -> bool:
        """Look once, at what may have changed or ``everywhere``; true when something changed or
        is left to read."""
        scan = self._scan
        if not scan.complete:
            return True
        if not scan.source.watched:
            return False
        before = scan.generation, len(scan.files), len(scan.loose)
        self._look_at_folder()
        worth = range(len(scan.files)) if everywhere else self._worth_a_look()
        for file in worth:
            self._look_at(file)
        after = scan.generation, len(scan.files), len(scan.loose)
        return before != after or not scan.complete

    def _look_at_folder(self) -> None:
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
        scan.loose.pop(FOLDER, None)
        try:
            found = scan.source.list()
        except SekftError as error:
            scan.loose[FOLDER] = Problem.of(error, "unreadable")
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
        scan.again.extend(np.union1d(changed, back).tolist())
        for file in np.flatnonzero(~here & (scan.files.states != GONE)).tolist():
            scan.forget(file)
            scan.files.states[file] = GONE
        new = np.flatnonzero(~known).tolist()
        scan.files.add([names[n] for n in new], [int(inodes[n]) for n in new])

    def _worth_a_look(self) -> set[int]:
        scan = self._scan
        count = len(scan.files)
        start = self._turn if self._turn < count else 0
        self._turn = start + LOOKED_AT
        files = {*scan.lines, *scan.held, *scan.loose, *range(start, min(self._turn, count))}
        return files - {FOLDER}

    def _look_at(self, file: int) -> None:
        scan = self._scan
        if scan.files.states[file] in (GONE, NEW) or file in scan.again:
            return
        try:
            status = scan.path(file).stat()
        except OSError:
            if file not in scan.loose:
                scan.again.append(file)  # reading it tells why
            return
        if not scan.files.same(file, status):
            scan.again.append(file)
        elif file in scan.held:
            scan.loose[file] = scan.held.pop(file)
