"""Find trajectories by their ids, kept or not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sekft_engine.errors import BadInput
from sekft_engine.sources import iter_trajectories, load_hub
from sekft_engine.trajectory import Trajectory


def find_trajectories(data: str, hub: str, ids: Sequence[str]) -> list[Trajectory]:
    """The trajectories called ``ids``, in that order, of the path ``data`` or the set ``hub``.

    Raises:
        BadInput: one is not there; names it.
    """
    wanted = set(ids)
    found: dict[str, Trajectory] = {}
    every = load_hub(hub).trajectories if hub else iter_trajectories(Path(data).expanduser())
    for trajectory in every:
        if trajectory.id in wanted:
            found[trajectory.id] = trajectory
            if len(found) == len(wanted):
                break
    for identity in ids:
        if identity not in found:
            raise BadInput(
                f"no trajectory has the id {identity!r}",
                where=data or hub,
                mend="sekft mask lists the ids; name other data with --data",
            )
    return [found[identity] for identity in ids]
