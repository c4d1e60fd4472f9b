"""A cache of rows on disk.

The key of a row is a digest of all that it is made of: the contents of the normalised turns, the
render digest (tokenizer, template, normaliser), what the template writes around such turns today,
and the version of the packing. If any of them changes, the row is built anew. The limit of length
is not part of the key; it is applied to what is found.

Reading a row takes about a tenth of the time that building it does, and gives the same row bit by
bit, checksums being what guards against damage (see :mod:`~sekft_engine.render.bulk.row_files`).
If the folder cannot be read or written, rows are built without a cache.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from sekft_engine.core.paths import cache_folder
from sekft_engine.data.dropped import Dropped
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.render.bulk.lengths import without_far_too_long
from sekft_engine.render.bulk.pack import (
    PACK_VERSION,
    NormalisedSession,
    digest_of,
    pack,
    unpack,
    unpack_size,
)
from sekft_engine.render.bulk.row_files import RowFiles
from sekft_engine.render.bulk.rows import Builder, build_rows
from sekft_engine.render.rows.explain import too_long
from sekft_engine.render.rows.finish import limited
from sekft_engine.render.rows.row import Row, RowSize
from sekft_engine.render.template.layout import SpanLayout
from sekft_engine.render.template.normalise import Refused, normalize_for_template
from sekft_engine.render.template.tokenizer import ChatTokenizer

#: Bytes that all cached rows may take up together.
LIMIT = 2 << 30
#: So many trajectories are looked up at once; fewer at first, so that the first row comes soon.
_FIRST_WINDOW, _WINDOW = 16, 2048


def rows_folder() -> Path | None:
    """The default folder of cached rows: beside the bases, or the one that ``SEKFT_ROWS`` names;
    None if that is ``off``."""
    named = os.environ.get("SEKFT_ROWS", "")
    if named:
        return None if named == "off" else Path(named).expanduser()
    return cache_folder() / "rows"


def cached_rows(
    trajectories: Iterable[Trajectory],
    tokenizer: ChatTokenizer,
    *,
    max_length: int = 0,
    folder: Path | None = None,
    processes: int | None = None,
    limit: int = LIMIT,
) -> Iterator[Row | Dropped]:
    """:func:`~sekft_engine.render.build_rows` with a cache: in order, lazily, the same rows.

    Args:
        trajectories: sessions.
        tokenizer: the base's.
        max_length: the most tokens a row may have; 0 = any number.
        folder: where rows are cached; None = :func:`rows_folder`.
        processes: as for :func:`~sekft_engine.render.build_rows`.
        limit: bytes that all cached rows may take up.
    """
    folder = folder or rows_folder()

    def build(some: Iterable[Trajectory]) -> Iterator[Row | Dropped]:
        if folder is None:
            yield from build_rows(some, tokenizer, max_length=max_length, processes=processes)
            return
        cache = _Cache(tokenizer, folder, limit)
        for built in cache.each(some, processes, cache.unpack, lambda row: row):
            yield limited(built, max_length)

    return without_far_too_long(trajectories, tokenizer, max_length, build)


def cached_sizes(
    trajectories: Iterable[Trajectory],
    tokenizer: ChatTokenizer,
    *,
    max_length: int = 0,
    folder: Path | None = None,
) -> Iterator[RowSize | Dropped]:
    """As :func:`cached_rows`, only the sizes of the rows: of a cached row nothing else is read."""
    folder = folder or rows_folder()

    def build(some: Iterable[Trajectory]) -> Iterator[RowSize | Dropped]:
        if folder is None:
            for row in build_rows(some, tokenizer):
                yield row if isinstance(row, Dropped) else RowSize.of(row)
            return
        yield from _Cache(tokenizer, folder, LIMIT).each(some, None, unpack_size, RowSize.of)

    for size in without_far_too_long(trajectories, tokenizer, max_length, build):
        if isinstance(size, RowSize) and max_length and size.tokens > max_length:
            yield Dropped(size.id, *too_long(size.tokens, max_length))
        else:
            yield size


#: What is made of a packed row.
Made = TypeVar("Made", Row, RowSize)
_Read = Callable[[bytes, NormalisedSession, SpanLayout], Made | Dropped]


class _Cache:
    def __init__(self, tokenizer: ChatTokenizer, folder: Path, limit: int) -> None:
        self._tokenizer = tokenizer
        self._digest = tokenizer.render_digest
        self._files = RowFiles(folder / f"{self._digest}-{PACK_VERSION}", limit)
        self._hashers: dict[bytes, hashlib.blake2b] = {}

    def each(
        self,
        trajectories: Iterable[Trajectory],
        processes: int | None,
        read: _Read[Made],
        made: Callable[[Row], Made],
    ) -> Iterator[Made | Dropped]:
        """What ``read`` makes of the packed row of each, in order and lazily; of a row that is not
        cached, and is then, what ``made`` makes of it."""
        with Builder(self._tokenizer, processes) as builder:
            try:
                source = iter(trajectories)
                size = _FIRST_WINDOW
                while window := list(islice(source, size)):
                    yield from self._window(window, builder, read, made)
                    size = min(2 * size, _WINDOW)
            finally:
                self._files.close()

    def _window(
        self,
        trajectories: Sequence[Trajectory],
        builder: Builder,
        read: _Read[Made],
        made: Callable[[Row], Made],
    ) -> Iterator[Made | Dropped]:
        sources = [self._source(trajectory) for trajectory in trajectories]
        keys = [self._key(*source) for source in sources if source is not None]
        found = iter(self._files.read(keys))
        cached = [
            None if source is None else _unpacked(read, next(found), *source) for source in sources
        ]
        missing = [
            trajectory for trajectory, row in zip(trajectories, cached, strict=True) if row is None
        ]
        built = builder.rows(missing)
        next_key = iter(keys)
        for source, kept in zip(sources, cached, strict=True):
            key = next(next_key) if source is not None else None
            if kept is not None:
                yield kept
                continue
            row = next(built)
            if key is not None:
                self._add(key, row)
            yield row if isinstance(row, Dropped) else made(row)

    def unpack(self, data: bytes, source: NormalisedSession, layout: SpanLayout) -> Row | Dropped:
        """The packed row."""
        return unpack(data, source, layout, self._digest)

    def _source(self, trajectory: Trajectory) -> tuple[NormalisedSession, SpanLayout] | None:
        """What a packed row is completed with; None for what is refused before it is tokenised."""
        try:
            turns = normalize_for_template(trajectory.turns)
            layout = self._tokenizer.layouts.get(len(turns), self._tokenizer.guard)
            contents = [turn.content for turn in turns]
            "".join(contents).encode()
        except (Refused, UnicodeEncodeError):
            return None
        return NormalisedSession(trajectory, turns, contents), layout

    def _key(self, source: NormalisedSession, layout: SpanLayout) -> bytes:
        start = self._hashers.get(layout.digest)
        if start is None:
            made_of = (self._digest.encode(), layout.digest, b"%d" % PACK_VERSION)
            start = hashlib.blake2b(digest_of(made_of), digest_size=16)
            self._hashers[layout.digest] = start
        hasher = start.copy()
        hasher.update(digest_of([content.encode() for content in source.contents]))
        return hasher.digest()

    def _add(self, key: bytes, built: Row | Dropped) -> None:
        data = pack(built)
        if data is not None:
            self._files.add(key, data)


def _unpacked(
    read: _Read[Made], data: bytes | None, source: NormalisedSession, layout: SpanLayout
) -> Made | Dropped | None:
    if data is None:
        return None
    try:
        return read(data, source, layout)
    except ValueError:
        return None
