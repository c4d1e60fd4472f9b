"""Write the coloured view to a file: asks for its name, and writes it on a thread."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sekft_engine.core.errors import SekftError, in_words
from sekft_engine.core.files import write_whole
from sekft_tui.process.exporting import Exported, file_name, target, unused

if TYPE_CHECKING:
    from sekft_tui.panes.trajectories.browser import Browser

HINT = "a .html page, an .svg picture, or .txt"
ENDINGS = (".html", ".svg", ".txt")


def ask(pane: Browser) -> None:
    """Ask for the file's name and write it."""
    facts = pane.current
    if facts is None or pane.view.doc is None:
        pane.host.note("nothing is shown that can be written")
        return

    def write(text: str) -> None:
        start(pane, target(text, ENDINGS))

    name = unused(Path(f"{file_name(facts.id)}.html")).name
    pane.host.prompt.ask("export to", write, value=name, hint=HINT)


def start(pane: Browser, path: Path) -> None:
    draw, text = pane.view.exporter(), pane.view.whole()

    def write(path: Path) -> None:
        if path.suffix.lower() == ".txt":
            write_whole(path, text.encode("utf-8", "replace") + b"\n")
        else:
            draw(path)

    def work() -> None:
        try:
            write(path)
        except (SekftError, OSError) as error:
            pane.post_message(Exported(path, in_words(error)))
        else:
            pane.post_message(Exported(path))

    pane.host.note(f"writing {path} …")
    threading.Thread(target=work, name="sekft-export", daemon=True).start()
