"""Where drafts of sessions lie: found without importing what reads them."""

from __future__ import annotations

from pathlib import Path

from sekft_engine.data.workspace import Workspace

#: The workspace's folder for drafts, and for sessions of held-out worlds, which are no training
#: data.
TAKEOVERS = "takeovers"
#: What the name of a draft begins with.
DRAFT = ".takeover-"


def drafts_folder(workspace: Workspace | None) -> Path | None:
    """The folder of drafts; None without a workspace."""
    return workspace.root / TAKEOVERS if workspace is not None else None


def draft_path(folder: Path, name: str) -> Path:
    """The draft of the session ``name``."""
    return folder / f"{DRAFT}{name}.json"


def drafts(folder: Path | None) -> list[Path]:
    """The drafts in ``folder``, newest first; some may be being typed now."""
    found = folder.glob(f"{DRAFT}*.json") if folder is not None else ()
    return sorted(found, key=_changed, reverse=True)


def _changed(path: Path) -> float:
    """When a file was changed; a dangling link and what is gone by now was changed never."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
