"""The table of a sweep: which recipes are trained, from a TOML file that is checked as a whole.

::

    base = "smollm2-135m"        # unless --base names it
    data = "trajectories"        # unless --data or --hub does; relative to this file

    [recipe]                     # what all points share
    epochs = 2

    [grid]                       # every combination of these
    lr = [3e-4, 1e-3]
    rank = [8, 16]

    [[point]]                    # and each of these besides
    lr = 3e-3
    dropout = 0.1

    [eval]                       # each adapter acts in worlds afterwards
    n = 16
"""

from __future__ import annotations

import difflib
import itertools
import re
import tomllib
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.data.recipe import Recipe, recipe_fields, wrong_value
from sekft_engine.records import jobs

#: More points than this are probably a mistake.
MOST_POINTS = 999

_PLACES = ("base", "data", "hub")
_TABLES = ("recipe", "grid", "point", "eval")
#: What a table may say of its evals; the rest follows from the sweep.
EVAL_FIELDS = (
    *("n", "scenarios", "seed", "seeds", "temperature", "step_cap", "turn_tokens"),
    *("sandbox", "userland", "exact"),
)


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the sweep: its recipe, and what of it the table sets for this point."""

    changes: dict[str, Any]
    recipe: Recipe

    @property
    def title(self) -> str:
        return title_of(self.changes)


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A sweep as its file says. ``fields`` are those in which points differ, in the file's order;
    ``evaluation`` holds the options of the evals, None = there are none."""

    file: str
    points: tuple[Point, ...]
    fields: tuple[str, ...]
    base: str = ""
    data: str = ""
    hub: str = ""
    evaluation: dict[str, Any] | None = None


def title_of(changes: dict[str, Any]) -> str:
    """What a person calls a point."""
    return ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in changes.items()
    )


def read_table(path: Path, flags: dict[str, Any] | None = None) -> Table:
    """The sweep in the file ``path``; ``flags`` are recipe fields that override its ``[recipe]``.

    Raises:
        BadInput: names the file, the line and the field of what is wrong.
    """
    return _Reader(path.expanduser()).table(flags or {})


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.text = path.read_text(encoding="utf-8")
            self.raw = tomllib.loads(self.text)
        except FileNotFoundError:
            raise BadInput("no such file", where=str(path), mend="name the sweep's table") from None
        except UnicodeDecodeError as error:
            raise BadInput(f"not UTF-8: {error.reason}", where=str(path)) from error
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"at line (\d+)", str(error))
            where = f"{path}:{line[1] if line else len(self.text.splitlines())}"
            raise BadInput(f"not TOML: {error}", where=where) from error

    def table(self, flags: dict[str, Any]) -> Table:
        for name, value in self.raw.items():
            if name not in (*_PLACES, *_TABLES):
                self._refuse("", name, _unknown(name, (*_PLACES, *_TABLES)))
            if name in _PLACES and not isinstance(value, str):
                self._refuse("", name, "a text is wanted")
        shared = self._section("recipe", self.raw.get("recipe", {}))
        changes = [*self._grid(self.raw.get("grid", {})), *self._listed(self.raw.get("point", []))]
        if not changes:
            raise BadInput(
                "there is no point in it",
                where=str(self.path),
                mend="give lists under [grid], or a [[point]]",
            )
        fields = tuple(dict.fromkeys(name for change in changes for name in change))
        for name in fields:
            if name in flags:
                raise BadInput(
                    f"{name} is what the sweep varies",
                    where=f"--{name.replace('_', '-')}",
                    mend="leave the flag out",
                )
        return Table(
            file=str(self.path.absolute()),
            points=self._points(changes, shared | flags),
            fields=fields,
            base=self._place("base"),
            data=self._place("data"),
            hub=str(self.raw.get("hub", "")),
            evaluation=self._evaluation(),
        )

    def _place(self, name: str) -> str:
        """A path relative to the file, where something lies there; else the name as it stands."""
        spec = str(self.raw.get(name, ""))
        beside = self.path.parent / Path(spec).expanduser()
        return str(beside.absolute()) if spec and beside.exists() else spec

    def _section(self, name: str, values: Any, nth: int = 0) -> dict[str, Any]:
        """The recipe fields in a table of the file, each checked by itself."""
        if not isinstance(values, dict):
            self._refuse("", name, f"a table is wanted: [{name}]")
        for field, value in values.items():
            self._check(name, field, value, nth)
        return dict(values)

    def _grid(self, grid: Any) -> list[dict[str, Any]]:
        if not isinstance(grid, dict):
            self._refuse("", "grid", "a table is wanted: [grid]")
        size = 1
        for name, values in grid.items():
            if not isinstance(values, list) or not values:
                self._known("grid", name)
                self._refuse("grid", name, "a list of values is wanted", "one value for all points")
            for value in values:
                self._check("grid", name, value)
            size *= len(values)
        if size > MOST_POINTS:
            raise BadInput(
                f"{size} points are more than {MOST_POINTS}",
                where=f"{self.path}:{self._line('', 'grid')}",
                mend="take fewer values",
            )
        return [
            dict(zip(grid, values, strict=True))
            for values in (itertools.product(*grid.values()) if grid else ())
        ]

    def _listed(self, listed: Any) -> list[dict[str, Any]]:
        if not isinstance(listed, list):
            self._refuse("", "point", "several may follow: [[point]]")
        return [self._section("point", values, nth) for nth, values in enumerate(listed)]

    def _points(self, changes: list[dict[str, Any]], shared: dict[str, Any]) -> tuple[Point, ...]:
        titles: dict[bytes, str] = {}
        points = []
        for change in changes:
            recipe = msgspec.convert(shared | change, Recipe)
            point = Point(changes=change, recipe=recipe)
            key = msgspec.json.encode(recipe)
            if key in titles:
                raise BadInput(
                    f"two points are the same recipe: {titles[key]}, and {point.title}",
                    where=str(self.path),
                    mend="leave one out",
                )
            titles[key] = point.title
            points.append(point)
        return tuple(points)

    def _evaluation(self) -> dict[str, Any] | None:
        if "eval" not in self.raw:
            return None
        options = self.raw["eval"]
        if not isinstance(options, dict):
            self._refuse("", "eval", "a table is wanted: [eval]")
        for name, value in options.items():
            if name not in EVAL_FIELDS:
                self._refuse("eval", name, _unknown(name, EVAL_FIELDS))
            spec = {"job": "eval", "base": "", "scenarios": ""} | {name: value}
            self._convert("eval", name, spec, jobs.Evaluate)
        found = dict(options)
        if folder := found.get("scenarios"):
            found["scenarios"] = str((self.path.parent / Path(folder).expanduser()).absolute())
        return found

    # --- one value ----------------------------------------------------------------------------

    def _known(self, table: str, name: str, nth: int = 0) -> None:
        names = tuple(field.name for field in recipe_fields())
        if name not in names:
            self._refuse(table, name, _unknown(name, names), nth=nth)

    def _check(self, table: str, name: str, value: Any, nth: int = 0) -> None:
        self._known(table, name, nth)
        self._convert(table, name, {name: value}, Recipe, nth)

    def _convert(self, table: str, name: str, values: Any, kind: Any, nth: int = 0) -> None:
        try:
            msgspec.convert(values, kind)
        except msgspec.ValidationError as error:
            self._refuse(table, name, wrong_value(error, values)[1], nth=nth)

    def _refuse(
        self, table: str, name: str, what: str, mend: str = "", *, nth: int = 0
    ) -> NoReturn:
        field = f"{table}.{name}" if table else name
        where = f"{self.path}:{self._line(table, name, nth)}"
        raise BadInput(
            f"{field}: {what}",
            where=where,
            mend=f"put {mend} under [recipe]" if mend else None,
        )

    def _line(self, table: str, name: str, nth: int = 0) -> int:
        """The line of ``name`` in the ``nth`` table of this name; 1 if it is not found."""
        inside, count = table == "", -1
        for number, line in enumerate(self.text.splitlines(), 1):
            header = re.match(r"\s*\[\[?\s*([\w-]+)\s*\]", line)
            if header:
                if not table and header[1] == name:
                    return number
                count += header[1] == table
                inside = header[1] == table and count == nth
            elif inside and re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=", line):
                return number
        return 1


def _unknown(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"not known; is {near[0]} meant?" if near else f"not known; known are {', '.join(known)}"
