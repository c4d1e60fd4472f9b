"""An answer's text comes in whole characters, and never with a part of a stop string."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekft_engine.serve.text import TextStream


def decode(ids: Sequence[int]) -> str:
    """A vocabulary of bytes."""
    return bytes(ids).decode(errors="replace")


@given(st.text(), st.lists(st.integers(1, 5)))
def test_pieces_are_the_text_and_have_no_broken_characters(text: str, sizes: list[int]) -> None:
    stream, ids, pieces = TextStream(decode), list(text.encode()), []
    for size in [*sizes, *[1] * len(ids)]:
        pieces.append(stream.push(ids[:size]))
        del ids[:size]
    assert "\ufffd" not in "".join(pieces) or "\ufffd" in text
    assert "".join(pieces) + stream.finish() == text


@given(st.text("ab\n", max_size=30), st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3))
def test_the_text_ends_before_the_first_stop_string(text: str, stops: list[str]) -> None:
    stream, given_out = TextStream(decode, stops), ""
    for token in text.encode():
        given_out += stream.push([token])
        assert not any(stop in given_out for stop in stops)
        if stream.stopped is not None:
            break
    given_out += stream.finish()
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    if ends:
        # The answer stops as soon as one is complete, and is cut before it.
        seen = text[: min(ends)]
        assert stream.stopped in stops
        assert given_out == seen[: min(seen.find(s) for s in stops if s in seen)]
    else:
        assert given_out == text


def test_what_may_begin_a_stop_string_is_held_back() -> None:
    stream = TextStream(decode, ["END"])
    assert stream.push(b"xE") == "x"
    assert stream.push(b"N") == ""
    assert stream.push(b"x") == "ENx"
    assert stream.push(b"EN") == ""
    assert stream.push(b"Dy") == ""
    assert stream.stopped == "END"


@pytest.mark.parametrize("broken", [b"\xff", b"a\xf0\x9f", b"\xe2\x82"])
def test_bytes_that_are_no_character_come_at_the_end(broken: bytes) -> None:
    stream = TextStream(decode)
    assert "\ufffd" not in stream.push(broken)
    assert stream.finish().endswith("\ufffd")
