"""Counts what a run would train on, where the list of trajectories has not done so yet."""

from __future__ import annotations

import time

from sekft_engine.core.errors import SekftError
from sekft_tui.model.dataset import DataSet
from sekft_tui.model.job_size import DataCount

#: A data set that takes longer to read than this, in seconds, is not counted.
PATIENCE_S = 30.0
#: How long a start may look for data, in seconds.
_LOOK_S = 0.05


def counted(data: DataSet) -> DataCount | None:
    """An estimate from the number of characters; None = there is nothing, or too much, or it would
    have to be fetched."""
    if data.hub:
        return None
    end = time.monotonic() + PATIENCE_S
    try:
        index = data.open(keep_only=True)
        while index.advance(0.05):
            if time.monotonic() > end:
                return None
            time.sleep(0.01)  # the keys come first
        characters = index.column("characters")
    except SekftError:
        return None
    return (
        DataCount.of_characters(len(characters), int(characters.sum())) if len(characters) else None
    )


def refuse_nothing(data: DataSet) -> None:
    """Raise :class:`SekftError` where it is seen at once that there is nothing to train on."""
    from sekft_engine.sources.read.source import nothing_here

    if data.hub:
        return
    index = data.open()
    index.advance(_LOOK_S)
    if index.complete and not len(index) and not index.problems:
        raise nothing_here("trajectories", data.path, index.passed_over)
