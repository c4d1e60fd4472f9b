"""Read scenario bundles: a folder of ``.json`` files, or one file."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from sekft_engine.core.errors import BadInput, SekftError
from sekft_engine.data.reading import TURN_KEYS
from sekft_engine.data.scenario import Scenario
from sekft_engine.sources.read.data_files import LINES, RAW
from sekft_engine.sources.read.source import DataSource, Record, RecordFile, files_of


def load_scenarios(path: str | PathLike[str]) -> tuple[Scenario, ...]:
    """The bundles of ``path``, sorted by file and line.

    Raises:
        BadInput: a bundle is broken, of an unknown schema, or has another's id.
        Unavailable: a file cannot be read.
    """
    found: list[Scenario] = []
    for each in _bundles(Path(path)):
        if isinstance(each, SekftError):
            raise each
        found.append(each)
    return tuple(found)


class ScenarioSurvey(NamedTuple):
    """The bundles at a place, sorted by file and line, and what there cannot be used as one."""

    scenarios: tuple[Scenario, ...]
    broken: tuple[SekftError, ...]


def survey_scenarios(path: str | PathLike[str]) -> ScenarioSurvey:
    """The bundles of ``path``, for who looks for one of them: what is broken hides only itself."""
    found: list[Scenario] = []
    broken: list[SekftError] = []
    for each in _bundles(Path(path)):
        if isinstance(each, SekftError):
            broken.append(each)
        else:
            found.append(each)
    return ScenarioSurvey(tuple(found), tuple(broken))


def _bundles(path: Path) -> Iterator[Scenario | SekftError]:
    """Each bundle, or why there is none in its place.

    Raises:
        BadInput: there are no files that could hold bundles.
    """
    places: dict[str, str] = {}
    for file in files_of(DataSource(path), what="scenario bundles", kinds=(RAW, LINES)):
        try:
            for record in RecordFile(file).records():
                yield _bundle(record, places)
        except SekftError as error:
            yield error


def _bundle(record: Record, places: dict[str, str]) -> Scenario | SekftError:
    """The bundle of a record; ``places`` are those of the ids so far."""
    if record.error is not None:
        return record.error
    where = record.where
    try:
        scenario = _parse(record.value, where, record.name)
    except BadInput as error:
        return error
    if scenario.id in places:
        return BadInput(
            f"the id {scenario.id!r} stands in {places[scenario.id]} already",
            where=where,
            mend="give each bundle its own id, or remove one of the two",
        )
    places[scenario.id] = where
    return scenario


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
