"""A copy of a run for someone else: a folder, or one packed file."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from sekft_engine.core.errors import BadInput
from sekft_engine.core.files import staged_folder
from sekft_engine.records.runs import ADAPTER, EVENTS, MANIFEST, TOKEN_LOSSES, RunInfo


def export_run(info: RunInfo, target: Path) -> Path:
    """Copy the files of a run to ``target``, a new folder or ``.tar.gz``."""
    source = Path(info.path)
    names = (MANIFEST, EVENTS, ADAPTER, TOKEN_LOSSES, "episodes", "notes.json")
    present = [source / name for name in names if (source / name).exists()]
    if target.exists():
        raise BadInput("already there", where=str(target), mend="choose another name")
    if target.name.endswith((".tar.gz", ".tgz")):
        target.parent.mkdir(parents=True, exist_ok=True)
        stage = target.with_name(f".{target.name}.part")
        try:
            with tarfile.open(stage, "w:gz") as archive:
                for path in present:
                    archive.add(path, arcname=f"{info.id}/{path.name}")
            stage.rename(target)
        finally:
            stage.unlink(missing_ok=True)
        return target
    with staged_folder(target) as folder:
        for path in present:
            if path.is_dir():
                shutil.copytree(path, folder / path.name, symlinks=True)
            else:
                shutil.copy2(path, folder / path.name)
    return target
