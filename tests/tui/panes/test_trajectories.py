"""The mask view at any size, by keyboard: lists, filters, jumps, searches, long trajectories."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from sekft_engine.data import filters
from sekft_engine.data.workspace import Workspace
from sekft_engine.sources.index.search import Search
from sekft_tui.app import Workbench
from sekft_tui.input import clipboard
from sekft_tui.library import reader
from sekft_tui.library.rendering import Rendered, Renderer
from sekft_tui.panes.trajectories import TrajectoriesPane
from sekft_tui.screens.help import filter_lines
from sekft_tui.widgets.line_list import LineList
from tests.tui.conftest import Show, trajectory
from tests.tui.screen import screen_text, until, until_gone, until_shown
from tests.tui.scripted import ScriptedEngine

SMALL, LARGE = (80, 24), (160, 48)
MANY = 100_000


def pane_of(pilot: Pilot[int]) -> TrajectoriesPane:
    return next(iter(pilot.app.query(TrajectoriesPane)))


def at(pilot: Pilot[int]) -> str:
    """The id under the cursor."""
    facts = pane_of(pilot).current
    return facts.id if facts else ""


def broken(number: int, how: str) -> dict[str, Any]:
    """A session that is dropped."""
    row = trajectory(number, how.replace("_", ""))
    if how == "no_command":
        row["turns"] = row["turns"][:1]
    elif how == "too_long":
        row["turns"][2]["content"] = "word and word\n" * 3000
    elif how == "lone_surrogate":
        row["turns"][1]["content"] = "printf '\ud800'"
    return row


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred thousand trajectories in one file."""
    path = tmp_path_factory.mktemp("many") / "many.jsonl"
    line = (
        '{"id":"s-%06d","archetype":"%s","outcome":"%s","keep":%s,"turns":['
        '{"role":"user","content":"box %d\\nuser@box:~$"},{"role":"assistant","content":"exit"}]}\n'
    )
    with path.open("w") as file:
        file.writelines(
            line % (n, ("count", "tidy")[n % 2], "exit", "false" if n % 100 == 0 else "true", n)
            for n in range(MANY)
        )
    return path


@pytest.mark.parametrize("width", [80, 96, 120, 160, 200])
async def test_the_head_of_a_session_says_how_it_ended_at_any_width(show: Show, width: int) -> None:
    row = trajectory(1, "select-and-sort-a-column", "panic")
    row |= {"id": "holdout-select-and-sort-a-column-blocked-0001", "provider": "caretaker"}
    async with show([row]).run_test(size=(width, 40)) as pilot:
        shown = await until_shown(pilot, "1 trajectory", "✓ certified", "turn 1/6")
        (head,) = [line for line in shown.splitlines() if "turn 1/6" in line]
        assert re.search(r"holdout-\S+  panic ✓ ", head)
        # What is shown beside it is shown whole.
        facts = head.partition("panic ✓")[2].partition("✓ certified")[0].strip()
        assert "select-and-sort-a-column · caretaker · motd".startswith(facts)
        assert "…" not in facts


@pytest.mark.parametrize("width", [80, 120])
async def test_the_columns_of_the_statistics_stand_close_to_each_other(
    show: Show, width: int
) -> None:
    rows = [trajectory(n, ("count", "select-a-column")[n % 2]) for n in range(12)]
    async with show(rows).run_test(size=(width, 40)) as pilot:
        await until_shown(pilot, "12 trajectories", "✓ certified")
        await pilot.press("i")
        shown = await until_shown(pilot, "trained share", "select-a-column")
        await until_shown(pilot, " 6 of 6  ━")
        shown = screen_text(pilot.app)
        assert re.search(r"length shortest {2,4}\d+    longest", shown)
        assert "select-a-column    6 of 6  ━━━━━━" in shown
        assert "warden           12 of 12  ━━━━━━" in shown
        bars = [line.index("━") for line in shown.splitlines() if "  ━━" in line]
        assert len(set(bars)) == 1, "all bars begin in the same cell"


async def test_a_hundred_thousand_are_listed_and_one_goes_to_any_at_once(
    show: Show, many: Path
) -> None:
    async with show(many).run_test(size=LARGE) as pilot:
        await until_shown(pilot, "100,000 trajectories · 99,000 kept", "certified")
        pane = pane_of(pilot)
        await pilot.press("G")
        shown = await until_shown(pilot, "s-099999", "box 99999")
        assert "s-000000" not in shown
        await pilot.press("g", "j", "j")
        await until_shown(pilot, "box 2\n")
        assert pane.library is not None
        assert pane.library.renderer.cached_tokens < 1000, "what was passed over is not rendered"
        await pilot.press("f", *"keep:no arch:tidy", "enter")
        await until_shown(pilot, "nothing matches keep:no archetype:tidy")
        await pilot.press("escape", "f", *"keep:no", "enter")
        await until_shown(pilot, "1,000 of 100,000")
        await pilot.press("G")
        await until_shown(pilot, "box 99900")
        await pilot.press("escape")
        await until_shown(pilot, "100,000 trajectories")
        assert at(pilot) == "s-099900", "the cursor stays on its trajectory"


async def test_a_folder_that_grows_is_followed_and_nothing_moves(
    workspace: Workspace, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "WATCH_S", 0.05)
    app = Workbench(engine, workspace)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "12 trajectories · 11 kept", "certified")
        await pilot.press("j", "j", "j", "enter", "l", "l")
        await until_shown(pilot, "count-003", "turn 3/6")
        for number in range(12, 40):
            raw = trajectory(number, "aaa")  # its file's name comes first
            (workspace.trajectories / f"0-{number}.json").write_text(json.dumps(raw))
        await until_shown(pilot, "40 trajectories · 39 kept", "count-003", "turn 3/6")
        assert at(pilot) == "count-003"
        await pilot.press("escape", "G")
        await until_shown(pilot, "aaa-039")


async def test_what_cannot_be_read_and_what_is_noted_is_counted(show: Show) -> None:
    rows = [trajectory(n, "good") for n in range(4)]
    rows[0]["source"] = "web"
    rows[1]["turns"][1]["tool_calls"] = [{"id": "1"}]
    app = show(rows)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 trajectories", "1 dropped", "1 tool calls", "1 noted (i)")
        await pilot.press("i")
        await until_shown(pilot, "1 trajectory: a field that is not used: source")
        await pilot.press("escape")
        await until(pilot, lambda: app.data_report == "1 dropped, 1 tool calls", "for Train")


async def test_dropped_ones_are_gone_to_with_their_reason(show: Show) -> None:
    rows = [trajectory(n, "good") for n in range(40)]
    for number, how in ((7, "no_command"), (20, "too_long"), (33, "lone_surrogate")):
        rows[number] = broken(number, how)
    async with show(rows).run_test(size=SMALL) as pilot:
        await until_shown(pilot, "40 trajectories", "✓ certified")
        await pilot.press("d")
        await until_shown(pilot, "✗ no_command: the session has no command", "✗ dropped")
        assert at(pilot) == "nocommand-007"
        await pilot.press("d")
        await until_shown(pilot, "✗ too_long: ", "the limit is 2,048")
        await pilot.press("d")
        await until_shown(pilot, "✗ lone_surrogate: turn 2", "printf '<d800>'", "turn 2/6")
        await pilot.press("d")
        await until(pilot, lambda: at(pilot) == "nocommand-007", "round to the first")
        await pilot.press("D")
        await until(pilot, lambda: at(pilot) == "lonesurrogate-033", "and back")
        # Of these only one has a certificate, with a line that fails.
        await pilot.press("!")
        await until_shown(pilot, "Dropped: a line of the certificate", "✗ within limit")
        assert at(pilot) == "toolong-020"
        await pilot.press("!")
        await until_shown(pilot, "no other certificate here has a line that fails")
        await until_shown(pilot, "1 too long")


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x48"])
async def test_what_is_over_the_limit_is_nowhere_called_certified(
    show: Show, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with show([trajectory(0, "good"), broken(1, "too_long")]).run_test(size=size) as pilot:
        await until_shown(pilot, "✓ certified")
        await pilot.press("j", "enter", "V")
        shown = await until_shown(pilot, "✗ within limit", "It is longer than the limit", "✗ dropp")
        assert "Certified" not in shown
        assert "✓ within limit" not in shown
        assert re.search(r"[\d,]+ tokens, the limit is 2,048", shown)
        await pilot.press("E", "ctrl+u", *"p.html", "enter")
        await until(pilot, (tmp_path / "p.html").exists, "the page is written")
        page = (tmp_path / "p.html").read_text()
        assert '<td class="bad">✗</td><th>within limit</th>' in page
        await pilot.press("H")
        await until_shown(pilot, "Certified: every line of the certificate holds")


async def test_a_certificate_that_is_none_says_which_line_and_counts_turns_in_one_way(
    show: Show,
) -> None:
    rows = [trajectory(0, "good"), broken(1, "lone_surrogate"), trajectory(2, "unknown")]
    rows[2]["turns"][3]["content"] = "printf '\x16'"
    async with show(rows).run_test(size=LARGE) as pilot:
        await until_shown(pilot, "✓ certified")
        await pilot.press("d", "V")
        shown = await until_shown(pilot, "✗ lone surrogate", "turn 2 holds half of a surrogate")
        assert "In turn 2, line 1" in shown
        assert "turn 1 " not in shown
        await pilot.press("!")
        await until_shown(pilot, "✗ unknown token", "✗ decodes", "command turn 4 holds")
        await until_shown(pilot, "which has no token", "In turn 4, line 1")


async def test_without_anything_dropped_one_is_told(show: Show) -> None:
    async with show([trajectory(n, "good") for n in range(5)]).run_test(size=SMALL) as pilot:
        await until_shown(pilot, "✓ certified")
        await pilot.press("d")
        await until_shown(pilot, "none of these trajectories was dropped")


async def test_filters_on_tokens_and_reasons_fill_in_as_they_are_certified(show: Show) -> None:
    rows = [trajectory(n, "good") for n in range(30)]
    for number in (3, 9, 27):
        rows[number] = broken(number, "too_long")
    async with show(rows).run_test(size=SMALL) as pilot:
        await until_shown(pilot, "30 trajectories")
        await pilot.press("f", *"tokens>2k reason:long", "enter")
        await until_shown(pilot, "3 of 30", "toolong-003", "toolong-027")
        await pilot.press("escape", "f", *"dropped:no id:02", "enter")
        await until_shown(pilot, "10 of 30", "good-020")


async def test_a_wrong_filter_says_so_and_leaves_the_list_alone(show: Show) -> None:
    async with show([trajectory(n, "good") for n in range(5)]).run_test(size=LARGE) as pilot:
        await until_shown(pilot, "5 trajectories", "✓ certified")
        await pilot.press("f", *"outcome:done")
        shown = await until_shown(pilot, "outcome is exit, panic, cap or error, not 'done'")
        assert "5 trajectories" in shown
        await pilot.press("enter")
        await until_shown(pilot, "filter: outcome:done")
        await pilot.press(*(["backspace"] * 4), *"exit", "enter")
        await until_shown(pilot, "5 of 5 trajectories", "f: outcome:exit")


async def test_a_filter_that_is_cancelled_leaves_the_cursor_where_it_was(show: Show) -> None:
    app = show([trajectory(n, "good") for n in range(60)])
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "60 trajectories", "✓ certified")
        rows = app.query_one("#tra-list", LineList)
        await pilot.press(*"j" * 41)
        for cancel in ("escape", "ctrl+c"):
            await pilot.press("f", *"id:good-01")
            await until_shown(pilot, "10 of 60", "good-019")
            assert rows.cursor == 0
            await pilot.press(cancel)
            await until_shown(pilot, "60 trajectories", "good-041  exit")
            await until(pilot, lambda: rows.cursor == 41, "the row from before")


async def test_a_search_goes_through_the_open_one_and_then_through_the_others(show: Show) -> None:
    rows = [trajectory(n, "good") for n in range(30)]
    for number, times in ((4, 3), (21, 2)):
        rows[number]["turns"][4]["content"] = "a needle in it\n" * times + "user@box:~$"
    async with show(rows).run_test(size=LARGE) as pilot:
        await until_shown(pilot, "✓ certified")
        await pilot.press("slash", *"Needle", "enter")
        await until_shown(pilot, "good-004  exit ✓", "Needle: 1 of 3", "2 sessions contain it")
        await pilot.press("n", "n")
        await until_shown(pilot, "Needle: 3 of 3")
        await pilot.press("n")
        await until_shown(pilot, "good-021  exit ✓", "Needle: 1 of 2")
        await pilot.press("N")
        await until_shown(pilot, "good-004  exit ✓", "Needle: 3 of 3")
        await pilot.press("N", "N", "N")
        await until_shown(pilot, "good-021  exit ✓", "Needle: 2 of 2")
        await pilot.press("escape")
        await until_gone(pilot, "Needle:")
        await pilot.press("slash")
        await until_shown(pilot, "search:  ", "⏎ 'Needle' again")
        await pilot.press("enter")
        await until_shown(pilot, "good-021  exit ✓", "Needle: 2 of 2")
        await pilot.press("slash", *"no such thing", "enter")
        await until_shown(pilot, "'no such thing' is in none of these trajectories")
        await pilot.press("slash", *" needle ", "enter")
        await until_shown(pilot, "  needle : 2 of 2")


async def test_a_search_that_takes_long_shows_how_far_it_is_and_is_stopped(
    show: Show, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    advance = Search.advance

    def slowly(self: Search, seconds: float = 0.05) -> bool:
        if self.at > 2000:
            go_on.wait(60)
        return advance(self, 0)

    monkeypatch.setattr(Search, "advance", slowly)
    async with show(many).run_test(size=LARGE) as pilot:
        await until_shown(pilot, "100,000 trajectories", "✓ certified")
        await pilot.press("slash", *"box 99998", "enter")
        await until_shown(pilot, "searched ", "esc stops")
        await pilot.press("j")
        assert at(pilot) == "s-000001", "keys answer meanwhile"
        await pilot.press("n")
        await until_shown(pilot, "esc stops")
        await pilot.press("escape")
        await until_shown(pilot, "› stopped")
        await until_gone(pilot, "esc stops")
        go_on.set()
        await pilot.press("n")
        await until_shown(pilot, "box 99998: 1 of 1")
        assert at(pilot) == "s-099998"


async def test_a_million_tokens_show_their_beginning_before_the_whole_is_there(
    show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = threading.Event()
    render = Renderer._render

    def slowly(self: Renderer, number: int, read: Any) -> Rendered:
        if number == 1:
            whole.wait(60)
        return render(self, number, read)

    monkeypatch.setattr(Renderer, "_render", slowly)
    long = trajectory(1, "long")
    long["turns"][4]["content"] = "total list moved copied saved found user root\n" * 120_000
    rows = [trajectory(0, "short"), long, trajectory(2, "short")]
    async with show(rows).run_test(size=LARGE) as pilot:
        await until_shown(pilot, "short-000  exit ✓", "✓ certified")
        await pilot.press("j")
        shown = await until_shown(pilot, "long-001  exit ✓", "the beginning; the rest is being ren")
        assert "▌ cat notes-1<|im_end|>" in shown
        assert "✓ certified" not in shown
        await pilot.press("enter", "l", "l", "l")
        await until_shown(pilot, "turn 4/6")
        # What is looked at meanwhile does not wait for it.
        await pilot.press("L")
        await until_shown(pilot, "short-002  exit ✓", "✓ certified")
        await pilot.press("H", "l", "l", "l")
        await until_shown(pilot, "long-001  exit ✓", "turn 4/6", "the beginning")
        whole.set()
        shown = await until_shown(pilot, "✗ too_long: ", "✗ dropped", "turn 4/6")
        await pilot.press("l", "l", "l")
        await until_shown(pilot, "turn 6/6", "▌ exit<|im_end|>")
        doc = pane_of(pilot).view.doc
        assert doc is not None
        assert len(doc) > 1_000_000


@pytest.mark.parametrize("known", [filters.TRAJECTORY, filters.EPISODE])
def test_the_help_screen_lists_every_field_of_a_filter(
    known: Mapping[str, filters.FilterField],
) -> None:
    lines = ["".join(text for text, _ in parts) for parts in filter_lines(known, 71)]
    words = " ".join(" ".join(lines).split())
    for field in known.values():
        assert any(line.startswith(f"  {field.usage}") for line in lines)
        assert " ".join(field.says.split()) in words
    assert max(map(len, lines)) <= 71, "as wide as the box at 80 columns"


async def test_the_figures_of_the_data_set_are_on_a_screen(show: Show) -> None:
    rows = [trajectory(n, ("count", "merge")[n % 2]) for n in range(30)]
    rows[3] = broken(3, "too_long")
    async with show(rows).run_test(size=LARGE) as pilot:
        await until_shown(pilot, "30 trajectories")
        await pilot.press("i")
        await until_shown(
            pilot, "what would be trained on", "too long", "archetypes", "15 of 15", "trained share"
        )
        await until(pilot, lambda: re.search(r"trained on +29 ", screen_text(pilot.app)), "all 30")
        shown = screen_text(pilot.app)
        assert "kept" not in shown.split("archetypes")[1]
        assert "certified ━" not in shown
        await pilot.press("escape")
        await until_gone(pilot, "what would be trained on")
        await until_shown(pilot, "1 dropped  1 too long")


async def test_the_view_is_written_to_a_page_or_a_picture(
    show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with show([trajectory(0, "good")]).run_test(size=LARGE) as pilot:
        await until_shown(pilot, "✓ certified")
        for name in ("p.html", "p.svg"):
            await pilot.press("E")
            await until_shown(pilot, "export to: good-000.html")
            await pilot.press("ctrl+u", *name, "enter")
            await until(pilot, (tmp_path / name).exists, f"{name} is written")
            assert "warden" in (tmp_path / name).read_text()
        await pilot.press("E", "ctrl+u", *"p.doc", "enter")
        await until_shown(pilot, "the ending says what is written: .html .svg .txt")
        await pilot.press("ctrl+u", *"no/p.txt", "enter")
        await until_shown(pilot, "no such folder")
        await pilot.press("ctrl+u", *"p.txt", "enter")
        await until(pilot, (tmp_path / "p.txt").exists, "the text is written")
        assert "warden --help" in (tmp_path / "p.txt").read_text()


async def test_an_export_of_the_view_leaves_a_file_that_is_there_as_it_is(
    show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("KEEP.svg", "good-000.html"):
        (tmp_path / name).write_text("mine")
    async with show([trajectory(0, "good")]).run_test(size=LARGE) as pilot:
        await until_shown(pilot, "✓ certified")
        await pilot.press("E")
        await until_shown(pilot, "export to: good-000-2.html")
        for name, other in (("KEEP.svg", "KEEP-2.svg"), ("good-000.html", "good-000-2.html")):
            await pilot.press("ctrl+u", *name, "enter")
            await until_shown(pilot, f"already there; choose another name, such as {other}")
        await pilot.press("ctrl+u", *"KEEP-2.svg", "enter")
        await until(pilot, (tmp_path / "KEEP-2.svg").exists, "the other file is written")
    for name in ("KEEP.svg", "good-000.html"):
        assert (tmp_path / name).read_text() == "mine"


async def test_what_cannot_be_read_is_told_and_the_workbench_stays(
    workspace: Workspace, engine: ScriptedEngine, tmp_path: Path
) -> None:
    app = Workbench(engine, workspace, data=str(tmp_path / "nothing.jsonl"))
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "no such file or folder")
        await pilot.press("2")
        await until_shown(pilot, "nothing.jsonl")


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x48"])
async def test_copying_takes_the_command_from_the_view_and_all_of_it_from_the_list(
    show: Show, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = show([trajectory(0, "good")])
    sent: list[str] = []

    def requests(text: str) -> str:
        sent.append(text)
        return ""

    monkeypatch.setattr(clipboard, "requests", requests)
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "✓ certified")
        await pilot.press("enter", ")", "y")
        await until_shown(pilot, "command 2: 13 characters sent")
        await pilot.press("escape", "y")
        await until_shown(pilot, "good-000: ")
        assert sent[0] == "warden --help"
        assert sent[1].startswith("<|im_start|>system")
        assert sent[1].rstrip().endswith("exit<|im_end|>")
