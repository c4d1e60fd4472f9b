"""Write the coloured view to a file: asks for its name, and writes it on a thread."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from sekft_engine.core.errors import BadInput, SekftError

if TYPE_CHECKING:
    from sekft_tui.panes.trajectories.browser import Browser

HINT = "a .html page or an .svg picture"


class Exported(Message):
    """The file is written, or ``error`` says why not."""

    def __init__(self, path: Path, error: str = "") -> None:
        super().__init__()
        self.path = path
        self.error = error


def ask(pane: Browser) -> None:
    """Ask for the file's name and write it."""
    facts = pane.current
    if facts is None or pane.view.doc is None:
        pane.host.note("nothing is shown that can be written")
        return
    name = re.sub(r"[^\w.-]+", "_", facts.id, flags=re.ASCII).strip("._")[:80] or "trajectory"

    def write(text: str) -> None:
        path = Path(text.strip()).expanduser().absolute()
        if path.suffix.lower() not in (".html", ".svg"):
            raise BadInput(f"the file must be {HINT}")
        if not path.parent.is_dir():
            raise BadInput("no such folder", where=str(path.parent))
        start(pane, path)

    pane.host.prompt.ask("export to", write, value=f"{name}.html", hint=HINT)


def start(pane: Browser, path: Path) -> None:
    write = pane.view.exporter()

    def work() -> None:
        try:
            write(path)
        except (SekftError, OSError) as error:
            pane.post_message(Exported(path, str(error)))
        else:
            pane.post_message(Exported(path))

    pane.host.note(f"writing {path} …")
    threading.Thread(target=work, name="sekft-export", daemon=True).start()
