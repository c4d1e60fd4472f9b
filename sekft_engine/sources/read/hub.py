"""Find the files of a data set on the Hugging Face Hub, in its cache where there is no network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sekft_engine.core.errors import BadInput, SekftError, Unavailable
from sekft_engine.data.published import DEFAULT_DATASET
from sekft_engine.sources.read.data_files import kind
from sekft_engine.sources.read.tables import TableFile, without_extra

#: What a data set of trajectories is made of; weights, pictures and archives are not fetched.
_WANTED = [
    "*.parquet", "*.arrow", "*.jsonl", "*.ndjson", "*.json", "*.md", "*.yaml", "*.csv", "*.gz",
    "*.bz2", "*.xz", "*.zst",
]  # fmt: skip
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def hub_files(name: str, split: str = "train") -> tuple[Path, ...]:
    """The files on this machine that hold a split of a data set: fetched from the Hub, or without
    a network those in its cache.

    Args:
        name: ``owner/set``, or ``owner/set:config`` where the set has several.
        split: the split to read.

    Raises:
        Unavailable: the extra is not installed, or the data set is neither reachable nor cached.
        BadInput: no such name, config or split.
    """
    dataset, _, config = (name or DEFAULT_DATASET).partition(":")
    if not _NAME.fullmatch(dataset):
        raise BadInput(
            "no name of a data set", where=repr(name), mend="give owner/set or owner/set:config"
        )
    try:
        import datasets  # noqa: F401 - it must be there before anything is fetched
        import huggingface_hub
    except ImportError as error:
        raise without_extra("reading from the Hub", name) from error
    try:
        with explained(name):
            snapshot = huggingface_hub.snapshot_download(
                dataset, repo_type="dataset", allow_patterns=_WANTED
            )
    except Unavailable:
        # What `datasets` made of an earlier download may still be here.
        prepared = _prepared(dataset, config, split) if _loaded_before(dataset) else ()
        if not prepared:
            raise
        return prepared
    with explained(name):
        return _of_snapshot(Path(snapshot), config, split, name)


def _of_snapshot(snapshot: Path, config: str, split: str, name: str) -> tuple[Path, ...]:
    from datasets import get_dataset_config_names, load_dataset_builder

    if not config:
        known = get_dataset_config_names(str(snapshot))
        if len(known) > 1:
            config = _with_turns(snapshot, known, split, name)
    builder = load_dataset_builder(str(snapshot), config or None)
    files = builder.config.data_files or {}
    if split not in files:
        raise BadInput(
            f"no split {split}, but {', '.join(map(str, files)) or 'no files'}",
            where=name,
            mend="name another data set, or download it and give the files' path with --data",
        )
    found = tuple(Path(file) for file in files[split])
    if all(kind(file.name) for file in found):
        return found
    return _prepared(str(snapshot), config, split)  # a format that only `datasets` reads


def _with_turns(snapshot: Path, configs: list[str], split: str, name: str) -> str:
    """The one config that holds sessions: the other may hold scenarios."""
    found = []
    for config in configs:
        try:
            (file, *_) = _of_snapshot(snapshot, config, split, name)
            if kind(file.name) == "table":
                TableFile(file).close()
            elif not re.search("traj|session|rollout|episode", config):
                continue
        except SekftError:
            continue
        found.append(config)
    if len(found) != 1:
        raise BadInput(
            f"several configs: {', '.join(configs)}",
            where=name,
            mend=f"name one of them, as {name}:{configs[0]}",
        )
    return found[0]


def _loaded_before(dataset: str) -> bool:
    """Whether ``datasets`` may have tables of it: else it would try the network for long."""
    from datasets import config

    owner = dataset.partition("/")[0].lower()
    try:
        cached = list(Path(config.HF_DATASETS_CACHE).iterdir())
    except OSError:
        return False
    return any(each.name.lower().startswith(f"{owner}___") for each in cached)


def _prepared(dataset: str, config: str, split: str) -> tuple[Path, ...]:
    """The tables that ``datasets`` has in its own cache, or makes now; none if it cannot."""
    from datasets import load_dataset

    try:
        # In this process: workers would run a caller's unguarded script anew.
        rows: Any = load_dataset(dataset, config or None, split=split, num_proc=None)
    except Exception:  # noqa: BLE001 - of many families; the caller has a better one to tell
        return ()
    return tuple(Path(each["filename"]) for each in rows.cache_files)


@contextmanager
def explained(
    name: str, mend: str = "check its name and the network, or give a local path with --data"
) -> Iterator[None]:
    """Say what is wrong with the data set ``name`` in a line, whatever the library raises.

    Raises:
        Unavailable: it cannot be loaded.
    """
    try:
        yield
    except SekftError:
        raise
    except Exception as error:  # network, name and format errors of many families
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise Unavailable(
            f"cannot load the data set: {reason}",
            where=name,
            mend=mend,
        ) from error
