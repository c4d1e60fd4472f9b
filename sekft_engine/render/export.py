"""Write a rendered trajectory as it is seen: a page (HTML) or a picture (SVG), in one file."""

from __future__ import annotations

from pathlib import Path

from sekft_engine.errors import BadInput
from sekft_engine.files import write_whole
from sekft_engine.maskview.document import Document
from sekft_engine.maskview.html import page
from sekft_engine.maskview.layout import Mode, View, views_of
from sekft_engine.maskview.svg import picture

#: Cells of a picture's line.
WIDTH = 120


def export(
    doc: Document, path: Path, view: View = "context", *, width: int = WIDTH, mode: Mode = "all"
) -> None:
    """Write ``doc`` to ``path`` in the form that its suffix names.

    Raises:
        BadInput: another suffix than .html, .htm or .svg, a view that the document has not, a
            document too long for a picture, or a place that cannot be written to.
    """
    suffix = path.suffix.lower()
    if suffix in (".html", ".htm"):
        export_html(doc, path, view, mode=mode)
    elif suffix == ".svg":
        export_svg(doc, path, view, width=width, mode=mode)
    else:
        raise BadInput(
            f"cannot export as {suffix or 'a file without suffix'}",
            where=str(path),
            mend="name it .html or .svg",
        )


def export_html(doc: Document, path: Path, view: View = "context", *, mode: Mode = "all") -> None:
    """A page that needs nothing else: no script, no font, no network; light or dark as asked."""
    _check(doc, view, path)
    _write(path, "".join(page(doc, view, mode)))


def export_svg(
    doc: Document,
    path: Path,
    view: View = "context",
    *,
    width: int = WIDTH,
    mode: Mode = "all",
) -> None:
    """A picture of all lines, wrapped to ``width`` cells."""
    _check(doc, view, path)
    _write(path, "".join(picture(doc, view, mode, width)))


def _check(doc: Document, view: View, path: Path) -> None:
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
