"""Write a rendered trajectory as it is seen: a page (HTML) or a picture (SVG), in one file."""

from __future__ import annotations

from pathlib import Path

from sekft_engine.core.errors import BadInput
from sekft_engine.core.files import write_whole
from sekft_engine.maskview.document import Document
from sekft_engine.maskview.html import page
from sekft_engine.maskview.layout import Mode, View, views_of
from sekft_engine.maskview.svg import picture

#: Ends of names that say which form is written.
SUFFIXES = (".html", ".htm", ".svg")
#: Cells of a picture's line.
WIDTH = 120


def export(
    doc: Document, path: Path, view: View = "context", *, width: int = WIDTH, mode: Mode = "all"
) -> None:
    """Write ``doc`` to ``path`` in the form that its suffix names: a page that needs nothing else
    (no script, no font, no network; light or dark as asked), or a picture of all lines, wrapped to
    ``width`` cells.

    Raises:
        BadInput: another suffix than .html, .htm or .svg, a view that the document has not, a
            document too long for a picture, or a place that cannot be written to.
    """
    _check(doc, view, path)
    if path.suffix.lower() == ".svg":
        pieces = picture(doc, view, mode, width)
    else:
        pieces = page(doc, view, mode)
    _write(path, "".join(pieces))


def _check(doc: Document, view: View, path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise BadInput(
            f"cannot export as {suffix or 'a file without suffix'}",
            where=str(path),
            mend="name it .html or .svg",
        )
    if view not in views_of(doc):
        known = ", ".join(views_of(doc))
        raise BadInput(
            f"this trajectory has no view {view!r}", where=str(path), mend=f"choose of {known}"
        )


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, text.encode("utf-8"))
    except OSError as error:
        raise BadInput(
            f"cannot be written: {error.strerror}",
            where=str(path),
            mend="choose a folder that exists and may be written to",
        ) from error
