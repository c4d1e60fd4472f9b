"""The token view shows every token once, and never takes trained for masked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from sekft_tui.widgets.token_doc import (
    GUTTER,
    LINE_END,
    Token,
    TokenDoc,
    boundaries,
    highlight,
)

DOC = TokenDoc(
    [
        Token("<|im_start|>", False, True, 0),
        Token("Hi\nthere", False, False, 0),
        Token("<|im_end|>", False, True, 0),
        Token("ls", True, False, 1),
        Token(" -l", True, False, 1),
        Token("<|im_end|>", True, True, 1),
        Token("total 0", False, False, 2),
    ],
    ["", "exit 0", ""],
)


def texts(doc: TokenDoc, width: int = 40, mode: str = "all") -> list[str]:
    return [
        f"#{line.turn}" if line.head else "".join(piece.text for piece in line.pieces)
        for line in doc.layout(width, mode)  # type: ignore[arg-type]
    ]


def test_a_trajectory_is_laid_out_turn_by_turn() -> None:
    assert texts(DOC) == [
        "#0",
        f"<|im_start|>Hi{LINE_END}",
        "there<|im_end|>",
        "#1",
        "ls -l<|im_end|>",
        "#2",
        "total 0",
    ]


def test_trained_only_and_masked_only_part_the_tokens() -> None:
    assert texts(DOC, mode="trained") == ["#1", "ls -l<|im_end|>"]
    assert "ls -l" not in "".join(texts(DOC, mode="masked"))
    assert DOC.trained == 3
    assert [(turn.command, turn.trained, turn.note) for turn in DOC.turns] == [
        (False, 0, ""),
        (True, 3, "exit 0"),
        (False, 0, ""),
    ]


def test_boundaries_are_where_training_begins_and_ends() -> None:
    lines = DOC.layout(40)
    assert [texts(DOC)[row] for row in boundaries(lines, DOC.tokens)] == [
        "ls -l<|im_end|>",
        "total 0",
    ]


TOKENS = st.lists(
    st.tuples(st.text(alphabet="ab \n\t日é\x1b\u202e", max_size=9), st.booleans(), st.booleans()),
    max_size=40,
)


@given(TOKENS, st.integers(8, 60), st.sampled_from(["all", "trained", "masked"]))
def test_no_line_is_too_wide_and_no_token_is_lost(
    raw: list[tuple[str, bool, bool]], width: int, mode: str
) -> None:
    doc = TokenDoc([Token(t, trained, special, 0) for t, trained, special in raw])
    lines = doc.layout(width, mode)  # type: ignore[arg-type]
    seen: dict[int, str] = {}
    for line in lines:
        if line.head:
            continue
        body = "".join(piece.text for piece in line.pieces)
        assert cell_len(body.rstrip(LINE_END)) <= width - GUTTER
        assert line.trained == any(doc.tokens[piece.token].trained for piece in line.pieces)
        for piece in line.pieces:
            seen[piece.token] = seen.get(piece.token, "") + piece.text
    for index, token in enumerate(doc.tokens):
        wanted = mode == "all" or token.trained == (mode == "trained")
        assert (index in seen) == (wanted and bool(token.text))
        if index in seen:
            assert seen[index].count(LINE_END) == token.text.count("\n")


def test_matches_are_lit_wherever_they_fall() -> None:
    parts = (("gre", "trained"), ("p Blue", "masked"), (" x", ""))
    assert highlight(parts, "p b") == (
        ("gre", "trained"),
        ("p B", "match"),
        ("lue", "masked"),
        (" x", ""),
    )
    assert highlight(parts, "ep") == (
        ("gr", "trained"),
        ("e", "match"),
        ("p", "match"),
        (" Blue", "masked"),
        (" x", ""),
    )
    assert highlight(parts, "nope") == parts
