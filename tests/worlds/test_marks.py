"""The marks by which the driver knows its shell, read from whatever a terminal says."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from sekft_engine.worlds.shell.marks import Marks
from tests.fuzzing import fuzz

NONCE = "0123456789abcdef"
MARKS = Marks(NONCE)
_mark = NONCE.encode()


def ps1(status: int, cwd: bytes) -> bytes:
    return b"\x01" + _mark + b":%d:" % status + cwd + b"\x02" + _mark + b"\x02"


PS2 = b"\x01" + _mark + b"+\x02"
_pieces = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [b"\x01", b"\x02", _mark, b"\x01" + _mark, b":0:", b"+", b"!", PS2, ps1(0, b"/")]
    ),
)
anything = st.lists(_pieces, max_size=30).map(b"".join)


@fuzz(500)
@given(
    before=st.binary(max_size=40),
    status=st.integers(0, 255),
    cwd=st.binary(max_size=40).map(lambda tail: b"/" + tail),
)
@example(before=b"x\n", status=3, cwd=b"/home/a\x02b")
@example(before=b"\x01", status=0, cwd=b"/\x01\x02\n:0:")
def test_a_prompt_is_read_as_it_was_written(before: bytes, status: int, cwd: bytes) -> None:
    said = before + ps1(status, cwd)
    (found,) = MARKS.prompts(said)
    assert (found.status, found.cwd, found.more) == (status, cwd, False)
    assert (said[: found.start], said[found.end :]) == (before, b"")
    assert MARKS.clean(said) == before


@fuzz(1000)
@given(said=anything)
def test_prompts_are_found_in_order_and_never_overlap(said: bytes) -> None:
    found = list(MARKS.prompts(said))
    edges = [edge for prompt in found for edge in (prompt.start, prompt.end)]
    assert edges == sorted(edges)
    assert (MARKS.last_prompt(said) or None) == (found[-1] if found else None)
    assert len(MARKS.clean(said)) <= len(said)


def test_a_long_hostile_output_is_read_in_one_pass() -> None:
    for said in (ps1(0, b"/")[:20] * 100_000, b"\x02" + _mark + b"\x02") * 2, (PS2 * 100_000, b""):
        data = said[0] + said[1]
        MARKS.last_prompt(data)
        MARKS.clean(data)


def test_a_shell_that_leaves_says_so_with_its_options() -> None:
    left = b"bye\n\x01" + _mark + b".%s\x02"
    assert MARKS.exit_options(left % b"im") == "im"
    assert MARKS.exit_options(left % b"eim") == "eim"
    assert MARKS.exit_options(b"bye\n") is None
    assert MARKS.clean(left % b"im") == b"bye\n"
