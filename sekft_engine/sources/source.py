"""Where an index gets its files from: a path, or a data set on the Hub."""

from __future__ import annotations

from pathlib import Path

from sekft_engine.sources.listing import LINES, RAW, TABLE, Found, check_path, kind, list_files


class Source:
    """A folder or a file.

    Raises:
        BadInput: there is nothing at ``path``, or nothing that holds trajectories.
        Unavailable: no permission.
    """

    #: Whether files may come, grow, change and go.
    watched = True
    #: Whether raw recordings count only with ``keep``.
    raw = True

    def __init__(self, path: Path) -> None:
        check_path(path)
        self.root = path

    def __str__(self) -> str:
        return str(self.root)

    def list(self) -> list[Found]:
        """The files there are now, in the order of their rows."""
        return list_files(self.root)

    def path(self, name: str) -> Path:
        return self.root / name


class HubSource(Source):
    """The files of a split of a data set on the Hub, fetched or found in its cache when they are
    listed first. A published data set is curated."""

    watched = False
    raw = False

    def __init__(self, name: str, split: str = "train") -> None:
        self.name = name
        self.split = split
        self.root = Path("/")

    def __str__(self) -> str:
        return self.name

    def list(self) -> list[Found]:
        from sekft_engine.sources.hub import hub_files

        files = hub_files(self.name, self.split)
        return [Found(str(path.absolute().relative_to(self.root)), 0) for path in files]


def record_name(path: Path, number: int) -> str:
    """The id of a trajectory that has none; ``number`` is its line or row."""
    return path.stem if kind(path.name) in (RAW, "") else f"{path.stem}:{number}"


def record_where(path: Path | str, number: int) -> str:
    """A trajectory's place as a person is told it: the first line is 1, the first row 0."""
    path = str(path)
    if path.endswith(RAW):
        return path
    format_ = kind(path)
    if format_ == LINES:
        return f"{path}:{number}"
    return f"{path}:row {number}" if format_ == TABLE else path
