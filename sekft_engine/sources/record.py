"""One trajectory out of a value that stands in a file, whatever the file's format."""

from __future__ import annotations

from sekft_engine.errors import BadInput
from sekft_engine.sources.read import parse
from sekft_engine.trajectory import Trajectory


def trajectory_in(data: bytes, where: str, name: str) -> Trajectory:
    """The trajectory that the JSON text ``data`` holds; ``name`` is its id for want of one.

    Raises:
        BadInput: it is none; says why, naming ``where`` and the line within.
    """
    return trajectory_of(parse(data, where), where, name)


def trajectory_of(raw: object, where: str, name: str) -> Trajectory:
    """As :func:`trajectory_in`, of a value that is parsed already."""
    if isinstance(raw, dict):
        if "reference_solution" in raw and "checker" in raw:
            raise BadInput(
                "a scenario bundle where a trajectory belongs",
                where=where,
                mend="give bundles with --scenarios, or roll them out with sekft factory rollout",
            )
        number = raw.get("id")
        if number is None or number == "":
            raw = raw | {"id": name}
        elif isinstance(number, int):
            raw = raw | {"id": str(number)}
    return Trajectory.from_json(raw, where)


def twice(identity: str, first: str, where: str) -> BadInput:
    """The error that ``identity`` stands at ``first`` and again at ``where``."""
    return BadInput(
        f"the id {identity!r} stands in {first} already",
        where=where,
        mend="give each trajectory its own id, or remove one of the two",
    )
