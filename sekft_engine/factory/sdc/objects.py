"""Objects of the sister package, from and to ours, by the fields that they show."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.factory.sdc.convert import Converter, ConvertReport

T = TypeVar("T")
#: How libraries of data classes call what gives a plain dictionary.
_DUMPS = ("to_json", "model_dump", "to_dict", "as_dict", "_asdict")


def from_objects(
    objects: Iterable[object],
) -> tuple[list[Scenario], list[Trajectory], ConvertReport]:
    """Our scenarios and trajectories of their objects: data classes, models, named tuples, or
    anything with attributes. Fields that we do not know are kept in ``extra``."""
    converter = Converter()
    for number, each in enumerate(objects):
        converter.add(fields_of(each), f"{type(each).__name__} {number}", f"object-{number:05d}")
    scenarios = [Scenario.from_json(raw, name) for name, raw in converter.scenarios.items()]
    trajectories = [Trajectory.from_json(raw, name) for name, raw in converter.trajectories.items()]
    return scenarios, trajectories, converter.report("")


def to_objects(ours: Iterable[Scenario | Trajectory], kind: type[T]) -> list[T]:
    """Their objects of ours: ``kind`` gets those of our fields that it takes, the kept ones among
    them.

    Raises:
        BadInput: it wants a field that we do not have.
    """
    takes = inspect.signature(kind).parameters
    anything = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in takes.values())
    out = []
    for each in ours:
        known: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(each.to_json()))
        fields = known if anything else {name: known[name] for name in takes if name in known}
        try:
            out.append(kind(**fields))
        except (TypeError, ValueError) as error:
            raise BadInput(
                f"cannot make a {kind.__name__} of it: {error}",
                where=each.id,
                mend="write a folder with sekft factory convert instead",
            ) from error
    return out


def fields_of(each: object) -> dict[str, Any]:
    """The fields of an object as plain data."""
    plain = _plain(each)
    return plain if isinstance(plain, dict) else {"value": plain}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, str | bytes | int | float | bool) or value is None:
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    for name in _DUMPS:
        dump = getattr(value, name, None)
        if callable(dump):
            return _plain(dump())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if hasattr(value, "value") and type(value).__mro__[1].__name__ == "Enum":
        return _plain(value.value)
    if hasattr(value, "__dict__"):
        return {
            name: _plain(item) for name, item in vars(value).items() if not name.startswith("_")
        }
    return str(value)
