"""What the commands about runs share: where runs are, and how their files are told."""

from __future__ import annotations

from pathlib import Path

import click

from sekft_engine.cli.options import find_workspace
from sekft_engine.errors import BadInput
from sekft_engine.visible import plain


def runs_root(workspace: Path | None, identity: str = "") -> Path:
    """The folder of the workspace's runs, or the one that the run ``identity`` lies in."""
    place = find_workspace(workspace)
    if place is not None:
        return place.runs
    if identity and Path(identity).is_dir():
        return Path(identity).parent
    raise BadInput("no workspace here", where=str(Path.cwd()), mend="name it with --workspace")


def tell(text: str, *, end: str = "\n") -> None:
    """What a run's files hold comes from worlds and data: it may show, not act."""
    click.echo(plain(text) + end, nl=False)
