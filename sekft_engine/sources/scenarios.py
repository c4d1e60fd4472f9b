"""Read scenario bundles: a folder of ``.json`` files, or one file."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from sekft_engine.errors import BadInput
from sekft_engine.scenario import Scenario
from sekft_engine.sources.listing import LINES, RAW
from sekft_engine.sources.records import files_of, records
from sekft_engine.sources.source import Source
from sekft_engine.trajectory import TURN_KEYS


def load_scenarios(path: str | PathLike[str]) -> tuple[Scenario, ...]:
    """The bundles of ``path``, sorted by file and line.

    Raises:
        BadInput: a bundle is broken, of an unknown schema, or has another's id.
        Unavailable: a file cannot be read.
    """
    found: list[Scenario] = []
    seen: dict[str, str] = {}
    for file in files_of(Source(Path(path)), what="scenario bundles", kinds=(RAW, LINES)):
        for raw, where, name in records(file):
            scenario = _parse(raw, where, name)
            if scenario.id in seen:
                raise BadInput(
                    f"the id {scenario.id!r} stands in {seen[scenario.id]} already",
                    where=where,
                    mend="give each bundle its own id, or remove one of the two",
                )
            seen[scenario.id] = where
            found.append(scenario)
    return tuple(found)


def _parse(raw: object, where: str, name: str) -> Scenario:
    if isinstance(raw, dict):
        if any(isinstance(raw.get(key), list) for key in TURN_KEYS):
            raise BadInput(
                "a trajectory where a scenario bundle belongs",
                where=where,
                mend="give trajectories with --data",
            )
        if raw.get("id") in (None, ""):
            raw = raw | {"id": name}
    return Scenario.from_json(raw, where)
