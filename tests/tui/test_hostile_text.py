"""Whatever a name or a text holds, it reaches the terminal as text: never as a control sequence, a
link, a copy to the clipboard, or markup. Looked at byte by byte, in a real terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.events import Paste

from sekft_engine.data.workspace import Workspace
from sekft_tui.app import Workbench
from tests.tui.hostile import ALL, TEXTS, faults, markup_faults
from tests.tui.hostile_stage import hostile_workspace
from tests.tui.screen import until, until_gone, until_shown
from tests.tui.terminal import Terminal, terminal

STAGE = "from tests.tui.hostile_stage import main; main()"

#: Escape as the kitty protocol has it: a plain one and a letter would be one key with alt.
_ESCAPE = "\x1b[27u"
#: What is pressed, and what is on the screen then; together all panes and the screens over them.
WALK: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("sessions", (), "18 trajectories"),
    ("token edges", ("v",), "token edges"),
    ("ids", ("v",), "ids 3/6"),
    ("white space made visible", ("v",), "4/6"),
    ("labels", ("v",), "labels"),
    ("the certificate", ("v",), "Certified"),
    ("statistics", ("i",), "trained share"),
    ("other sessions", ("escape", "v", "L", "L", "L"), "context 1/6"),
    ("a filter", ("f", "evil", "enter"), "f: evil"),
    ("a search", ("/", "evil", "enter", "n", "n"), "evil: "),
    ("the losses of a run", ("escape", "escape", "O"), "adapter yet"),
    ("the form of a run", ("escape", "2"), "Recipe"),
    ("a run", ("s",), "raw 1.441"),
    ("its batch", ("b",), "tokens trained"),
    ("marks of its curve", ("b", "]", "]", "[", "l"), "step "),
    ("runs to show beside it", ("w",), "pin or unpin"),
    ("the queue", ("escape", "Q"), "move up, down"),
    ("the engine", ("escape", "I"), "waiting "),
    ("the set-up of an eval", ("escape", "3"), "models"),
    ("an eval that failed", ("s",), "36 of 54 episodes"),
    ("the error in full", ("e",), "esc close"),
    ("the figures of an eval", ("escape", "i"), "j k scroll"),
    ("an episode of it", ("escape", "l", "enter"), "turn 3/3"),
    ("recorded episodes", ("4", "escape", "escape", "j", "enter", "v"), "verdict"),
    ("how its world differs", ("i",), "final world against the ref"),
    ("runs", ("5", "j", "j"), "evil"),
    ("the facts of other runs", ("j", "j", "j", "j", "j", "j", "j", "j"), "evil"),
    ("the log", ("6", "g"), "entries"),
    ("the keys", ("?",), "keys"),
    ("the palette", ("escape", "ctrl+p", "evil"), "🔎"),
    ("the log again", ("escape",), "-🔎"),
    ("a choice of worlds", ("W",), "which world"),
    ("a world", ("enter",), "your turn"),
    ("what a world prints", ("cat said", "enter"), "1 command so far"),
    ("a command of one's own", ("echo [u]evil [/] $evil", "enter"), "2 commands so far"),
    ("its verdict", ("exit", "enter"), "the checker"),
)


@pytest.fixture
def hostile(tmp_path: Path, tiny_base: Path) -> Workspace:
    return hostile_workspace(tmp_path / "workspace", tiny_base)


def holds(expected: str) -> Callable[[str], bool]:
    """Whether what is expected is on the screen; after a ``-``, whether it is gone from there."""
    what = expected.removeprefix("-")
    return lambda text: (what in text) is (what == expected)


def walk(shown: Terminal) -> list[str]:
    """Goes through the workbench; what was read as markup on the way."""
    found = []
    for place, keys, expected in WALK:
        for key in keys:
            shown.press(_ESCAPE if key == "escape" else key)
        text = shown.until(holds(expected), expected)
        found += [f"{place}: {line}" for line in markup_faults(text)]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("size", [(80, 24), (140, 44)], ids=["80x24", "140x44"])
def test_nothing_hostile_acts_on_the_terminal_in_any_pane_or_screen(
    hostile: Workspace, tmp_path: Path, size: tuple[int, int]
) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    arguments = (str(hostile.root),)
    with terminal(*arguments, cwd=tmp_path, size=size, environ=environ, code=STAGE) as shown:
        assert walk(shown) == []
        shown.press(_ESCAPE)
        shown.until_shown("is not kept")
        shown.press("x")
        shown.until_shown("entries")
        shown.press("ctrl+c", "ctrl+c")
        shown.ended()
        shown.let_go()
        sent = shown.sent
    assert faults(sent) == []
    assert not (tmp_path / "crash").exists(), (tmp_path / "crash").read_text()
    # Nothing went wrong that was only written down.
    reports = (tmp_path / "state").rglob("crash-*")
    assert [report.read_text() for report in reports] == []
    # Each part cleans its own text, or its columns would not align.
    assert not (tmp_path / "unclean").exists(), (tmp_path / "unclean").read_text()


def test_the_check_itself_finds_what_acts() -> None:
    clean = "\x1b[1;1H\x1b[38;2;1;2;3mtext\x1b[0m\x1b]2;sekft\x07"
    assert faults(clean.encode()) == []
    for text in TEXTS:
        if any(not letter.isprintable() for letter in text):
            assert faults((clean + text).encode()), text
    assert faults(ALL.encode())
    assert markup_faults("an evil click")


async def test_a_path_that_no_system_takes_is_refused_in_the_prompt_and_in_forms(
    make_app: Callable[[], Workbench],
) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await pilot.press("6")
        for typed in ("~nobody-of-this-name/x.txt", "y" * 300 + ".txt"):
            await pilot.press("E", "ctrl+u")
            pilot.app.post_message(Paste(typed))
            await pilot.press("enter")
            await until(pilot, lambda: pilot.app.screen.query("PromptLine.-open"), "still open")
            await pilot.press("escape")
        await pilot.press("2", "G", "k", "k", "k", "k", "k", "enter")
        pilot.app.post_message(Paste("z" * 5000))
        await pilot.press("enter")
        await until_shown(pilot, "✗ File name too long")


@pytest.mark.parametrize("size", [(30, 4), (30, 3), (80, 5)])
async def test_a_palette_without_room_for_its_list_can_be_paged_through(
    make_app: Callable[[], Workbench], size: tuple[int, int]
) -> None:
    async with make_app().run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.press(
            "ctrl+p", "pageup", "pagedown", *"qu", "pageup", "pagedown", "home", "end"
        )
        await pilot.resize_terminal(80, 24)
        await until_shown(pilot, "🔎")
        await pilot.press("pageup", "escape")
        await until_gone(pilot, "🔎")


async def test_a_palette_without_a_match_can_be_paged_through(
    make_app: Callable[[], Workbench],
) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+p", *"zzzzzz")
        await until_shown(pilot, "No matches found")
        await pilot.press("pageup", "pagedown", "home", "end", "enter")
        await pilot.press("escape")
        await until_gone(pilot, "🔎")
