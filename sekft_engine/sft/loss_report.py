"""What token losses say: per command, per place in a command, per token; as facts and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import numpy as np

from sekft_engine.documents import encode
from sekft_engine.render.row import Row, Span
from sekft_engine.sft.token_loss import DECIMALS, FloatArray, TokenLosses, Totals

#: The places in a command: its first token is the choice of what to do, the last one the
#: end-of-turn token, which says that nothing but the command is typed.
PLACES = ("first", "inside", "end")


class Measured(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A row with its losses, one per token of the row, NaN where it is not trained."""

    row: Row
    losses: TokenLosses
    before: FloatArray
    after: FloatArray

    @classmethod
    def of(cls, row: Row, losses: TokenLosses) -> Measured:
        """Raises :class:`DigestMismatch` where ``losses`` are not of this row."""
        return cls(row=row, losses=losses, **losses.arrays(row)._asdict())

    def means(self, span: Span) -> tuple[float, float]:
        """Mean losses of one command, before and after."""
        part = slice(span.start, span.end)
        before, after = (each[part].mean(dtype=np.float64) for each in (self.before, self.after))
        return round(float(before), DECIMALS), round(float(after), DECIMALS)

    def ranked(self, count: int, *, by: str) -> list[int]:
        """Up to ``count`` positions: ``improved`` the most, still ``worst``, or ``worsened``."""
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
    """Means over many trajectories: by part of the data, and by place in the command."""

    def __init__(self) -> None:
        self.totals = Totals()
        self._places = {place: [0, 0.0, 0.0] for place in PLACES}

    def add(self, one: Measured) -> None:
        self.totals.add([one.losses])
        for span in one.row.spans:
            for place, start, end in (
                ("first", span.start, span.start + 1),
                ("inside", span.start + 1, span.end - 1),
                ("end", max(span.start + 1, span.end - 1), span.end),
            ):
                sums = self._places[place]
                sums[0] += max(0, end - start)
                sums[1] += float(one.before[start:end].sum())
                sums[2] += float(one.after[start:end].sum())

    def to_json(self) -> dict[str, Any]:
        return self.totals.to_json() | {
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
    """A trajectory that was measured and whose losses cannot be shown, and why."""

    id: str
    reason: str


def loss_document(facts: dict[str, Any], measured: Iterable[Measured | Unshown]) -> Iterator[bytes]:
    """The document of ``sekft mask --loss --json`` in pieces: ``facts`` of the run first."""
    summary, unshown = Summary(), []
    glue = encode(facts)[:-1] + b',"trajectories":['
    for one in measured:
        if isinstance(one, Unshown):
            unshown.append(one)
            continue
        summary.add(one)
        yield glue + encode(one.to_json())
        glue = b","
    if glue != b",":
        yield glue
    yield b'],"unshown":' + encode(unshown) + b',"summary":' + encode(summary.to_json()) + b"}\n"
