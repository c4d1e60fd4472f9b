"""Which files a path stands for: a folder, one file, or the files of a data set."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from sekft_engine.core.errors import BadInput
from sekft_engine.sources.read.packed import PACKED, packing
from sekft_engine.sources.read.parse import unreadable

#: Formats by the end of a file's name.
RAW, LINES, TABLE = ".json", ".jsonl", "table"
KINDS = {
    ".json": RAW, ".jsonl": LINES, ".ndjson": LINES, ".parquet": TABLE, ".arrow": TABLE
}  # fmt: skip

_MEND = (
    "give a folder of .json files, a .json, .jsonl or .ndjson file (also as .gz, .bz2, .xz or "
    ".zst), or a .parquet or .arrow file"
)


class DataFile(NamedTuple):
    """A file by its name below the path that was given ('' for the path itself)."""

    name: str
    inode: int


def kind(name: str) -> str:
    """:data:`RAW`, :data:`LINES`, :data:`TABLE`, or '' for what is not ours; upper and lower case
    are the same, and what is compressed is what it is below that."""
    stem, ending = os.path.splitext(name)  # noqa: PTH122 - names, by the 100,000
    found = KINDS.get(ending)
    if found is None and ending:
        ending = ending.lower()
        found = KINDS.get(ending)
        if found is None and ending in PACKED:
            inner = KINDS.get(os.path.splitext(stem)[1].lower(), "")  # noqa: PTH122
            return inner if inner in (RAW, LINES) else ""
    return found or ""


def stem(name: str) -> str:
    """The name of a file without the endings that :func:`kind` knows."""
    if packing(name):
        name = os.path.splitext(name)[0]  # noqa: PTH122
    return os.path.splitext(name)[0]  # noqa: PTH122


def check_path(path: Path) -> bool:
    """Whether ``path`` is a folder.

    Raises:
        BadInput: there is nothing, or nothing that this can read.
        Unavailable: no permission to look.
    """
    try:
        if path.is_dir():
            return True
        if not path.exists():
            raise BadInput("no such file or folder", where=str(path), mend="check the path")
        if not kind(path.name) or not path.is_file():
            raise BadInput(
                "cannot tell what kind of trajectories this is", where=str(path), mend=_MEND
            )
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:  # a NUL in the path
        raise BadInput(str(error), where=repr(str(path)), mend="check the path") from error
    return False


def list_files(path: Path, passed_over: Counter[str] | None = None) -> list[DataFile]:
    """The files that ``path`` stands for, sorted by name; a file stands for itself.

    A folder stands for the files right in it. One that ``datasets`` saved stands for its table
    files, and one without any file of ours (a Hub snapshot, say) for the tables further down.
    Where tables are named after splits, those of the split ``train`` count. Files whose name begins
    with a dot are someone's work in progress and are left out.

    Args:
        path: a folder or a file.
        passed_over: here the other files of the folder are counted, by their endings, and the
            tables of other splits.

    Raises:
        BadInput: a data set whose splits have other names; they are told.
        Unavailable: no permission.
    """
    try:
        if not path.is_dir():
            return [DataFile("", path.stat().st_ino)]
        snapshot = _snapshot(path)
        if snapshot != path:
            return _below(snapshot, path)
        counts: Counter[str] = Counter() if passed_over is None else passed_over
        found = _entries(path, counts)
        names = {each.name for each in found}
        if "dataset_dict.json" in names:
            return _below(_split_folder(path), path)
        if {"state.json", "dataset_info.json"} <= names:
            return _saved(path, found)
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise BadInput("a damaged cache of the Hub", where=str(path), mend=_MEND) from error
    if not found:
        found = _deeper(path)
        if found:
            del counts["folders"]
    tables = [each for each in found if kind(each.name) == TABLE]
    if tables:
        other = [each for each in found if kind(each.name) != TABLE and each.name not in _METADATA]
        train = _of_train(tables)
        if len(train) < len(tables):
            counts["tables of other splits"] += len(tables) - len(train)
        found = [*train, *other]
    return sorted(found)


#: Files about a data set, whatever their endings; passing them over is not worth a word.
_ABOUT = ("README", "LICENSE", "LICENCE", "CHANGELOG", "NOTICE")
#: Written beside tables to describe them.
_METADATA = {"dataset_info.json", "dataset_infos.json", "state.json"}
_SPLIT = re.compile(r"(?:^|[-_./])(train|test|validation|valid|val|dev|eval)(?=[-_./])")
_DEPTH = 3


def _snapshot(path: Path) -> Path:
    """Of a repository in the Hub's cache the revision that it stands at."""
    main = path / "refs" / "main"
    if path.name.startswith("datasets--") and main.is_file():
        return path / "snapshots" / _plain(main.read_text(encoding="utf-8").strip())
    return path


def _entries(folder: Path, passed_over: Counter[str]) -> list[DataFile]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            if not entry.is_file():
                if entry.is_dir():
                    passed_over["folders"] += 1
                elif kind(name):
                    is_link = entry.is_symlink()
                    passed_over["links to nothing" if is_link else "pipes or devices"] += 1
            elif kind(name):
                found.append(DataFile(name, entry.inode()))
            elif not name.upper().startswith(_ABOUT):
                passed_over[os.path.splitext(name)[1].lower() or name] += 1  # noqa: PTH122
    return sorted(found)


def _deeper(path: Path) -> list[DataFile]:
    """Tables, and in a Hub snapshot curated files too, in the folders below."""
    wanted = (TABLE, LINES) if path.parent.name == "snapshots" else (TABLE,)
    found = []
    for folder, folders, names in os.walk(path):
        below = Path(folder)
        depth = len(below.relative_to(path).parts)
        folders[:] = [each for each in folders if depth < _DEPTH and not each.startswith(".")]
        for name in names:
            if kind(name) in wanted and not name.startswith("."):
                file = below / name
                found.append(DataFile(str(file.relative_to(path)), file.lstat().st_ino))
    return found


def _of_train(tables: list[DataFile]) -> list[DataFile]:
    splits = [_SPLIT.search(each.name) for each in tables]
    train = [
        each
        for each, split in zip(tables, splits, strict=True)
        if split is None or split[1] == "train"
    ]
    return train if any(split and split[1] == "train" for split in splits) else tables


def _split_folder(path: Path) -> Path:
    try:
        splits = json.loads((path / "dataset_dict.json").read_bytes())["splits"]
        if "train" in splits or len(splits) == 1:
            return path / _plain("train" if "train" in splits else splits[0])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(
            "this describes no data set", where=str(path / "dataset_dict.json"), mend=_MEND
        ) from error
    raise BadInput(
        f"a data set without a split train, but with {', '.join(map(str, splits))}",
        where=str(path),
        mend="give the folder of one of its splits",
    )


def _plain(name: str) -> str:
    """A name that leads nowhere else."""
    if not isinstance(name, str) or name != Path(name).name:
        raise ValueError(name)
    return name


def _below(folder: Path, path: Path) -> list[DataFile]:
    return [
        DataFile(f"{folder.relative_to(path)}/{each.name}", each.inode)
        for each in list_files(folder)
    ]


def _saved(path: Path, found: list[DataFile]) -> list[DataFile]:
    """The files that make up a saved data set; those that ``datasets`` cached beside them do not.
    Their order is the rows' order."""
    inodes = {each.name: each.inode for each in found}
    try:
        files = json.loads((path / "state.json").read_bytes())["_data_files"]
        names = [_plain(each["filename"]) for each in files]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(
            "this describes no data set", where=str(path / "state.json"), mend=_MEND
        ) from error
    return [DataFile(name, inodes.get(name, 0)) for name in names]
