"""Reports over rows: what ``sekft mask`` and ``sekft train --inspect`` say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import numpy as np

from sekft_engine.render.cache import cached_rows
from sekft_engine.render.row import Row
from sekft_engine.render.tokenizer import ChatTokenizer
from sekft_engine.sources.dropped import Dropped
from sekft_engine.sources.trajectories import Loaded


class Lengths(msgspec.Struct, frozen=True, kw_only=True):
    """Lengths of the kept rows in tokens; all 0 when there is none."""

    min: int = 0
    median: int = 0
    p95: int = 0
    max: int = 0


class Inspect(msgspec.Struct, frozen=True, kw_only=True):
    """What a fine-tune on some trajectories would see; counts of kept rows by archetype."""

    trajectories: int
    kept: int
    dropped: dict[str, int]
    tokens: int
    trained_tokens: int
    length: Lengths
    by_archetype: dict[str, int]

    @property
    def trained_share(self) -> float:
        return self.trained_tokens / self.tokens if self.tokens else 0.0

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = msgspec.to_builtins(self)
        return out


def inspect_report(loaded: Loaded, tokenizer: ChatTokenizer, *, max_length: int = 0) -> Inspect:
    """Render and certify everything that was read, and count."""
    rows = cached_rows(loaded.trajectories, tokenizer, max_length=max_length)
    return inspect_rows(rows, loaded.skipped)


def inspect_rows(rows: Iterable[Row | Dropped], skipped: Iterable[Dropped] = ()) -> Inspect:
    """Count rows that were built already; ``skipped`` are those that the reader left out."""
    dropped = Counter(item.reason for item in skipped)
    archetypes: Counter[str] = Counter()
    lengths: list[int] = []
    trained = 0
    for row in rows:
        if isinstance(row, Dropped):
            dropped[row.reason] += 1
            continue
        lengths.append(len(row))
        trained += row.trained_tokens
        archetypes[row.archetype] += 1
    return Inspect(
        trajectories=len(lengths) + dropped.total(),
        kept=len(lengths),
        dropped=dict(sorted(dropped.items())),
        tokens=sum(lengths),
        trained_tokens=trained,
        length=_lengths(lengths),
        by_archetype=dict(sorted(archetypes.items())),
    )


def _lengths(lengths: list[int]) -> Lengths:
    if not lengths:
        return Lengths()
    # A length that occurs, not one between two that do.
    median, p95 = np.percentile(lengths, [50, 95], method="inverted_cdf")
    return Lengths(min=min(lengths), median=int(median), p95=int(p95), max=max(lengths))


def mask_report(
    rows: Iterable[Row | Dropped], skipped: Iterable[Dropped] = ()
) -> dict[str, list[dict[str, Any]]]:
    """The document of ``sekft mask --json``."""
    kept: list[dict[str, Any]] = []
    dropped = [msgspec.to_builtins(item) for item in skipped]
    for row in rows:
        if isinstance(row, Dropped):
            dropped.append(msgspec.to_builtins(row))
        else:
            kept.append(row_report(row))
    return {"trajectories": kept, "dropped": dropped}


def mask_document(
    rows: Iterable[Row | Dropped], skipped: Iterable[Dropped] = ()
) -> Iterator[bytes]:
    """:func:`mask_report` as JSON in pieces, so that any amount of data passes in little memory."""
    encode = msgspec.json.encode
    dropped = list(skipped)
    glue = b'{"trajectories":['
    for row in rows:
        if isinstance(row, Dropped):
            dropped.append(row)
        else:
            yield glue + encode(row_report(row))
            glue = b","
    if glue != b",":
        yield glue
    yield b'],"dropped":' + encode(dropped) + b"}\n"


def row_report(row: Row) -> dict[str, Any]:
    """One trajectory of ``sekft mask --json``."""
    return {
        "id": row.id,
        "archetype": row.archetype,
        "ids": row.ids.tolist(),
        "labels": row.labels.tolist(),
        "spans": [[span.start, span.end] for span in row.spans],
        "certificate": row.certificate.to_json(),
        "render": row.render_digest,
    }
