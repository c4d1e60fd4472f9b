"""What the commands about runs share: where runs are, and how their files are printed."""

from __future__ import annotations

from pathlib import Path

import click

from sekft_engine.cli.options import find_workspace
from sekft_engine.core.errors import BadInput
from sekft_engine.core.text import plain


def runs_root(workspace: Path | None, identity: str = "") -> Path:
    """The folder of the workspace's runs, or the one that the run ``identity`` lies in."""
    place = find_workspace(workspace)
    if place is not None:
        return place.runs
    if identity and Path(identity).is_dir():
        return Path(identity).parent
    raise BadInput("no workspace here", where=str(Path.cwd()), mend="name it with --workspace")


def print_text(text: str, *, end: str = "\n") -> None:
    """Print text from a run's files so that it cannot act on the terminal."""
    click.echo(plain(text) + end, nl=False)
