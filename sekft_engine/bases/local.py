"""Add a base that lies on this machine: a folder, or a GGUF file."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path

from sekft_engine.bases.convert import Report
from sekft_engine.bases.digest import base_digest
from sekft_engine.bases.resolve import resolve_base
from sekft_engine.bases.store import Added, describe_base, read_record, write_record
from sekft_engine.core.errors import BadInput
from sekft_engine.core.files import staged_folder

#: Endings of files that no base is loaded from.
_LEFT_OUT = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".onnx", ".gguf"}


def is_local(name: str) -> bool:
    """Whether ``name`` is a path: one that is there, or one that cannot be a name."""
    return Path(name).expanduser().exists() or name.startswith((".", "/", "~"))


def add_local(name: str, bases: Path, *, report: Report | None = None) -> Added:
    """Put the base in the folder, or GGUF file, ``name`` into the folder ``bases``.

    Its files are linked, or copied where they lie on another file system.

    Raises:
        BadInput: it is no base, or another one of its name is there.
    """
    began = time.monotonic()
    path = Path(name).expanduser()
    source = resolve_base(name, report=report)
    target = bases / (path.stem if path.is_file() else source.name)
    if target.is_dir():
        if base_digest(target) != base_digest(source):
            raise BadInput(
                "another base has this name", where=str(target), mend="rename one of the folders"
            )
        how = "already there"
    else:
        how = _take(source, target, report)
    if read_record(target) is None:
        digest = hashlib.sha256(base_digest(target).encode()).hexdigest()
        write_record(target, title=target.name, source=str(path.absolute()), source_sha256=digest)
    return Added(base=describe_base(target), how=how, seconds=round(time.monotonic() - began, 3))


def _take(source: Path, target: Path, report: Report | None) -> str:
    how = "linked"
    files = [
        path
        for path in sorted(source.iterdir())
        if path.is_file() and path.suffix not in _LEFT_OUT and not path.name.startswith(".")
    ]
    with staged_folder(target) as folder:
        for done, path in enumerate(files):
            if report:
                report("taking files", done, len(files))
            try:
                os.link(path.resolve(), folder / path.name)
            except OSError:
                shutil.copy2(path, folder / path.name)
                how = "copied"
    return how
