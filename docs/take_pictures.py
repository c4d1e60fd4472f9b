"""Take the documents' pictures of the real workbench, on a workspace with a run and an eval.

    python docs/take_pictures.py WORKSPACE

Needs rsvg-convert. The journals of the newest runs are shown; nothing is trained here.
"""

from __future__ import annotations

import asyncio
import html
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.cells import cell_len
from textual.pilot import Pilot

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_tui.app import Workbench

PICTURES = Path(__file__).parent / "pictures"
CELL = 12.2  # the width that Textual's SVG gives a character


async def settle(pilot: Pilot[int], seconds: float = 1.2) -> None:
    """Threads read files and render; their work shows with the next pull."""
    await asyncio.sleep(seconds)
    await pilot.pause()


async def take(workspace: Workspace, name: str, size: tuple[int, int], keys: list[str]) -> None:
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state  # nothing is remembered of the picture before
        app = Workbench(Engine(workspace), workspace)
        app.theme = "sekft-dark"
        async with app.run_test(size=size) as pilot:
            await app.action_pane("trajectories")
            await settle(pilot, 4.0)
            for key in keys:
                await pilot.press(key)
                await settle(pilot)
            svg = app.export_screenshot(title="sekft tui")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".svg") as file:
        file.write(shifted(svg))
        file.flush()
        target = PICTURES / f"{name}.png"
        width = str(min(1600, size[0] * 12))
        subprocess.run(["rsvg-convert", "-w", width, file.name, "-o", str(target)], check=True)


def shifted(svg: str) -> str:
    """rsvg drops spaces at the beginning of a text, and takes signs of other fonts at their own
    width: give each word and each such sign its own place."""

    def shift(found: re.Match[str]) -> str:
        before, x, after, text = found.groups()
        if "text-anchor" in before + after:  # the title
            return found[0]
        after = re.sub(r' textLength="[^"]*"', "", after)
        out, column, word, start = [], 0, "", 0

        def end() -> None:
            if word:
                out.append(f'<text{before}x="{float(x) + CELL * start}"{after}>{word}</text>')

        for sign in re.findall(r"&[^;]+;|.", text):
            plain = sign.isascii() and sign != "&#160;"
            if not plain or not word:
                end()
                word, start = "", column
            if sign != "&#160;":
                word += sign
            if not sign.isascii():
                end()
                word = ""
            column += cell_len(html.unescape(sign))
        end()
        return "".join(out)

    return re.sub(r'<text([^>]*?)x="([\d.]+)"([^>]*)>(.*?)</text>', shift, svg)


async def main(root: str) -> None:
    """The pictures that docs/workbench.md shows; Runs lists the eval first, then the training."""
    workspace = Workspace(root)
    large, small = (140, 40), (80, 24)
    to_command = ["enter", "l", "l", "l"]
    await take(workspace, "trajectories", large, to_command)
    await take(workspace, "small", small, to_command)
    # Needs losses of the first session: sekft mask --loss RUN --measure --id ID
    await take(workspace, "loss", large, ["enter", "O", "enter", "l", "l", "l"])
    await take(workspace, "certificate", large, ["enter", "v", "v", "v", "v", "v"])
    # Best of a run of: sekft train --heldout-every 5 --eval-every 20
    await take(workspace, "train", (160, 48), ["5", "j", "enter"])
    await take(workspace, "eval", large, ["5", "enter", "l"])
    await take(workspace, "replay", large, ["5", "enter", "l", "j", "j", "enter"])
    await take(workspace, "beside", large, ["5", "enter", "j", "j", "enter", "w", "d", ".", "."])


if __name__ == "__main__":
    # So that paths are short, and say nothing of this machine.
    os.environ["HOME"] = str(Path(sys.argv[1]).resolve().parent)
    asyncio.run(main(sys.argv[1]))
