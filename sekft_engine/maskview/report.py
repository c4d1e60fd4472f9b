"""Reports over rows, for ``sekft mask`` and ``sekft train --inspect``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from sekft_engine.data.dropped import Dropped
from sekft_engine.data.reasons import as_shown, line_of
from sekft_engine.render.bulk.cache import cached_rows
from sekft_engine.render.rows.row import Row
from sekft_engine.render.template.tokenizer import ChatTokenizer
from sekft_engine.sources.index.facts import Facts
from sekft_engine.sources.read.trajectories import Loaded


class Lengths(msgspec.Struct, frozen=True, kw_only=True):
    """Lengths of the certified rows in tokens; all 0 if there is none."""

    min: int = 0
    median: int = 0
    p95: int = 0
    max: int = 0

    @classmethod
    def of(cls, lengths: Sequence[int] | npt.NDArray[np.int32]) -> Lengths:
        if not len(lengths):
            return cls()
        # Lengths that occur, not ones between two that do.
        shares = (0, 50, 95, 100)
        found = np.percentile(lengths, shares, method="inverted_cdf")
        return cls(**dict(zip(cls.__struct_fields__, map(int, found), strict=True)))


class Inspect(msgspec.Struct, frozen=True, kw_only=True):
    """What a fine-tune on some trajectories would see, in numbers. ``kept``: certified rows."""

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
        length=Lengths.of(lengths),
        by_archetype=dict(sorted(archetypes.items())),
    )


#: Looks up the facts of a session by its id.
FactsById = Callable[[str], Facts | None]


def mask_document(
    rows: Iterable[Row | Dropped],
    skipped: Iterable[Dropped] = (),
    known: FactsById = lambda _: None,
) -> Iterator[bytes]:
    """The document of ``sekft mask --json`` in pieces, so that any amount of data passes in little
    memory."""
    encode = msgspec.json.encode
    dropped = [dropped_report(item, known(item.id)) for item in skipped]
    glue = b'{"trajectories":['
    for row in rows:
        if isinstance(row, Dropped):
            dropped.append(dropped_report(row, known(row.id)))
        else:
            yield glue + encode(row_report(row, known(row.id)))
            glue = b","
    if glue != b",":
        yield glue
    yield b'],"dropped":' + encode(dropped) + b"}\n"


def row_report(row: Row, facts: Facts | None = None) -> dict[str, Any]:
    """One trajectory of ``sekft mask --json``; ``turns`` are counted as they were recorded."""
    return {
        "id": row.id,
        "archetype": row.archetype,
        **({} if facts is None else {name: getattr(facts, name) for name in _FACTS}),
        "ids": row.ids.tolist(),
        "labels": row.labels.tolist(),
        "spans": [[span.start, span.end] for span in row.spans],
        "certificate": row.certificate.to_json(),
        "render": row.render_digest,
    }


_FACTS = ("provider", "announcement", "outcome", "keep", "clean", "verified", "turns")


def dropped_report(dropped: Dropped, facts: Facts | None = None) -> dict[str, str]:
    """One that is dropped; ``line`` is that of the certificate which does not hold, '' where it
    comes to none. The detail counts turns from 1, as they are shown everywhere."""
    return {
        "id": dropped.id,
        "archetype": facts.archetype if facts is not None else "",
        "reason": dropped.reason,
        "line": line_of(dropped.reason),
        "detail": as_shown(dropped.detail),
    }
