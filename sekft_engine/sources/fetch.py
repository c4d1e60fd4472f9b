"""Read one trajectory back from where the index found it."""

from __future__ import annotations

from pathlib import Path

from sekft_engine.sources.catalog import Place
from sekft_engine.sources.listing import LINES, kind
from sekft_engine.sources.read import unreadable
from sekft_engine.sources.record import trajectory_in
from sekft_engine.trajectory import Trajectory


class Fetcher:
    """Reads only the line or the file that is asked for."""

    def trajectory(self, path: Path, place: Place, where: str) -> Trajectory:
        """What stands at ``place`` of the file ``path``.

        Raises:
            BadInput: no trajectory stands there any more.
            Unavailable: the file cannot be read.
        """
        _, line, offset, length = place
        name = f"{path.stem}:{line}" if kind(path.name) == LINES else path.stem
        return trajectory_in(read_bytes(path, offset, length), where, name)


def read_bytes(path: Path, offset: int, length: int) -> bytes:
    """``length`` bytes of a file, or what is left of them.

    Raises:
        Unavailable: it cannot be read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            parts = []
            while length > 0 and (part := file.read(length)):
                parts.append(part)
                length -= len(part)
            return b"".join(parts)
    except OSError as error:
        raise unreadable(path, error) from error
