"""From what a person calls a base to a local folder of safetensors."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path

from sekft_engine.bases.cache import cache_root
from sekft_engine.bases.catalogue import KNOWN
from sekft_engine.bases.convert import Report, convert_gguf
from sekft_engine.bases.store import is_current, write_record
from sekft_engine.bases.tokenizers import convertible, missing_tokenizer
from sekft_engine.bases.weights import INDEX, SINGLE, indexed_files, weight_files
from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.core.files import file_sha256, staged_folder
from sekft_engine.data.workspace import Workspace, no_base_named
from sekft_engine.records.adapters import CONFIG as ADAPTER_CONFIG

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
#: What is fetched of a Hub repository beside its weights: never code, never pickles.
_HUB_FILES = ["*.json", "*.jinja", "tokenizer*"]
#: Files of weights in other formats, or of other things, than those that transformers loads.
_OTHER_WEIGHTS = ["*/*", "consolidated*", "adapter_*"]


def resolve_base(
    spec: str, workspace: Workspace | None = None, *, report: Report | None = None
) -> Path:
    """The folder of the base called ``spec``: a folder, a ``.gguf`` file (converted once into the
    cache), a name in the workspace, or a Hub id unless offline.

    Raises:
        BadInput: what is there cannot be used as a base.
        Unavailable: it is not on this machine and cannot be fetched.
    """
    spec = spec or (workspace.base if workspace else "")
    if not spec:
        raise no_base_named(workspace)
    path = Path(spec).expanduser()
    if workspace is not None and not path.exists() and (workspace.bases / spec).is_dir():
        path = workspace.bases / spec
    try:
        if path.is_file():
            return _from_gguf(path.absolute(), report)
        if path.is_dir():
            return check_folder(path.absolute())
    except PermissionError as error:
        raise Unavailable(
            "no permission to read it",
            where=str(error.filename or path),
            mend="change its permissions",
        ) from error
    if spec in KNOWN:
        if is_current(cache_root() / spec):
            return check_folder(cache_root() / spec)
        raise Unavailable("this base is not here yet", where=spec, mend=f"sekft base add {spec}")
    if _HUB_ID.fullmatch(spec):
        return _from_hub(spec)
    raise BadInput(
        "no such base", where=spec, mend="name a folder, a .gguf file, a Hub id, or a known base"
    )


def ready_base(spec: str, workspace: Workspace | None = None) -> Path | None:
    """The folder that :func:`resolve_base` would give, where it lies ready already; None where it
    has to be fetched or converted first. A folder needs no weights for this. Needs no torch.

    Raises:
        BadInput, Unavailable: as :func:`resolve_base`.
    """
    spec = spec or (workspace.base if workspace else "")
    path = Path(spec).expanduser()
    if workspace is not None and spec and not path.exists() and (workspace.bases / spec).is_dir():
        path = workspace.bases / spec
    if spec and (path / "tokenizer.json").is_file():
        return path.absolute()
    if path.suffix.lower() == ".gguf" and os.access(path, os.R_OK):
        target = _converted(file_sha256(path))
        return check_folder(target) if is_current(target) else None
    if spec and not path.exists() and spec not in KNOWN and _HUB_ID.fullmatch(spec):
        return None
    return resolve_base(spec, workspace)


def is_here(spec: str, workspace: Workspace | None = None) -> bool:
    """Whether a base that was named lies on this machine; False = it has to be fetched. Quick: of a
    file only the name is looked at, and nobody is asked.

    Raises:
        BadInput, Unavailable: it cannot be a base, as :func:`resolve_base`.
    """
    path = Path(spec).expanduser()
    if path.suffix.lower() == ".gguf" and path.is_file():
        return True
    return ready_base(spec, workspace) is not None


def _converted(digest: str) -> Path:
    """Where a GGUF file of this content is, or will be, as safetensors."""
    return cache_root() / f"gguf-{digest[:16]}"


def check_folder(folder: Path) -> Path:
    """``folder`` where it can be loaded as a base without running anyone's code or pickles."""
    config = folder / "config.json"
    if not config.is_file():
        if (folder / ADAPTER_CONFIG).is_file():
            raise BadInput("an adapter, not a base", where=str(folder), mend="name its base")
        raise BadInput("no config.json in this folder", where=str(folder), mend="name a base")
    config.open("rb").close()
    if not weight_files(folder):
        if convertible(folder) and not (folder / "tokenizer.json").is_file():
            raise missing_tokenizer(folder)  # what is asked first of a folder of tokenizer files
        pickles = sorted(folder.glob("*.bin")) + sorted(folder.glob("*.pt*"))
        if pickles:
            raise BadInput(
                f"only pickled weights ({pickles[0].name}), which can run code when loaded",
                where=str(folder),
                mend="convert them to safetensors",
            )
        raise BadInput("no *.safetensors in this folder", where=str(folder), mend="name a base")
    for path in weight_files(folder):
        if not path.exists():
            raise BadInput(
                f"{INDEX} lists {path.name}, which is not here",
                where=str(folder),
                mend="fetch the base again",
            )
        path.open("rb").close()
    if not any((folder / name).is_file() for name in (SINGLE, INDEX)):
        raise BadInput(
            f"neither {SINGLE} nor {INDEX}, but {weight_files(folder)[0].name} alone",
            where=str(folder),
            mend="take the files that transformers loads; vendors keep weights in other formats "
            "beside them",
        )
    if not (folder / "tokenizer.json").is_file():
        raise missing_tokenizer(folder)
    return folder


def _from_gguf(file: Path, report: Report | None) -> Path:
    if file.suffix.lower() != ".gguf":
        raise BadInput("a base is a folder or a .gguf file", where=str(file))
    digest = file_sha256(file)
    target = _converted(digest)
    if not is_current(target):
        with staged_folder(target) as folder:
            convert_gguf(file, folder, report=report)
            write_record(folder, title=file.stem, source=file.name, source_sha256=digest)
    return check_folder(target)


def _from_hub(spec: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    offline = any(
        os.environ.get(name, "").lower() in ("1", "true", "yes", "on")
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )
    fetch = partial(snapshot_download, spec, local_files_only=offline)
    try:
        folder = Path(fetch(allow_patterns=_HUB_FILES))
        if (index := folder / INDEX).is_file():
            folder = Path(fetch(allow_patterns=indexed_files(index)))
        else:
            fetch(allow_patterns=["*.safetensors"], ignore_patterns=_OTHER_WEIGHTS)
    except LocalEntryNotFoundError as error:
        raise Unavailable(
            "neither in the Hub's cache on this machine nor reachable",
            where=spec,
            mend="go online, or name a local folder or .gguf file",
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise Unavailable(f"the Hub refused it: {line}", where=spec) from error
    return check_folder(folder)
