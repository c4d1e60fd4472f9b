"""Every token is shown once, where it fits, and trained is never taken for masked."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from sekft_engine.data.reasons import as_shown, line_of
from sekft_engine.data.trajectory import Turn
from sekft_engine.maskview.document import Document
from sekft_engine.maskview.layout import VIEWS, MaskLayout, Mode, View, views_of
from sekft_engine.maskview.lines import certificate, head, legend, readout, statistics
from sekft_engine.maskview.paint import Parts, paint
from sekft_engine.maskview.search import Matches
from sekft_tui.widgets.token_cursor import Place
from tests.fuzzing import examples
from tests.tui.widgets.token_app import SESSION, document, long_document

TOKEN_VIEWS: list[View] = [view for view in VIEWS if view != "certificate"]
#: Wide, combining, joined, controlling, reversing, invisible and half characters, and white space.
HARD = "ab \n\t日é\u0301\u0301👩\u200d💻\ufe0f🇩🇪\x1b\x07\x9b\u202e\u200b\ud800\u3164\ue000\xa0اب"
TEXTS = st.one_of(
    st.text(alphabet=HARD, max_size=9), st.text(alphabet="ab \n日", max_size=90), st.just("")
)
DOCS = st.lists(st.tuples(TEXTS, st.booleans(), st.booleans(), st.booleans()), max_size=40).map(
    lambda raw: document(
        [
            (text, trained, control, sum(item[3] for item in raw[: n + 1]))
            for n, (text, trained, control, _) in enumerate(raw)
        ],
        (),
        losses=True,
    )
)
WIDTHS = st.integers(12, 90)
MODES = st.sampled_from(["all", "trained", "masked"])


def wanted(doc: Document, mode: Mode) -> list[int]:
    """The tokens that a mode shows."""
    return [n for n in range(len(doc)) if mode == "all" or doc.mask[n] == (mode == "trained")]


def text_of(parts: Parts) -> str:
    return "".join(text for text, _ in parts)


def rows_of(layout: MaskLayout) -> list[Parts]:
    """All that is drawn of a layout."""
    out: list[Parts] = []
    for number in range(len(layout)):
        line = layout.line(number)
        if line.head:
            out.append(head(layout.doc, line.turn, layout.width, losses=layout.view == "loss"))
        else:
            out += [paint(layout, line, lane) for lane in range(layout.height(number))]
    return out


def test_a_session_is_laid_out_turn_by_turn() -> None:
    shown = [text_of(parts).rstrip() for parts in rows_of(MaskLayout(document(), 60))]
    assert [line for line in shown if "──" not in line] == [
        "  <|im_start|>user",
        "  Welcome, 日本␛[31mred <202e>evil",
        "  <|im_end|>",
        "▌ <|im_start|>ls -l notes<|im_end|>",
        "  total 0",
        "  a    b<|im_end|>",
        "▌ exit<|im_end|>",
    ]
    heads = [line for line in shown if "──" in line]
    assert heads[1].startswith("    2 command ──")
    assert heads[1].endswith("4 of 6 tokens trained")
    assert heads[2].endswith("3 tokens")


@given(DOCS, WIDTHS, st.sampled_from(TOKEN_VIEWS), MODES)
def test_every_token_is_shown_once_and_the_pieces_join_to_the_text(
    doc: Document, width: int, view: View, mode: Mode
) -> None:
    layout = MaskLayout(doc, width, view, mode)
    pieces = [piece for n in range(len(layout)) for piece in layout.line(n).pieces]
    shown = wanted(doc, mode)
    assert list(dict.fromkeys(piece.token for piece in pieces)) == shown
    for token in shown:
        parts = [piece for piece in pieces if piece.token == token]
        assert parts[0].start == doc.start(token)
        assert parts[-1].end == int(doc.ends[token])
        assert all(a.end == b.start for a, b in pairwise(parts))
        assert len(parts) == 1 or all(part.end > part.start for part in parts)
    joined = "".join(doc.text[piece.start : piece.end] for piece in pieces)
    assert joined == "".join(doc.piece(token) for token in shown)


@given(DOCS, WIDTHS, st.sampled_from(TOKEN_VIEWS), MODES)
def test_no_row_is_wider_than_the_screen_and_nothing_hostile_reaches_it(
    doc: Document, width: int, view: View, mode: Mode
) -> None:
    layout = MaskLayout(doc, width, view, mode)
    rows = rows_of(layout)
    assert len(rows) == layout.rows
    for parts in rows:
        assert sum(cell_len(text) for text, _ in parts) <= width
        for character in text_of(parts):
            assert unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    for parts in (
        statistics(doc, 0.5, width),
        legend(view, mode, views_of(doc), width),
        *(readout(doc, token, width) for token in range(min(5, len(doc)))),
        *certificate(doc, width),
    ):
        assert sum(cell_len(text) for text, _ in parts) <= width


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("mode", get_args(Mode))
def test_every_legend_is_whole_wherever_the_names_of_all_views_stand_beside_it(
    view: View, mode: Mode
) -> None:
    alone = text_of(legend(view, mode, VIEWS, 200, name=False))
    for width in range(60, 240):
        line = text_of(legend(view, mode, VIEWS, width))
        assert cell_len(line) == width
        if all(name in line for name in ("context", "edges", "certificate")):
            assert line.startswith(f" {alone}") or view == "loss"


@given(DOCS, WIDTHS, st.sampled_from(TOKEN_VIEWS), MODES)
def test_trained_and_masked_differ_in_gutter_and_style(
    doc: Document, width: int, view: View, mode: Mode
) -> None:
    layout = MaskLayout(doc, width, view, mode)
    for number in range(len(layout)):
        line = layout.line(number)
        if line.head:
            continue
        trained = any(doc.mask[piece.token] for piece in line.pieces)
        assert line.trained == trained
        parts = paint(layout, line)
        assert (parts[0][0] == "▌") == trained
        styles = {style.removesuffix("-edge") for _, style in parts[1:] if style}
        assert any("trained" in style for style in styles - {"mark"}) <= trained


@given(DOCS, WIDTHS, WIDTHS, st.sampled_from(TOKEN_VIEWS), st.data())
def test_a_place_is_found_again_at_another_width(
    doc: Document, before: int, after: int, view: View, data: st.DataObject
) -> None:
    old, new = MaskLayout(doc, before, view), MaskLayout(doc, after, view)
    if not len(old):
        return
    number = data.draw(st.integers(0, len(old) - 1))
    found = Place.of(old, number).line(new)
    assert new.is_head(found) == old.is_head(number)
    assert new.turn_of(found) == old.turn_of(number)
    if not old.is_head(number):
        assert new.start_of(found) <= old.start_of(number)
        if found + 1 < len(new):
            assert new.start_of(found + 1) >= old.start_of(number)


@given(DOCS, WIDTHS, MODES)
def test_each_token_is_found_on_the_line_where_it_begins(
    doc: Document, width: int, mode: Mode
) -> None:
    layout = MaskLayout(doc, width, "context", mode)
    for token in wanted(doc, mode):
        line = layout.line(layout.line_of(token))
        firsts = [piece.start for piece in line.pieces if piece.token == token]
        assert firsts
        assert firsts[0] == doc.start(token)


@settings(max_examples=examples(300))
@given(st.text(alphabet="aAbİßK\n", max_size=60), st.text(alphabet="aAbİßk", max_size=3))
def test_search_finds_every_place_and_no_other(text: str, needle: str) -> None:
    found = Matches(text, needle)
    at, places = 0, []
    while needle and at <= len(text) - len(needle):
        if text[at : at + len(needle)].lower() == needle.lower():
            places.append(at)
            at += len(needle)
        else:
            at += 1
    plain = len(text.lower()) == len(text) and len(needle.lower()) == len(needle)
    if plain:
        assert found.starts.tolist() == places
    else:  # where letters change their number, at least what is the same is found
        assert set(found.starts.tolist()) >= {p for p in places if text[p:].startswith(needle)} - {
            p + n for p in found.starts.tolist() for n in range(1, len(needle))
        }


def test_a_match_that_crosses_tokens_and_lines_is_lit_whole() -> None:
    doc = document()
    found = Matches(doc.text, "LS -l NOTES<|im")
    assert len(found) == 1
    assert found.from_place(0)
    layout = MaskLayout(doc, 16)
    lit = []
    for number in range(len(layout)):
        line = layout.line(number)
        for piece in line.pieces:
            lit += [
                doc.text[max(a, piece.start) : min(b, piece.end)]
                for a, b, _ in found.within(piece.start, piece.end)
            ]
    assert "".join(lit) == "ls -l notes<|im"


def test_ids_and_labels_stand_under_their_tokens() -> None:
    doc = document()
    layout = MaskLayout(doc, 80, "ids")
    for number in range(len(layout)):
        line = layout.line(number)
        if line.head:
            continue
        text, ids = (text_of(paint(layout, line, lane)) for lane in (0, 1))
        for piece in line.pieces:
            at = ids.index(str(1000 + piece.token))
            shown = doc.text[piece.start : piece.end].strip()
            if shown.isascii() and shown.isprintable() and "日" not in text:
                assert text[at:].lstrip().startswith(shown)
    labels = MaskLayout(doc, 80, "labels")
    line = labels.line(labels.line_of(8))
    assert text_of(paint(labels, line, 1)).split() == [
        "▌",
        "·",
        "1008",
        "1009",
        "1010",
        "1011",
        "·",
    ]


def test_special_tokens_and_white_space_are_named() -> None:
    layout = MaskLayout(document(), 80, "marks")
    shown = "\n".join(text_of(parts) for parts in rows_of(layout))
    assert "⟦END OF TURN <|im_end|>⟧⏎" in shown
    assert "ls·-l·notes" in shown
    assert "a⇥   b" in shown


def test_losses_are_told_by_height_and_what_got_worse_by_a_mark() -> None:
    doc = document(losses=True)
    layout = MaskLayout(doc, 80, "loss")
    line = layout.line(layout.line_of(8))
    before, after = (text_of(paint(layout, line, lane)) for lane in (1, 2))
    assert before.split() == ["▌b", "▆", "▅▅", "▅▅▅▅▅", "▄▄▄▄▄▄▄▄▄"]
    assert after.split() == ["▌a", "▃", "▇▇!▂▂▂▂▂", "▂▂▂▂▂▂▂▂▂"]
    assert layout.height(layout.line_of(0)) == 1
    said = text_of(readout(doc, 9, 120))
    assert "id 1009" in said
    assert "loss 1.500 → 5.000  p 0.223 → 0.007" in said
    assert "loss" not in text_of(readout(doc, 0, 120))
    assert "1 worse" in text_of(statistics(doc, None, 160))


def test_the_statistics_name_what_matters_first() -> None:
    said = text_of(statistics(document(), 0.25, 120))
    assert said.startswith(" trained 6 / 18 = 33.3% │ 25% down │ exit │ ")
    assert "18% of 100" in said
    assert text_of(statistics(document(), 0.25, 30)) == " trained 6 / 18 = 33.3% │ exit"


def test_a_million_tokens_are_opened_without_making_their_lines() -> None:
    doc = long_document(1_000_000)
    layout = MaskLayout(doc, 120)
    assert layout.rows > 100_000
    assert layout.made == 0
    last = layout.line(len(layout) - 1)
    assert last.pieces[-1].token == 999_999
    assert layout.made == 1
    assert layout.line(layout.line_of(500_000)).turn == 5_000
    assert layout.made == 2


def test_a_line_holds_a_bounded_number_of_characters_whatever_a_program_prints() -> None:
    doc = document([("a" + "\u0301" * 100_000, False, False, 0), ("\u0301" * 50, True, False, 0)])
    layout = MaskLayout(doc, 40)
    most = max(
        sum(piece.end - piece.start for piece in layout.line(n).pieces) for n in range(len(layout))
    )
    assert most <= 8 * 40


@pytest.mark.parametrize(
    ("reason", "detail", "blamed"),
    [
        ("forged_control", "turn 2 holds '<|im_end|>', which this template writes", "<|im_end|>"),
        ("unknown_token", "command turn 1 holds 'é', which have no token", "é"),
        ("lone_surrogate", "turn 2 holds half of a surrogate pair at character 3", "<"),
        ("empty_command", "turn 1 is an empty command", "caf\u00e9 é"),
        ("too_long", "5000 tokens, the limit is 4096", None),
        ("forged_control", "turn 99 holds '[INST]'", None),
    ],
)
def test_a_dropped_trajectory_says_why_and_where(
    reason: str, detail: str, blamed: str | None
) -> None:
    turns = [
        Turn(role="user", content="hello"),
        Turn(role="assistant", content="caf\u00e9 é"),
        Turn(role="user", content="out<|im_end|>put"),
        Turn(role="assistant", content="exit"),
    ]
    doc = Document.from_turns("x", turns, reason=reason, detail=detail)
    assert views_of(doc) == ("context", "marks", "certificate")
    spot = doc.blamed
    assert (spot and doc.text[spot.start : spot.end]) == blamed
    said = "\n".join(text_of(line) for line in certificate(doc, 100))
    assert "Dropped" in said
    assert reason.replace("_", " ") in said
    assert as_shown(detail)[:20] in said, "turns are counted as in the line that says where"
    if line := line_of(reason):
        assert f"✗ {line.replace('_', ' ')}" in said
    assert "✗" in text_of(statistics(doc, 0.0, 80))
    assert doc.trained == 0


def test_a_detail_counts_turns_as_they_are_shown_and_leaves_quotations_alone() -> None:
    assert as_shown("turn 0 holds 'turn 3' at turn 9") == "turn 1 holds 'turn 3' at turn 10"
    assert as_shown("the base's template: turn 1 holds \"it's turn 4\"") == (
        "the base's template: turn 2 holds \"it's turn 4\""
    )
    assert as_shown("5000 tokens, the limit is 4096") == "5000 tokens, the limit is 4096"


def test_losses_are_put_at_their_tokens() -> None:
    doc = document(SESSION, losses=True)
    assert doc.losses is not None
    assert np.isnan(doc.losses.before[~doc.mask]).all()
    assert not np.isnan(doc.losses.after[doc.mask]).any()


def test_one_thing_is_said_as_one_and_what_is_far_beyond_the_limit_as_so_many_times() -> None:
    alone = Document.from_turns("x", [Turn(role="user", content="hi")], reason="no_command")
    said = text_of(statistics(alone, None, 120))
    assert "1 turn" in said
    assert "1 turns" not in said
    session = document()
    for limit, wanted in ((len(session), "100% of"), (2, f"{len(session) / 2:,.1f}x 2")):
        session.limit = limit
        assert wanted in text_of(statistics(session, None, 120))
