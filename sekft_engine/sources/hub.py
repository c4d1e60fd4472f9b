"""Read trajectories from a data set on the Hugging Face Hub (extra ``hub``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sekft_engine.errors import Unavailable
from sekft_engine.sources.trajectories import Loaded, collect
from sekft_engine.trajectory import Trajectory

#: The published corpus, taken when ``--hub`` names none.
DEFAULT_DATASET = "tiararodney/posix-sdc"


def load_hub(name: str = DEFAULT_DATASET, *, split: str = "train") -> Loaded:
    """The split of a Hub data set, taken whole: what is published is curated.

    Args:
        name: ``owner/set``, or ``owner/set:config`` where the set has several.
        split: the split to read.

    Raises:
        Unavailable: the extra is not installed, or the data set cannot be reached.
        BadInput: a row is no trajectory, or an id occurs twice.
    """
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise Unavailable(
            "reading from the Hub needs the extra hub",
            where=name,
            mend="pip install 'sekft-tui[hub]', or give a local path with --data",
        ) from error
    try:
        dataset, _, config = (name or DEFAULT_DATASET).partition(":")
        rows = load_dataset(dataset, config or None, split=split)
    except Exception as error:  # network, name and format errors of many families
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise Unavailable(
            f"cannot load the data set: {reason}",
            where=name,
            mend="check its name and the network, or give a local path with --data",
        ) from error
    return collect(_read(rows, name), keep_only=False)


def _read(rows: Any, name: str) -> Iterator[tuple[Trajectory, str, str]]:
    for number, raw in enumerate(rows):
        where = f"{name}:{number}"
        row = dict(raw)
        row.setdefault("id", where)
        yield Trajectory.from_json(row, where), where, ""
