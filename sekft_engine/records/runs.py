"""Runs on disk: a manifest, a journal, an adapter or episodes, each written whole."""

from __future__ import annotations

import datetime as dt
import errno
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from sekft_engine.core.documents import convert, decode
from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.core.files import read_regular, write_whole
from sekft_engine.core.text import quiet_json
from sekft_engine.data.bundle_check import is_file_name
from sekft_engine.data.clock import Clock
from sekft_engine.data.dialect import Dialect
from sekft_engine.records.adapted import AdaptedShare
from sekft_engine.records.adapters import CONFIG, WEIGHTS
from sekft_engine.records.journal import (
    Journal,
    is_being_written,
    mark_path,
    read_events,
    read_from,
)
from sekft_engine.records.results import AnyResult, read_result

__all__ = [
    "Run",
    "RunInfo",
    "adapter_folder",
    "create_run",
    "find_run",
    "list_runs",
    "read_events",
    "read_from",
    "read_run",
    "reopen_run",
    "run_of",
    "survey_runs",
]

MANIFEST = "run.json"
EVENTS = "events.jsonl"
ADAPTER = "adapter"
TOKEN_LOSSES = "token_losses.jsonl"  # noqa: S105 - tokens of text
SCHEMA = 1


class BaseFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The base that a run trained on, where it computed, and which share of it its adapter
    reaches."""

    path: str = ""
    digest: str = ""
    load_4bit: bool = False
    device: str = ""
    adapted: AdaptedShare | msgspec.UnsetType = msgspec.UNSET


class DataFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The data that a run trained on.

    Attributes:
        source: what was named when the run began (``from`` in JSON).
        sha256: a digest of the rows made of it; ``order`` one of the order they were taken in.
        kept, heldout: how many trajectories are trained on and held out.
        dropped: how many were dropped, by the reason.
        notes: in how many something was read in another form or is not used, by what it was.
        passed_over: how many files of the folder were not read, by their endings.
        untrained_commands: how many commands were not trained because their session says so.
        path, hub: where the data can be found again from any folder.
    """

    source: str = msgspec.field(name="from", default="")
    sha256: str = ""
    kept: int = 0
    order: str = ""
    heldout: int = 0
    dropped: dict[str, int] = {}
    path: str = ""
    hub: str = ""
    notes: dict[str, int] = {}
    passed_over: dict[str, int] = {}
    untrained_commands: int = 0


class WorldsFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The scenarios that the adapter was tried in while it trained; empty = it was not."""

    path: str = ""
    sha256: str = ""


class RunFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What decides the numbers of a training run; empty for other runs.

    ``render`` holds the digests of tokenizer, template and normaliser version, ``dialect`` the
    prompt. ``clock`` is what the chat template was told is now, where it may ask; older
    runs do not have it.
    """

    base: BaseFacts = BaseFacts()
    data: DataFacts = DataFacts()
    worlds: WorldsFacts | msgspec.UnsetType = msgspec.UNSET
    render: dict[str, str] = {}
    clock: Clock | msgspec.UnsetType = msgspec.UNSET
    dialect: Dialect | None = None
    versions: dict[str, str] = {}


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a run's manifest says. ``status``: running, done, failed, stopped or died.

    ``about`` holds the recipe (train) or the subjects (eval), ``facts`` the digests and versions,
    ``adapter`` the adapter's folder where there is one, ``job`` what was asked for, with absolute
    paths (empty in runs of older versions).
    """

    id: str
    path: str
    kind: str
    status: str
    created: str
    name: str = ""
    about: dict[str, Any] = {}
    facts: RunFacts = RunFacts()
    result: AnyResult = {}
    error: str = ""
    adapter: str = ""
    job: dict[str, Any] = {}

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "result", read_result(self.kind, self.result))

    @property
    def events_path(self) -> Path:
        return Path(self.path) / EVENTS


class Run:
    """A run that is being written by this process."""

    def __init__(self, folder: Path, info: RunInfo) -> None:
        self.folder = folder
        self.info = info
        self.journal = Journal(folder / EVENTS)
        self.write()

    @property
    def id(self) -> str:
        return self.info.id

    @property
    def adapter(self) -> Path:
        return self.folder / ADAPTER

    @property
    def episodes(self) -> Path:
        return self.folder / "episodes"

    def write(self, **changes: Any) -> None:
        """Write the manifest with ``changes`` of :class:`RunInfo` fields."""
        self.info = msgspec.structs.replace(self.info, **changes)
        stored = {"schema": SCHEMA} | msgspec.to_builtins(self.info)
        for computed in ("path", "adapter"):  # where a run lies is not a fact about it
            stored.pop(computed)
        text = quiet_json(msgspec.json.format(msgspec.json.encode(stored), indent=1))
        write_whole(self.folder / MANIFEST, text + b"\n")

    def close(self) -> None:
        self.journal.close()


def create_run(
    root: Path | None,
    kind: str,
    *,
    about: dict[str, Any],
    facts: RunFacts | None = None,
    out: str = "",
    name: str = "",
    job: dict[str, Any] | None = None,
) -> Run:
    """Make the folder of a new run: ``out``, or the next number under ``root``. Its first manifest
    holds all that it can be resumed by.

    Raises:
        BadInput: as :func:`refuse_place`.
    """
    refuse_place(root, out)
    if out or root is None:
        folder = Path(out).expanduser().absolute()
        folder.mkdir(parents=True, exist_ok=True)
    else:
        folder = _next_folder(root, kind, name)
    identity = folder.name
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    info = RunInfo(
        id=identity,
        path=str(folder),
        kind=kind,
        status="running",
        created=now,
        name=name,
        about=about,
        facts=facts or RunFacts(),
        job=job or {},
    )
    return Run(folder, info)


def refuse_place(root: Path | None, out: str) -> None:
    """Refuse where there is no place for a run.

    Raises:
        BadInput: no place is named, or ``out`` holds something.
        OSError: nothing can be written there.
    """
    if not out and root is None:
        raise BadInput(
            "nowhere to put the run",
            mend="name a folder with --out, or a workspace with --workspace",
        )
    folder = Path(out).expanduser().absolute()
    if out and folder.exists() and (not folder.is_dir() or _holds_something(folder)):
        raise BadInput(
            "already there and not empty", where=str(folder), mend="choose another --out"
        )
    refuse_unwritable(folder if out or root is None else root)


def refuse_unwritable(place: Path) -> None:
    """Raise :class:`OSError` where nothing can be written into the folder ``place``, or it cannot
    be made."""
    there = next(path for path in (place, *place.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        is_fixed = os.statvfs(there).f_flag & os.ST_RDONLY
        number = errno.EROFS if is_fixed else errno.EACCES
        raise OSError(number, os.strerror(number), str(there))


def _holds_something(folder: Path) -> bool:
    """Whether the folder has more than the remains of a run that died before its first manifest."""
    return any(
        not path.name.startswith(f".{MANIFEST}.")
        and not (path.name == EVENTS and path.stat().st_size == 0)
        and path != mark_path(folder / EVENTS)
        for path in folder.iterdir()
    )


def refuse_reopening(info: RunInfo) -> None:
    """Refuse to go on with a run before anything is read for it.

    Raises:
        Unavailable: another process still writes it.
        OSError: nothing can be written into its folder.
    """
    if info.status == "running":
        raise Unavailable(
            "another process is still writing this run",
            where=info.path,
            mend="resume it when that has ended, or stop it",
        )
    refuse_unwritable(Path(info.path))


def reopen_run(folder: Path) -> Run:
    """Continue the run in ``folder`` and its journal.

    Raises:
        BadInput: there is no run in it.
        Unavailable: another process is writing it.
    """
    info = read_run(folder)
    return Run(folder, msgspec.structs.replace(info, status="running", error="", result={}))


def _next_folder(root: Path, kind: str, name: str) -> Path:
    """Numbers grow with each run, so that a list sorted by name is sorted by time."""
    root.mkdir(parents=True, exist_ok=True)
    tail = "-".join(
        part for part in (kind, re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-")) if part
    )
    taken = (re.match(r"\d+", path.name) for path in root.iterdir())
    number = max((int(found[0]) for found in taken if found), default=0) + 1
    while True:
        folder = root / f"{number:03d}-{tail}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def read_run(folder: Path) -> RunInfo:
    """The manifest in ``folder``. A run that has no writer any more and no ending has ``died``."""
    path = folder / MANIFEST
    try:
        data = read_regular(path)
    except FileNotFoundError:
        raise BadInput("not a run", where=str(folder), mend="sekft runs list") from None
    except OSError as error:
        raise BadInput(f"its manifest {error.strerror}", where=str(path)) from error
    raw = decode(data, what="broken manifest", where=str(path))
    identity = raw.get("id")
    # It names files and folders: one that is no plain name is not taken over.
    plain = isinstance(identity, str) and is_file_name(identity)
    raw |= {"path": str(folder), "id": identity if plain else folder.name}
    info = convert(raw, RunInfo, what="broken manifest", where=str(path), mend="restore the file")
    if info.status == "running" and not is_being_written(info.events_path):
        info = msgspec.structs.replace(info, status="died")
    if (folder / ADAPTER / CONFIG).is_file():
        info = msgspec.structs.replace(info, adapter=str(folder / ADAPTER))
    return info


def list_runs(root: Path) -> tuple[RunInfo, ...]:
    """All runs under ``root``, oldest first; folders that are no runs are passed over."""
    return survey_runs(root).runs


class Unreadable(NamedTuple):
    """A folder among the runs that cannot be read as one, and why."""

    folder: Path
    why: str


class Survey(NamedTuple):
    """What lies in the folder of a workspace's runs, oldest first."""

    runs: tuple[RunInfo, ...]
    unreadable: tuple[Unreadable, ...]


def survey_runs(root: Path) -> Survey:
    """All folders under ``root``: those that are runs, and the others with the reason."""
    found = [read_folder(folder) for folder in run_folders(root)]
    return Survey(
        tuple(each for each in found if isinstance(each, RunInfo)),
        tuple(each for each in found if isinstance(each, Unreadable)),
    )


def run_folders(root: Path) -> list[Path]:
    """The folders under ``root``, oldest first; none where it cannot be read."""
    try:
        return sorted(path for path in root.iterdir() if path.is_dir())
    except OSError:
        return []


def read_folder(folder: Path) -> RunInfo | Unreadable | None:
    """The run in a folder, or why there is none. An empty folder is neither: a run may be about to
    begin in it."""
    try:
        return read_run(folder)
    except BadInput as error:
        if (folder / MANIFEST).exists() or _is_filled(folder):
            return Unreadable(folder, error.what)
    return None


def _is_filled(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:
        return True


def find_run(root: Path, identity: str) -> RunInfo:
    """The run with this id, an unambiguous beginning of it, or in this folder."""
    if (Path(identity) / MANIFEST).is_file():
        return read_run(Path(identity).absolute())
    if (root / identity / MANIFEST).is_file():
        return read_run(root / identity)
    matching = [info for info in list_runs(root) if info.id.startswith(identity)]
    if len(matching) == 1:
        return matching[0]
    what = "several runs begin like this" if matching else "no such run"
    raise BadInput(what, where=identity, mend="sekft runs list")


def run_of(spec: str, root: Path | None = None) -> RunInfo:
    """The run called ``spec``: its id under ``root`` or the beginning of one, its folder, or the
    folder of its adapter."""
    folder = Path(spec).expanduser().absolute()
    for candidate in (folder, folder.parent) if folder.name == ADAPTER else (folder,):
        if (candidate / MANIFEST).is_file():
            return read_run(candidate)
    if root is None:
        raise BadInput(
            "no such run",
            where=spec,
            mend="name its folder, or its workspace with --workspace",
        )
    return find_run(root, spec)


def adapter_folder(path: str | Path) -> Path:
    """The adapter in ``path``: the folder itself, or ``adapter/`` inside a run's folder."""
    folder = Path(path).expanduser()
    for candidate in (folder, folder / ADAPTER):
        if (candidate / CONFIG).is_file():
            return candidate
    if not folder.exists():
        raise BadInput("no such folder", where=str(folder), mend="check the adapter's path")
    raise BadInput(
        "no adapter in this folder",
        where=str(folder),
        mend=f"an adapter has {CONFIG} and {WEIGHTS}",
    )
