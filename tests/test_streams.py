"""Output to a terminal or a pipe that cannot show every character."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekft_engine.cli.main import run as sekft
from sekft_engine.core.streams import forgive_streams
from tests.training.sessions import write_sessions


@contextlib.contextmanager
def ascii_output() -> Iterator[io.BytesIO]:
    """Standard output that takes ASCII alone, as under ``PYTHONIOENCODING=ascii``."""
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii", write_through=True)
    with contextlib.redirect_stdout(stream):
        yield written
    stream.detach()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("loss 2 → 1 … 3 · 4 × 5", "loss 2 -> 1 ... 3 . 4 x 5"),
        ("⟦trained⟧ ⟪not⟫ ‹control›", "[[trained]] <<not>> <control>"),
        ("│─┼ ▇⠿ ▸ ●", "|-+ ## > *"),
        ("␛␡␣⏎", "^[^?_\\n"),
        ("café ﬁve", "cafe five"),
        ("日本", "??"),
        ("\udcff", "<dcff>"),
    ],
)
def test_what_a_stream_cannot_show_is_replaced_by_what_is_like_it(text: str, shown: str) -> None:
    with ascii_output() as written:
        forgive_streams()
        sys.stdout.write(text)
    assert written.getvalue().decode("ascii") == shown


def test_a_mask_can_be_read_where_only_ascii_is_shown(tiny_base: Path, tmp_path: Path) -> None:
    data = write_sessions(tmp_path, 1)
    with ascii_output() as written:
        assert sekft(["mask", "--data", str(data), "--base", str(tiny_base)]) == 0
    shown = written.getvalue().decode("ascii")
    assert "[[trained]]" in shown
    assert "<control token>" in shown
    assert "?" not in shown
