"""Rows that are kept on disk between runs.

A kept row is found by what it was made of: the contents of the normalised turns, the render
digest (tokenizer, template, normaliser), what the template writes around such turns today, and
the version of the packing. When any of them changes, it is not found and built anew. The limit of
length is none of them: it is applied to what is found.

Reading a row takes about a tenth of the time that building it does, and gives the same row, bit
by bit, but for numbers that only a check of the whole folder could tell apart (see
:mod:`~sekft_engine.render.row_files`). A folder that cannot be read or written is just no cache.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from sekft_engine.render.finish import limited
from sekft_engine.render.layout import Layout
from sekft_engine.render.normalise import Refused, normalize_for_template
from sekft_engine.render.pack import PACK_VERSION, Source, digest_of, pack, unpack
from sekft_engine.render.row import Row
from sekft_engine.render.row_files import RowFiles
from sekft_engine.render.rows import Builder, build_rows
from sekft_engine.render.tokenizer import ChatTokenizer
from sekft_engine.sources.dropped import Dropped
from sekft_engine.trajectory import Trajectory

#: What all kept rows may take up together, in bytes.
LIMIT = 2 << 30
#: So many trajectories are looked up at once; fewer at first, so that the first row comes soon.
_FIRST, _WINDOW = 16, 2048


def rows_folder() -> Path | None:
    """Where rows are kept unless another folder is named: beside the bases, or in the folder that
    ``SEKFT_ROWS`` names. None where it is ``off``: nowhere."""
    named = os.environ.get("SEKFT_ROWS", "")
    if named:
        return None if named == "off" else Path(named).expanduser()
    from sekft_engine.bases import cache_root

    return cache_root().parent / "rows"


def cached_rows(
    trajectories: Iterable[Trajectory],
    tokenizer: ChatTokenizer,
    *,
    max_length: int = 0,
    folder: Path | None = None,
    processes: int | None = None,
    limit: int = LIMIT,
) -> Iterator[Row | Dropped]:
    """:func:`~sekft_engine.render.build_rows` with a memory: in order, lazily, the same rows.

    Args:
        trajectories: sessions.
        tokenizer: the base's.
        max_length: the most tokens a row may have; 0 = any number.
        folder: where rows are kept; None = :func:`rows_folder`.
        processes: as for :func:`~sekft_engine.render.build_rows`.
        limit: bytes that all kept rows may take up.
    """
    folder = folder or rows_folder()
    if folder is None:
        yield from build_rows(trajectories, tokenizer, max_length=max_length, processes=processes)
        return
    cache = _Cache(tokenizer, folder, limit)
    with Builder(tokenizer, processes) as builder:
        try:
            source = iter(trajectories)
            size = _FIRST
            while window := list(islice(source, size)):
                for built in cache.rows(window, builder):
                    yield limited(built, max_length)
                size = min(2 * size, _WINDOW)
        finally:
            cache.close()


class _Cache:
    def __init__(self, tokenizer: ChatTokenizer, folder: Path, limit: int) -> None:
        self._tokenizer = tokenizer
        self._digest = tokenizer.render_digest
        self._files = RowFiles(folder / f"{self._digest}-{PACK_VERSION}", limit)
        self._hashers: dict[bytes, hashlib.blake2b] = {}
        self.close = self._files.close

    def rows(self, trajectories: Sequence[Trajectory], builder: Builder) -> Iterator[Row | Dropped]:
        """The row of each: found, or built and kept."""
        sources = [self._source(one) for one in trajectories]
        keys = [self._key(*one) for one in sources if one is not None]
        found = iter(self._files.read(keys))
        kept = [None if one is None else self._unpacked(next(found), *one) for one in sources]
        missing = [one for one, row in zip(trajectories, kept, strict=True) if row is None]
        built = builder.rows(missing)
        key = iter(keys)
        for source, row in zip(sources, kept, strict=True):
            own = next(key) if source is not None else None
            if row is None:
                row = next(built)
                if own is not None:
                    self._keep(own, row)
            yield row

    def _source(self, trajectory: Trajectory) -> tuple[Source, Layout] | None:
        """What a kept row is completed with; None for what is refused before it is tokenised."""
        try:
            turns = normalize_for_template(trajectory.turns)
            layout = self._tokenizer.layouts.get(len(turns), self._tokenizer.guard)
            contents = [turn.content for turn in turns]
            "".join(contents).encode()
        except (Refused, UnicodeEncodeError):
            return None
        return Source(trajectory, turns, contents), layout

    def _key(self, source: Source, layout: Layout) -> bytes:
        start = self._hashers.get(layout.digest)
        if start is None:
            made_of = (self._digest.encode(), layout.digest, b"%d" % PACK_VERSION)
            start = hashlib.blake2b(digest_of(made_of), digest_size=16)
            self._hashers[layout.digest] = start
        hasher = start.copy()
        hasher.update(digest_of([content.encode() for content in source.contents]))
        return hasher.digest()

    def _unpacked(self, data: bytes | None, source: Source, layout: Layout) -> Row | Dropped | None:
        if data is None:
            return None
        try:
            return unpack(data, source, layout, self._digest)
        except ValueError:
            return None

    def _keep(self, key: bytes, built: Row | Dropped) -> None:
        data = pack(built)
        if data is not None:
            self._files.add(key, data)
