"""Reports over rows, for ``sekft mask`` and ``sekft train --inspect``."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from sekft_engine.data.dropped import Dropped
from sekft_engine.data.reasons import WAYS, as_shown, line_of
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.records.adapted import AdaptedShare
from sekft_engine.render.bulk.cache import cached_sizes
from sekft_engine.render.rows.row import Row, RowSize
from sekft_engine.render.template.tokenizer import ChatTokenizer
from sekft_engine.sources.index.facts import Facts
from sekft_engine.sources.read.trajectories import Counting, Loaded, Reading


class Lengths(msgspec.Struct, frozen=True, kw_only=True):
    """Lengths of the certified rows in tokens; all 0 if there is none."""

    min: int = 0
    median: int = 0
    p95: int = 0
    max: int = 0

    @classmethod
    def of(cls, lengths: Sequence[int] | npt.NDArray[np.int32] | npt.NDArray[np.int64]) -> Lengths:
        if not len(lengths):
            return cls()
        # Lengths that occur, not ones between two that do.
        shares = (0, 50, 95, 100)
        found = np.percentile(lengths, shares, method="inverted_cdf")
        return cls(**dict(zip(cls.__struct_fields__, map(int, found), strict=True)))


class Inspect(msgspec.Struct, frozen=True, kw_only=True):
    """What a fine-tune on some trajectories would see, in numbers.

    Attributes:
        kept: certified rows.
        untrained_commands: commands of them that the sessions say not to train.
        dropped: trajectories, by the reason; ``examples`` has the first of each.
        notes: trajectories in which something was read in another form, or is not used.
        passed_over: files of the folder that are not read, by their endings.
        remarks: what a person should know of the tokenizer and the template.
        adapted: which share of the base the adapter would reach, where its weights are here.
        base_problem: why the base cannot be trained, where its files show it.
    """

    trajectories: int
    kept: int
    dropped: dict[str, int]
    tokens: int
    trained_tokens: int
    length: Lengths
    by_archetype: dict[str, int]
    untrained_commands: int = 0
    examples: dict[str, str] = {}
    notes: dict[str, int] = {}
    passed_over: dict[str, int] = {}
    remarks: tuple[str, ...] = ()
    adapted: AdaptedShare | msgspec.UnsetType = msgspec.UNSET
    base_problem: str | msgspec.UnsetType = msgspec.UNSET

    @property
    def trained_share(self) -> float:
        return self.trained_tokens / self.tokens if self.tokens else 0.0

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = msgspec.to_builtins(self)
        return out


def inspect_report(
    data: Loaded | Reading, tokenizer: ChatTokenizer, *, max_length: int = 0, limit: int = 0
) -> Inspect:
    """Render and certify everything that is read, and count.

    Args:
        data: what was read, or is read on the way, which takes little memory.
        tokenizer: the base's.
        max_length: the most tokens a row may have; 0 = any number.
        limit: only so many trajectories; 0 = all.
    """
    items: Iterable[Trajectory | Dropped] = (
        data if isinstance(data, Reading) else chain(data.skipped, data.trajectories)
    )
    counting = Counting(items, limit)
    rows = cached_sizes(counting, tokenizer, max_length=max_length)
    report = inspect_rows(rows, counting)
    return msgspec.structs.replace(report, passed_over=data.passed_over, remarks=tokenizer.notes)


def inspect_rows(
    rows: Iterable[Row | RowSize | Dropped], counting: Counting | None = None
) -> Inspect:
    """Count rows as they are built.

    Args:
        rows: the rows, or their sizes.
        counting: counts what is not among them; it may still be counting.
    """
    counts = counting or Counting(())
    archetypes: Counter[str] = Counter()
    lengths = array("I")
    trained = untrained = 0
    for row in rows:
        if isinstance(row, Dropped):
            counts.drop(row)
            continue
        size = RowSize.of(row) if isinstance(row, Row) else row
        lengths.append(size.tokens)
        trained += size.trained_tokens
        untrained += size.untrained_commands
        archetypes[size.archetype] += 1
    sizes = np.frombuffer(lengths, np.uint32).astype(np.int64)
    return Inspect(
        trajectories=len(lengths) + counts.dropped.total(),
        kept=len(lengths),
        dropped=dict(sorted(counts.dropped.items())),
        tokens=int(sizes.sum()),
        trained_tokens=trained,
        length=Lengths.of(sizes),
        by_archetype=dict(sorted(archetypes.items())),
        untrained_commands=untrained,
        examples=dict(sorted(counts.examples.items())),
        notes=dict(counts.notes.most_common()),
    )


#: Looks up the facts of a session by its id.
FactsById = Callable[[str], Facts | None]


def mask_document(
    rows: Iterable[Row | Dropped],
    skipped: Iterable[Dropped] = (),
    known: FactsById = lambda _: None,
    notes: Mapping[str, int] | None = None,
    passed_over: Mapping[str, int] | None = None,
) -> Iterator[bytes]:
    """The document of ``sekft mask --json`` in pieces, so that any amount of data passes in little
    memory; ``notes`` may still be counted while rows are built."""
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
    yield b'],"dropped":' + encode(dropped)
    yield b',"notes":' + encode(dict(notes or {}))
    yield b',"passed_over":' + encode(dict(passed_over or {})) + b"}\n"


def row_report(row: Row, facts: Facts | None = None) -> dict[str, Any]:
    """One trajectory of ``sekft mask --json``; ``turns`` are counted as they were recorded."""
    return {
        "id": row.id,
        "archetype": row.archetype,
        **({} if facts is None else {name: getattr(facts, name) for name in _FACTS}),
        "ids": row.ids.tolist(),
        "labels": row.labels.tolist(),
        "spans": [[span.start, span.end] for span in row.spans],
        "untrained": [[span.start, span.end] for span in row.untrained],
        "certificate": row.certificate.to_json(),
        "render": row.render_digest,
        **({} if row.clock is None else {"clock": msgspec.to_builtins(row.clock)}),
    }


_FACTS = ("provider", "announcement", "outcome", "keep", "clean", "verified", "turns")


def dropped_report(dropped: Dropped, facts: Facts | None = None) -> dict[str, str]:
    """One that is dropped; ``line`` is that of the certificate which does not hold, '' where it
    comes to none; ``mend`` is the way out for the reason. The detail counts turns from 1, as they
    are shown everywhere."""
    return {
        "id": dropped.id,
        "archetype": facts.archetype if facts is not None else "",
        "reason": dropped.reason,
        "line": line_of(dropped.reason),
        "detail": as_shown(dropped.detail),
        "mend": WAYS.get(dropped.reason, ""),
    }
