"""What ``y`` and ``Y`` do: hand what a pane shows to the terminal, or write it to a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sekft_engine.errors import BadInput
from sekft_tui import clipboard

if TYPE_CHECKING:
    from sekft_tui.panes.pane import Pane


def copy(pane: Pane, write: Callable[[str], None]) -> str:
    """Send what the cursor is on to the clipboard through ``write``; says what was done.

    Raises:
        BadInput: it was too big for that, and the file for it cannot be written.
    """
    what, text = pane.copied()
    return clipboard.copy(text, what, write, Path.cwd()) if text else "nothing to copy here"


def save(pane: Pane) -> str:
    """Write all that is shown to a new file in the present folder; says which.

    Raises:
        BadInput: the file cannot be written.
    """
    path = Path(f"sekft-{pane.place}-{time.strftime('%Y%m%d-%H%M%S')}.txt").absolute()
    try:
        path.write_text(pane.whole() + "\n", encoding="utf-8", errors="replace")
    except OSError as error:
        raise BadInput(str(error.strerror), where=str(path)) from error
    return f"written to {path}"
