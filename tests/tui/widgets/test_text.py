"""Nothing that a model or a shell wrote can move the cursor, reorder or hide text."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from sekft_engine.core.text import acts
from sekft_tui.text import (
    bar,
    clip,
    clip_facts,
    clip_left,
    duration,
    fit,
    memory_text,
    short_number,
    visible,
    visible_lines,
    wrapped,
)


@given(st.text(alphabet=st.characters()))
def test_no_control_or_invisible_character_reaches_the_terminal(text: str) -> None:
    for line in [visible(text), *visible_lines(text)]:
        for letter in line:
            assert unicodedata.category(letter) not in ("Cc", "Cs", "Zl", "Zp"), repr(letter)
            assert letter not in "\u202e\u2066\u200b\u200d\ufeff\u00ad"
            assert not acts(letter)


def test_each_control_character_is_shown_as_its_picture() -> None:
    assert visible("\x1b[31mred\x07\x00\x7f") == "␛[31mred␇␀␡"
    assert visible("a\u202eb\u200bc\x9b") == "a<202e>b<200b>c<9b>"
    assert visible("a\ue0b0b\u3164c\ufe00") == "a<e0b0>b<3164>c<fe00>"
    assert visible("日本 é <|im_end|> [bold]") == "日本 é <|im_end|> [bold]"


def test_lines_know_tabs_and_windows_line_ends() -> None:
    assert visible_lines("a\tb\r\nc\rd") == ["a       b", "c␍d"]


@given(st.text(alphabet="ab日é ", max_size=30), st.integers(0, 20))
def test_fitting_fills_exactly_the_cells_there_are(text: str, width: int) -> None:
    assert cell_len(fit(text, width)) == width
    assert cell_len(fit(text, width, right=True)) == width
    assert cell_len(clip(text, width)) <= width
    assert cell_len(clip_left(text, width)) <= max(1, width)
    assert cell_len(clip_facts(text, width)) <= width


def test_of_facts_whole_ones_are_shown_and_of_a_long_one_whole_words() -> None:
    facts = "base 2/16  tuned 12/16  clean termination"
    assert clip_facts(facts, 41) == facts
    assert clip_facts(facts, 40) == "base 2/16  tuned 12/16 …"
    assert clip_facts(facts, 23) == "base 2/16 …"
    assert clip_facts("a step cannot fit into memory", 18) == "a step cannot …"
    assert clip_facts("incomprehensible", 8) == "incompr…"


def test_numbers_are_short() -> None:
    assert [short_number(n) for n in (0, 999, 13_200, 4_500_000)] == ["0", "999", "13.2k", "4.5M"]
    assert [duration(s) for s in (0.04, 4.25, 65, 7389)] == ["0.0 s", "4.2 s", "1:05", "2:03:09"]
    assert bar(0.5, 4) == ("━━", "──")
    assert bar(7, 4) == ("━━━━", "")


def test_memory_is_told_in_the_units_in_which_it_is_counted() -> None:
    gib = 2**30
    assert memory_text(int(1.05 * gib), int(23.5 * gib)) == "1.05 of 23.5 GiB"
    assert memory_text(512 * 2**20, 16 * gib) == "512 MiB of 16 GiB"
    assert memory_text(1536 * gib) == "1536 GiB"


def test_a_long_path_is_broken_after_a_slash_and_not_within_a_name() -> None:
    path = "/home/someone/demo/runs/001-train/events.jsonl: read-only"
    assert wrapped(path, 40) == ["/home/someone/demo/runs/001-train/", "events.jsonl: read-only"]
    assert wrapped("a" * 50, 40) == ["a" * 40, "a" * 10]
