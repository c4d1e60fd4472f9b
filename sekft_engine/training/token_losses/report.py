"""Token losses summarised per command, per place in a command and per token, also as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import numpy as np

from sekft_engine.core.documents import encode
from sekft_engine.render.rows.row import Row, Span
from sekft_engine.training.token_losses.losses import (
    DECIMALS,
    FloatArray,
    TokenLosses,
    Totals,
)

#: The places in a command: its first token is the choice of what to do, the last one the
#: end-of-turn token, which says that nothing but the command is typed.
PLACES = ("first", "inside", "end")


class Measured(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A row with its losses ``before`` and ``after`` in nats, each [T], NaN at untrained tokens."""

    row: Row
    losses: TokenLosses
    before: FloatArray
    after: FloatArray

    @classmethod
    def of(cls, row: Row, losses: TokenLosses) -> Measured:
        """Combine a row with its losses; raises :class:`DigestMismatch` if they do not match."""
        return cls(row=row, losses=losses, **losses.arrays(row)._asdict())

    def means(self, span: Span) -> tuple[float, float]:
        """Mean losses of one command in nats, before and after."""
        part = slice(span.start, span.end)
        before, after = (each[part].mean(dtype=np.float64) for each in (self.before, self.after))
        return round(float(before), DECIMALS), round(float(after), DECIMALS)

    def ranked(self, count: int, *, by: str) -> list[int]:
        """Up to ``count`` token positions.

        Args:
            by: ``improved`` = largest improvement, ``worst`` = highest loss after, ``worsened`` =
                largest increase.
        """
        gain = self.before - self.after
        order = {"improved": -gain, "worst": -self.after, "worsened": gain}[by]
        ranked = [int(place) for place in np.argsort(order, kind="stable")]
        return [place for place in ranked if self.row.trained[place]][:count]

    def to_json(self) -> dict[str, Any]:
        """One trajectory of ``sekft mask --loss --json``."""
        row, losses = self.row, self.losses
        return {
            "id": row.id,
            "part": losses.part,
            "before": round(losses.mean_before, DECIMALS),
            "after": round(losses.mean_after, DECIMALS),
            "turns": [
                {
                    "turn": span.turn,
                    "span": [span.start, span.end],
                    "before": before,
                    "after": after,
                }
                for span in row.spans
                for before, after in [self.means(span)]
            ],
            "tokens": [
                {
                    "position": place,
                    "id": int(row.ids[place]),
                    "text": row.piece(place),
                    "turn": int(row.turn_of[place]),
                    "before": before,
                    "after": after,
                }
                for place, before, after in zip(
                    losses.positions, losses.before, losses.after, strict=True
                )
            ],
            "render": row.render_digest,
        }


class Summary:
    """Mean losses over many trajectories, by part of the data and by place in the command."""

    def __init__(self) -> None:
        self.totals = Totals()
        self._places = {place: [0, 0.0, 0.0] for place in PLACES}

    def add(self, item: Measured) -> None:
        self.totals.add([item.losses])
        for span in item.row.spans:
            for place, start, end in (
                ("first", span.start, span.start + 1),
                ("inside", span.start + 1, span.end - 1),
                ("end", max(span.start + 1, span.end - 1), span.end),
            ):
                sums = self._places[place]
                sums[0] += max(0, end - start)
                sums[1] += float(item.before[start:end].sum())
                sums[2] += float(item.after[start:end].sum())

    def to_json(self) -> dict[str, Any]:
        totals: dict[str, Any] = msgspec.to_builtins(self.totals.total())
        return totals | {
            "places": {
                place: {
                    "tokens": int(tokens),
                    "before": round(before / tokens, DECIMALS),
                    "after": round(after / tokens, DECIMALS),
                }
                for place, (tokens, before, after) in self._places.items()
                if tokens
            }
        }


class Unshown(msgspec.Struct, frozen=True):
    """A measured trajectory whose losses cannot be shown, with the reason."""

    id: str
    reason: str


def loss_document(facts: dict[str, Any], measured: Iterable[Measured | Unshown]) -> Iterator[bytes]:
    """Yield the document of ``sekft mask --loss --json`` in pieces, ``facts`` of the run first."""
    summary, unshown = Summary(), []
    glue = encode(facts)[:-1] + b',"trajectories":['
    for item in measured:
        if isinstance(item, Unshown):
            unshown.append(item)
            continue
        summary.add(item)
        yield glue + encode(item.to_json())
        glue = b","
    if glue != b",":
        yield glue
    yield b'],"unshown":' + encode(unshown) + b',"summary":' + encode(summary.to_json()) + b"}\n"
