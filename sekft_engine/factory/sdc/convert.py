"""Convert scenarios and trajectories of the sister package, with a report field by field."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.core.errors import BadInput, SekftError, Unavailable
from sekft_engine.core.files import staged_folder
from sekft_engine.core.text import visible
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.factory.sdc.fields import (
    NAMES,
    RUNNABLE,
    Fields,
    Kind,
    kind_of,
    scenario_fields,
    trajectory_fields,
)
from sekft_engine.sources.read.data_files import LINES, RAW
from sekft_engine.sources.read.hub import explained
from sekft_engine.sources.read.source import DataSource, RecordFile, files_of

KINDS: tuple[Kind, ...] = ("scenarios", "trajectories")
#: Most examples of what was refused.
_EXAMPLES = 3


class FieldReport(msgspec.Struct, frozen=True, kw_only=True):
    """In how many records a field was present, was derived from others, or is absent."""

    kind: str
    field: str
    present: int = 0
    derived: int = 0
    absent: int = 0


class ConvertReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was converted.

    Attributes:
        out: the folder.
        scenarios, trajectories: how many were written.
        fields: how each field came to be.
        unknown: fields that nobody knows, in how many records; they are kept.
        lacking: scenarios that no world can be made of or judged by, by what they lack.
        refused: records that cannot be read, by the reason; ``examples`` has the first ones.
    """

    out: str
    scenarios: int
    trajectories: int
    fields: list[FieldReport]
    unknown: dict[str, dict[str, int]]
    lacking: dict[str, int]
    refused: dict[str, int]
    examples: list[str]


class Converter:
    """Takes records, and counts what becomes of their fields."""

    def __init__(self) -> None:
        self.scenarios: dict[str, dict[str, Any]] = {}
        self.trajectories: dict[str, dict[str, Any]] = {}
        self._how: Counter[tuple[Kind, str, str]] = Counter()
        self._unknown: dict[Kind, Counter[str]] = {kind: Counter() for kind in KINDS}
        self._lacking: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._examples: list[str] = []

    def add(self, raw: object, where: str, name: str) -> None:
        """Convert one record.

        Args:
            raw: a JSON value.
            where: its place.
            name: its id where it has none.
        """
        if not isinstance(raw, Mapping):
            self.refuse("not an object", where)
            return
        kind = kind_of(raw)
        if kind is None:
            self.refuse("neither a scenario nor a trajectory", where)
            return
        try:
            self._scenario(raw, where, name) if kind == "scenarios" else self._trajectory(
                raw, where, name
            )
        except SekftError as error:
            self.refuse(error.what.split(":")[0], f"{where}: {error.what}")

    def refuse(self, reason: str, where: str) -> None:
        """Count a record that cannot be used."""
        self._refused[reason] += 1
        if len(self._examples) < _EXAMPLES:
            self._examples.append(visible(where))

    def _scenario(self, raw: Mapping[str, Any], where: str, name: str) -> None:
        fields = scenario_fields(raw, name)
        known = fields.found
        lacking = [each for each in RUNNABLE if each not in known]
        # What a bundle must have is there in name, so that the rest of it is kept.
        filled = {"provider": {"name": "provider"}, "announcement": {}} | known
        scenario = Scenario.from_json(filled | fields.unknown, where)
        self.scenarios[_unique(scenario.id, self.scenarios)] = scenario.to_json()
        self._count("scenarios", fields)
        for each in lacking:
            self._lacking[each] += 1

    def _trajectory(self, raw: Mapping[str, Any], where: str, name: str) -> None:
        fields = trajectory_fields(raw, name)
        trajectory = Trajectory.from_json(fields.found | fields.unknown, where)
        self.trajectories[_unique(trajectory.id, self.trajectories)] = trajectory.to_json()
        self._count("trajectories", fields)

    def _count(self, kind: Kind, fields: Fields) -> None:
        for name, how in fields.how.items():
            self._how[kind, name, how] += 1
        self._unknown[kind].update(fields.unknown.keys())

    def report(self, out: str) -> ConvertReport:
        """What was converted so far."""
        return ConvertReport(
            out=out,
            scenarios=len(self.scenarios),
            trajectories=len(self.trajectories),
            fields=[
                FieldReport(
                    kind=kind,
                    field=name,
                    present=self._how[kind, name, "present"],
                    derived=self._how[kind, name, "derived"],
                    absent=self._how[kind, name, "absent"],
                )
                for kind, converted in zip(KINDS, (self.scenarios, self.trajectories), strict=True)
                for name in NAMES[kind]
                if converted
            ],
            unknown={
                kind: dict(counted.most_common())
                for kind, counted in self._unknown.items()
                if counted
            },
            lacking=dict(self._lacking.most_common()),
            refused=dict(self._refused.most_common()),
            examples=self._examples,
        )


def convert(source: str, out: Path, *, hub: bool = False, split: str = "train") -> ConvertReport:
    """Convert a folder, a file or a Hub data set into ``out/scenarios`` and ``out/trajectories``.

    Args:
        source: a folder with ``scenarios/``, ``trajectories/`` or both, any folder or file of
            records, or the name or folder of a data set with configs.
        out: where to; what is written must not be there yet.
        hub: ``source`` is a data set.
        split: of the data set.

    Raises:
        BadInput: nothing can be converted, or ``out`` holds data.
        Unavailable: the data set cannot be read, or the folder cannot be written.
    """
    converter = Converter()
    for raw, where, name in _rows(source, split) if hub else _records(Path(source)):
        if isinstance(raw, SekftError):
            converter.refuse(raw.what.split(":")[0], where)
        else:
            converter.add(raw, where, name)
    report = converter.report(str(out))
    if not report.scenarios and not report.trajectories:
        why = ", ".join(f"{count} {reason}" for reason, count in report.refused.items())
        raise BadInput(
            f"nothing here can be converted ({why or 'there are no records'})",
            where=source,
            mend="docs/experiment.md says what is known of the format",
        )
    write(converter, out)
    return report


def write(converter: Converter, out: Path) -> None:
    """Write what was converted, one record a file, as both factories do."""
    for kind, found in (
        ("scenarios", converter.scenarios),
        ("trajectories", converter.trajectories),
    ):
        target = out / kind
        if found and target.exists() and any(target.iterdir()):
            raise BadInput(
                "already holds files", where=str(target), mend="choose another folder with --out"
            )
    for kind, found in (
        ("scenarios", converter.scenarios),
        ("trajectories", converter.trajectories),
    ):
        if not found:
            continue
        with staged_folder(out / kind) as folder:
            for name, document in found.items():
                text = msgspec.json.format(msgspec.json.encode(document), indent=1)
                (folder / f"{_file_name(name)}.json").write_bytes(text + b"\n")


def _records(source: Path) -> Iterator[tuple[object, str, str]]:
    """The records of a folder or file, with their places and names."""
    places = [source / kind for kind in KINDS if (source / kind).is_dir()] or [source]
    for place in places:
        for file in files_of(DataSource(place), what="records", kinds=(RAW, LINES)):
            for record in RecordFile(file).records():
                yield record.error or record.value, record.where, record.name


def _rows(name: str, split: str) -> Iterator[tuple[object, str, str]]:
    """The rows of all configs of a data set, on the Hub or in a folder."""
    try:
        import datasets
    except ImportError as error:
        raise Unavailable(
            "reading data sets needs the extra hub", where=name, mend="pip install 'sekft-tui[hub]'"
        ) from error
    with explained(name, mend="check its name and the network, or give a folder"):
        for config in datasets.get_dataset_config_names(name):
            rows: Iterable[Any] = datasets.load_dataset(name, config, split=split)
            for number, row in enumerate(rows):
                place = f"{name}:{config}:row {number}"
                yield dict(row), place, f"{config}-{number:05d}"


def _unique(identity: str, taken: Mapping[str, object]) -> str:
    name, number = identity, 2
    while name in taken:
        name, number = f"{identity}-{number}", number + 1
    return name


def _file_name(identity: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9._+@-]", "_", identity)[:180]
    return safe if not safe.startswith(".") else f"_{safe}"
