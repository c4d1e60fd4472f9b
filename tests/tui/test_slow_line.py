"""Over a slow line the workbench stays with the keys: nothing piles up on the way."""

from __future__ import annotations

import time
from pathlib import Path

from sekft_engine.data.workspace import Workspace
from sekft_tui.process.flow import MAX_BYTES
from tests.tui.terminal import Terminal, terminal

#: Bytes per second of the line.
RATE = 20_000
#: A frame at 160x48 may be so large, and one goes out before the line counts as behind.
FRAME = 20_000


def test_held_keys_pile_nothing_up_on_a_line_of_20_kilobytes(workspace: Workspace) -> None:
    words = ("tui", "--workspace", ".")
    with terminal(*words, cwd=workspace.root, size=(160, 48), rate=RATE) as shown:
        shown.until_shown("12 trajectories", "certified")
        shown.most_on_the_line = 0
        hold(shown, "jjjkkk", 25)
        assert shown.most_on_the_line <= MAX_BYTES + FRAME
        shown.press("?")
        shown.until_shown("The next view")
        shown.press("escape")
        shown.until(lambda text: "The next view" not in text, "the keys are closed")
        shown.press("q")
        assert shown.ended() == 0


def test_what_is_held_back_is_shown_in_the_end(workspace: Workspace) -> None:
    """The screen over the slow line and one without it agree once all has arrived."""
    words, size = ("tui", "--workspace", "."), (120, 36)
    with (
        terminal(*words, cwd=workspace.root, size=size, rate=RATE) as slow,
        terminal(*words, cwd=workspace.root, size=size) as quick,
    ):
        for shown in (slow, quick):
            shown.until_shown("12 trajectories", "certified")
            hold(shown, "jjjjk", 8)
            shown.press("g", "j", "j")
            shown.until_shown("merge-001", "turn 1/6")
        slow.until(lambda text: listing(text) == listing(quick.text), "the same list")


def listing(text: str) -> list[str]:
    return text.splitlines()[1:-3]


def hold(shown: Terminal, keys: str, times: int) -> None:
    """Press keys as a keyboard repeats one that is held."""
    for _ in range(times):
        for key in keys:
            shown.press(key)
            time.sleep(0.02)


def test_the_end_leaves_no_answer_for_the_shell(workspace: Workspace, tmp_path: Path) -> None:
    """All questions of a terminal are answered before it is given back."""
    del tmp_path
    with terminal("tui", "--workspace", ".", cwd=workspace.root, rate=RATE) as shown:
        shown.until_shown("12 trajectories")
        hold(shown, "jk", 5)
        shown.press("q")
        assert shown.ended() == 0
        sent = bytes(shown.sent)
        assert sent.count(b"\x1b[?2026$p") > 1
        assert b"\x1b[?2026$p" not in sent[sent.rindex(b"\x1b[?1049l") :]
