"""``sekft mask --export FILE``: one trajectory as it is shown, as a page or a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from sekft_engine.core.errors import BadInput
from sekft_engine.core.text import visible
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.maskview.document import Document
from sekft_engine.maskview.export import export
from sekft_engine.maskview.layout import View
from sekft_engine.render import Dropped, build_row

if TYPE_CHECKING:
    from sekft_engine.render import ChatTokenizer
    from sekft_engine.sources.index.sessions import Sessions
    from sekft_engine.training.token_losses.report import Measured


def export_mask(
    sessions: Sessions,
    found: Trajectory | Dropped | None,
    tokenizer: ChatTokenizer,
    max_length: int,
    target: Path,
    view: str,
) -> int:
    """Write the mask of ``found``; of a trajectory that is dropped what it says, and why."""
    if found is None:
        raise BadInput("no trajectory here", where=sessions.where, mend="name other data")
    if isinstance(found, Trajectory):
        row = build_row(found, tokenizer, max_length=max_length)
        if not isinstance(row, Dropped):
            document = Document.from_row(row, digest=tokenizer.digest, limit=max_length)
            return _write(document, row.id, target, view or "context")
        found = row
    turns = sessions.get(found.id).turns
    document = Document.from_turns(found.id, turns, reason=found.reason, detail=found.detail)
    return _write(document, found.id, target, view or "context")


def export_losses(
    measured: Measured, tokenizer: ChatTokenizer, max_length: int, target: Path, view: str
) -> int:
    """Write a trajectory shaded by the losses of its tokens."""
    row = measured.row
    document = Document.from_row(row, losses=measured, digest=tokenizer.digest, limit=max_length)
    return _write(document, row.id, target, view or "loss")


def _write(document: Document, name: str, target: Path, view: str) -> int:
    export(document, target.expanduser().absolute(), cast("View", view))
    click.echo(f"{visible(name)} -> {target}")
    return 0
