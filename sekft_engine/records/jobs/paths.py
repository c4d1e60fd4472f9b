"""The paths that a job names, made independent of the current folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.records.jobs import AnyJob, Job

#: Fields of jobs that are paths.
_PATHS = frozenset(
    {"data", "evaluate", "file", "out", "pairs", "path", "scenarios", "target", "workspace"}
)
#: Fields that may be paths, or names: of a base, an adapter, a run.
_NAMES = frozenset({"adapter", "adapters", "base", "run", "source"})


def absolute(job: Job) -> Job:
    """The job with absolute paths, so that it can be done from any folder.

    What may also be a name (of a base, an adapter, a run) stays where no such file exists.
    """
    if not isinstance(job, AnyJob):
        return job
    changed: dict[str, Any] = {}
    for name in job.__struct_fields__:
        value = getattr(job, name)
        if name in _PATHS:
            changed[name] = _path(value)
        elif name in _NAMES:
            several = isinstance(value, tuple)
            changed[name] = tuple(map(_if_there, value)) if several else _if_there(value)
    return msgspec.structs.replace(job, **changed)


def absolute_adapters(specs: Sequence[str]) -> tuple[str, ...]:
    """Adapters, each ``NAME=PATH`` or a path, with absolute paths."""
    out = []
    for spec in specs:
        name, equals, path = spec.partition("=")
        if equals and not Path(spec).expanduser().exists():
            out.append(f"{name}={_if_there(path)}")
        else:
            out.append(_if_there(spec))
    return tuple(out)


def moved(job: Job, here: Path, there: Path) -> Job:
    """The job, with absolute paths, as it is said where the folder ``here`` lies at ``there``.

    Paths outside the folder stay.
    """
    if not isinstance(job, AnyJob):
        return job
    changed: dict[str, Any] = {}
    for name in job.__struct_fields__:
        value = getattr(job, name)
        if name in _PATHS | _NAMES:
            several = isinstance(value, tuple)
            new = tuple(_at(one, here, there) for one in value) if several else value
            changed[name] = new if several else _at(value, here, there)
    return msgspec.structs.replace(job, **changed)


def _at(path: str, here: Path, there: Path) -> str:
    """``path`` below ``there`` in place of ``here``."""
    for root in (here.absolute(), here.resolve()):
        if path.startswith("/") and Path(path).is_relative_to(root):
            return str(there / Path(path).relative_to(root))
    return path


def _path(path: str) -> str:
    return str(Path(path).expanduser().absolute()) if path else ""


def _if_there(name: str) -> str:
    """``name`` as an absolute path if there is such a file; else it is a Hub id or a known name."""
    return _path(name) if name and Path(name).expanduser().exists() else name
