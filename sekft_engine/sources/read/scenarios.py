"""Read scenario bundles: a folder of ``.json`` files, or one file."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from sekft_engine.core.errors import BadInput
from sekft_engine.data.reading import TURN_KEYS
from sekft_engine.data.scenario import Scenario
from sekft_engine.sources.read.data_files import LINES, RAW
from sekft_engine.sources.read.source import DataSource, RecordFile, files_of


def load_scenarios(path: str | PathLike[str]) -> tuple[Scenario, ...]:
    """The bundles of ``path``, sorted by file and line.

    Raises:
        BadInput: a bundle is broken, of an unknown schema, or has another's id.
        Unavailable: a file cannot be read.
    """
    found: list[Scenario] = []
    places: dict[str, str] = {}
    for file in files_of(DataSource(Path(path)), what="scenario bundles", kinds=(RAW, LINES)):
        for record in RecordFile(file).records():
            if record.error is not None:
                raise record.error
            where = record.where
            scenario = _parse(record.value, where, record.name)
            if scenario.id in places:
                raise BadInput(
                    f"the id {scenario.id!r} stands in {places[scenario.id]} already",
                    where=where,
                    mend="give each bundle its own id, or remove one of the two",
                )
            places[scenario.id] = where
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
