"""The token view in an app: one moves, searches and copies, and keeps one's place."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Turn
from sekft_engine.maskview.document import Document
from sekft_engine.maskview.layout import View
from sekft_tui.widgets.token_view import TokenView
from tests.tui.screen import screen_text, until_shown
from tests.tui.terminal import terminal
from tests.tui.widgets.token_app import TokenApp, document, long_document


def view_of(pilot: Pilot[int]) -> TokenView:
    return pilot.app.query_one(TokenView)


def top_line(pilot: Pilot[int]) -> str:
    return screen_text(pilot.app).splitlines()[0]


async def test_every_view_comes_round_on_one_key_and_says_which_it_is() -> None:
    async with TokenApp(document(losses=True)).run_test(size=(100, 40)) as pilot:
        view = view_of(pilot)
        seen: list[View] = [view.view_name]
        signs = {
            "edges": "token edges 2/7",
            "ids": "1008 1009 1010",
            "marks": "⟦END OF TURN <|im_end|>⟧",
            "labels": "= -100, masked",
            "loss": "▃ ▇▇!",
            "certificate": "Not rendered, so nothing is certified",
        }
        for sign in signs.values():
            seen.append(view.next_view())
            await until_shown(pilot, sign)
        assert seen == ["context", *signs]
        assert view.next_view() == "context"
        assert view.next_view(-1) == "certificate"


async def test_a_view_that_a_document_lacks_gives_way_and_comes_back() -> None:
    plain = Document.from_turns("x", [Turn(role="user", content="hello")])
    async with TokenApp(document(losses=True)).run_test() as pilot:
        view = view_of(pilot)
        view.set_view("loss")
        view.show(plain)
        assert view.view_name == "context"
        await until_shown(pilot, "hello", "not rendered")
        view.show(document(losses=True))
        assert view.next_view(0) == "loss"


async def test_one_steps_by_turn_span_boundary_and_token() -> None:
    async with TokenApp(document()).run_test(size=(80, 24)) as pilot:
        view = view_of(pilot)
        view.step_turn(1)
        assert (view.turn, view.token) == (1, 7)
        view.step_token(1)
        view.step_token(1)
        await until_shown(pilot, "‘ls’ │ id 1008 │ label 1008 │ token 9 of 18")
        view.step_token(1)
        assert view.token == 9
        assert view.step_trained(1)
        assert view.token == 16
        assert not view.step_trained(1)
        assert view.step_trained(-1)
        assert view.token == 8
        assert view.step_boundary(1)
        assert view.token == 16
        view.step_turn(-1)
        assert view.turn == 2
        view.toggle_mark()
        view.to_turn(0)
        assert view.step_marked(1)
        assert view.turn == 2
        assert not view.step_marked(1)
        await pilot.press("G")
        assert view.turn == 3
        await pilot.press("g")
        assert view.token == 0
        assert not view.step_token(-1) or view.token == 0


async def test_only_trained_and_only_masked_show_only_those() -> None:
    async with TokenApp(document()).run_test(size=(80, 24)) as pilot:
        view = view_of(pilot)
        assert view.next_mode() == "trained"
        shown = await until_shown(pilot, "trained only")
        assert "ls -l notes" in shown
        assert "total 0" not in shown
        view.to_turn(1)
        for _ in range(6):
            view.step_token(1)
        assert view.token == 17
        assert view.next_mode() == "masked"
        shown = await until_shown(pilot, "masked only")
        assert "ls -l notes" not in shown
        assert "total 0" in shown
        view.show(Document.from_turns("x", [Turn(role="user", content="hello")]))
        view.mode = "all"
        view.next_mode()
        await until_shown(pilot, "no token here is trained")


async def test_search_goes_from_match_to_match_across_tokens_and_says_which() -> None:
    async with TokenApp(document()).run_test(size=(80, 24)) as pilot:
        view = view_of(pilot)
        assert view.doc is not None
        count = view.doc.text.lower().count("e")
        assert view.find("E") == count
        assert (view.found, view.token) == (f"1 of {count}", 1)
        assert view.find_next(1)
        assert view.found == f"2 of {count}"
        assert view.find("s -L n") == 1
        assert view.token == 8
        await pilot.pause()
        row = next(n for n, t in enumerate(screen_text(pilot.app).splitlines()) if "ls -l" in t)
        strip = pilot.app.screen._compositor.render_strips()[row]
        lit = [part.text for part in strip if part.style and part.style.reverse]
        assert "s -l n" in lit
        assert not view.find_next(1)
        assert view.find("nowhere") == 0
        assert view.found == "not here"
        assert view.find("total", last=True) == 1
        assert view.next_mode() == "trained"
        assert view.find("total") == 1
        assert "all tokens" in await until_shown(pilot, "total 0")  # what hides it is put away
        assert view.token == 13
        view.find("")
        assert view.found == ""


@pytest.mark.parametrize("name", ["context", "ids"])
async def test_a_new_width_keeps_the_token_at_the_top(name: View) -> None:
    async with TokenApp(long_document(20_000)).run_test(size=(120, 30)) as pilot:
        view = view_of(pilot)
        view.set_view(name)
        view.find("session")
        for _ in range(700):
            view.find_next(1)
        await pilot.pause()
        layout = view._layout
        assert layout is not None
        top = layout.token_of(layout.at_row(round(view.scroll_y))[0])
        cursor = view.token
        for width in (60, 33, 90, 120):
            await pilot.resize_terminal(width, 30)
            await pilot.pause()
            now = view._layout
            assert now is not None
            assert now is not layout
            line = now.at_row(round(view.scroll_y))[0]
            shown = {piece.token for piece in now.line(line).pieces}
            in_view = top in shown or now.is_head(line)
            row = now.row_of(now.line_of(cursor)) - round(view.scroll_y)
            assert view.token == cursor
            assert 0 <= row < 27
            assert in_view or row >= 24  # else the cursor would be out of view
        assert now is not None
        assert now.token_of(now.at_row(round(view.scroll_y))[0]) == top


async def test_scrolled_by_hand_a_new_width_keeps_the_top_though_the_cursor_is_elsewhere() -> None:
    async with TokenApp(long_document(20_000)).run_test(size=(120, 30)) as pilot:
        view = view_of(pilot)
        view.scroll_to(y=1_000, animate=False, force=True)
        await pilot.pause()
        layout = view._layout
        assert layout is not None
        top = layout.token_of(layout.at_row(1_000)[0])
        for width in (40, 77, 120):
            await pilot.resize_terminal(width, 30)
            await pilot.pause()
        now = view._layout
        assert now is not None
        assert now.token_of(now.at_row(round(view.scroll_y))[0]) == top
        assert view.token == 0


async def test_a_million_tokens_open_and_scroll_with_no_more_lines_made_than_are_seen() -> None:
    async with TokenApp(long_document(1_000_000)).run_test(size=(160, 48)) as pilot:
        view = view_of(pilot)
        await until_shown(pilot, "1 environment", "0% down")
        layout = view._layout
        assert layout is not None
        assert layout.made < 200
        await pilot.press("G")
        await until_shown(pilot, "token 999,994 of 1,000,000", "100% down")
        for _ in range(5):
            await pilot.press("ctrl+u")
        await pilot.pause()
        assert layout.made < 1_500
        assert len(view._strips) <= 600


async def test_what_is_copied_is_exactly_what_was_said() -> None:
    long = "echo " + "x" * 300
    turns = ("$ \x1b[1m", long, "done\t\n\n", "exit")
    doc = document(
        [(text, n % 2 == 1, False, n) for n, text in enumerate(turns)], turns, losses=False
    )
    async with TokenApp(doc).run_test(size=(60, 24)) as pilot:
        view = view_of(pilot)
        for number, text in enumerate(turns):
            view.to_turn(number)
            assert view.span_text().text == view.plain() == text
        assert view.span_text().what == "command 4"
        assert view.whole() == "".join(turns)
        view.set_view("certificate")
        assert "nothing is certified" in view.plain()


async def test_the_rest_of_a_trajectory_joins_on_without_losing_the_place() -> None:
    async with TokenApp(long_document(1_000)).run_test(size=(100, 30)) as pilot:
        view = view_of(pilot)
        view.find("session")
        for _ in range(40):
            view.find_next(1)
        await pilot.pause()
        before = (view.token, round(view.scroll_y), view.found)
        view.show(long_document(5_000), keep=True)
        await pilot.pause()
        assert (view.token, round(view.scroll_y)) == before[:2]
        assert view.found == "41 of 500"


async def test_a_click_takes_the_token_under_it() -> None:
    async with TokenApp(document()).run_test(size=(80, 24)) as pilot:
        shown = screen_text(pilot.app).splitlines()
        row = next(n for n, line in enumerate(shown) if "ls -l notes" in line)
        await pilot.click(TokenView, offset=(shown[row].index("notes"), row))
        await until_shown(pilot, "‘·notes’ │ id 1010")


async def test_the_view_is_written_as_it_is(tmp_path: Path) -> None:
    async with TokenApp(document()).run_test() as pilot:
        view = view_of(pilot)
        view.set_view("ids")
        view.exporter()(tmp_path / "x.html")
        assert "1008" in (tmp_path / "x.html").read_text()
        view.show(None, "nothing")
        with pytest.raises(BadInput, match="nothing is shown"):
            view.exporter()


def test_without_colour_weight_gutter_and_lines_keep_the_meaning(tmp_path: Path) -> None:
    """On a real terminal with NO_COLOR, as a terminal's own screen has it."""
    code = "from tests.tui.widgets.token_app import main; main()"
    with terminal(cwd=tmp_path, environ={"NO_COLOR": "1"}, code=code) as shown:
        text = shown.until_shown("▌ <|im_start|>ls -l notes<|im_end|>", "total 0")
        lines = text.splitlines()
        row = next(n for n, line in enumerate(lines) if "ls -l notes" in line)
        cells = shown._screen.buffer[row]
        trained = [cells[lines[row].index("ls -l") + n] for n in range(5)]
        assert all(cell.bold for cell in trained)
        closing = cells[lines[row].index("<|im_end|>")]
        assert closing.reverse
        assert closing.bold
        masked = shown._screen.buffer[next(n for n, t in enumerate(lines) if "total 0" in t)]
        assert not masked[2].bold
        assert masked[0].data == " "
        for line in shown._screen.buffer.values():
            for cell in line.values():
                for colour in (cell.fg, cell.bg):
                    grey = len(colour) == 6 and colour[:2] == colour[2:4] == colour[4:]
                    assert grey or colour in ("default", "black", "white"), colour
