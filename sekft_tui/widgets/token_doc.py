"""What the token view shows: documents and their layout, which are the engine's."""

from __future__ import annotations

from sekft_engine.maskview.cells import LINE_END
from sekft_engine.maskview.document import Document, LossArrays, TurnInfo
from sekft_engine.maskview.layout import (
    GUTTER,
    MODES,
    VIEWS,
    Layout,
    Line,
    Mode,
    Piece,
    View,
    views_of,
)

#: The name that the panes know it by.
TokenDoc = Document

__all__ = [
    "GUTTER",
    "LINE_END",
    "MODES",
    "VIEWS",
    "Layout",
    "Line",
    "LossArrays",
    "Mode",
    "Piece",
    "TokenDoc",
    "TurnInfo",
    "View",
    "views_of",
]
