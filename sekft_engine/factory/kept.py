"""Sessions of the gate that are kept while they are made, so that none is recorded twice."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO

import msgspec

from sekft_engine.core.errors import SekftError
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.factory.gate import Admission


class KeptSessions:
    """The admitted bundles of a file, one a line with its recorded session. Thread-safe.

    A bundle is found again only if nothing of it has changed, nor the conditions under which it was
    tried. A line that was cut off is passed over.

    Args:
        file: open for adding, or None to keep nothing.
        found: sessions by key.
        conditions: under which bundles are tried: sandbox, userland, dialect.
    """

    def __init__(
        self, file: IO[bytes] | None, found: dict[str, Trajectory], conditions: tuple[str, ...]
    ) -> None:
        self._file = file
        self._found = found
        self._conditions = conditions
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path | None, conditions: tuple[str, ...]) -> KeptSessions:
        """The sessions in the file ``path``, which is made where it is not there."""
        if path is None:
            return cls(None, {}, conditions)
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = path.read_bytes() if path.is_file() else b""
        found = dict(_read(whole.splitlines(), str(path)))
        file = path.open("ab")
        if whole and not whole.endswith(b"\n"):
            file.write(b"\n")
        return cls(file, found, conditions)

    def __enter__(self) -> KeptSessions:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            with self._lock:
                self._file.close()

    def find(self, bundle: Scenario) -> Admission | None:
        """The admission of ``bundle``; None = it was not tried yet."""
        if self._file is None:
            return None
        trajectory = self._found.get(self._key(bundle))
        if trajectory is None:
            return None
        return Admission(scenario=bundle.id, admitted=True, trajectory=trajectory)

    def add(self, bundle: Scenario, admission: Admission) -> None:
        """Keep an admission; a refusal is not kept."""
        if self._file is None or not admission.admitted or admission.trajectory is None:
            return
        line = msgspec.json.encode(
            {"key": self._key(bundle), "trajectory": admission.trajectory.to_json()}
        )
        with self._lock:
            if not self._file.closed:  # a thread of a factory that was stopped may come late
                self._file.write(line + b"\n")
                self._file.flush()

    def _key(self, bundle: Scenario) -> str:
        what = msgspec.json.encode([bundle.to_json(), self._conditions], order="sorted")
        return hashlib.sha256(what).hexdigest()


def _read(lines: Iterable[bytes], where: str) -> Iterable[tuple[str, Trajectory]]:
    for line in lines:
        try:
            raw = msgspec.json.decode(line)
            yield str(raw["key"]), Trajectory.from_json(raw["trajectory"], where)
        except (msgspec.DecodeError, KeyError, TypeError, SekftError):
            continue
