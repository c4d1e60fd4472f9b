"""A session that is far too long is dropped without being rendered, and in its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from sekft_engine.data.trajectory import Trajectory
from sekft_engine.render import Dropped, Row, build_row
from sekft_engine.render.bulk import cache as caching
from sekft_engine.render.bulk.cache import cached_rows, cached_sizes
from sekft_engine.render.bulk.rows import build_rows
from sekft_engine.render.rows.row import RowSize
from tests.render.conftest import Base
from tests.render.sessions import turns

LIMIT = 256


def sized(name: str, words: int) -> Trajectory:
    return Trajectory(id=name, turns=turns("word " * words + "$", "exit"))


SESSIONS = [
    sized("huge", 60_000), sized("a", 3), sized("long", 400), sized("huge too", 90_000),
    sized("b", 5), sized("at the end", 70_000),
]  # fmt: skip


@pytest.mark.parametrize("cached", [True, False])
def test_what_is_far_too_long_is_never_built(
    cached: bool, smol: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def watched(trajectories: Iterable[Trajectory], *rest: object, **more: object) -> Iterator[Row]:
        for trajectory in trajectories:
            seen.append(trajectory.id)
            yield from build_rows([trajectory], smol.ours, max_length=LIMIT)  # type: ignore[misc]

    if not cached:
        monkeypatch.setattr(caching, "build_rows", watched)
        monkeypatch.setenv("SEKFT_ROWS", "off")
    folder = tmp_path if cached else None
    rows = list(cached_rows(SESSIONS, smol.ours, max_length=LIMIT, folder=folder))
    assert [row.id for row in rows] == [each.id for each in SESSIONS]
    alone = [build_row(each, smol.ours, max_length=LIMIT) for each in SESSIONS]
    for row, expected in zip(rows, alone, strict=True):
        assert isinstance(row, Dropped) == isinstance(expected, Dropped)
        if isinstance(row, Dropped) and isinstance(expected, Dropped):
            assert row.reason == expected.reason == "too_long"
    assert cached or seen == ["a", "long", "b"]


@pytest.mark.parametrize("cached", [True, False])
def test_sizes_are_those_of_the_rows(
    cached: bool, smol: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not cached:
        monkeypatch.setenv("SEKFT_ROWS", "off")
    folder = tmp_path if cached else None
    rows = list(cached_rows(SESSIONS, smol.ours, max_length=LIMIT, folder=tmp_path / "rows"))
    expected = [RowSize.of(row) if isinstance(row, Row) else row for row in rows]
    for _ in ("built", "found"):
        sizes = list(cached_sizes(SESSIONS, smol.ours, max_length=LIMIT, folder=folder))
        assert [_reason(size) for size in sizes] == [_reason(size) for size in expected]


def _reason(size: RowSize | Dropped) -> RowSize | str:
    return size.reason if isinstance(size, Dropped) else size


def test_without_a_limit_everything_is_built(smol: Base, tmp_path: Path) -> None:
    rows = list(cached_rows(SESSIONS[:2], smol.ours, folder=tmp_path))
    assert all(isinstance(row, Row) for row in rows)


def test_text_without_tokens_is_not_taken_for_too_long(smol: Base, tmp_path: Path) -> None:
    silent = Trajectory(id="silent", turns=turns("\x16" * 400_000 + "$", "exit"))
    (row,) = cached_rows([silent], smol.ours, max_length=LIMIT, folder=tmp_path)
    assert isinstance(row, Row)
    assert row.lost == 400_000
