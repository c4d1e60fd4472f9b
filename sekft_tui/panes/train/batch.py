"""The trajectories of one step, each with its mask drawn as a strip."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from textual.containers import Vertical

from sekft_engine.records.events import BatchRow
from sekft_tui.input.actions import key_for
from sekft_tui.model.training import TrainView
from sekft_tui.text import Parts, fit, visible
from sekft_tui.widgets.line_list import LineList
from sekft_tui.widgets.lines import Lines

_BLOCKS = "▁▂▃▄▅▆▇█"
NAME = 26
#: The most lines of the list on a tall screen; the rest can be scrolled to.
MOST_ROWS = 9


class Batch(Vertical):
    """A head and a list; Enter opens the trajectory under the cursor.

    Args:
        chosen: called with the trajectory's id.
    """

    DEFAULT_CSS = """
    Batch { height: 10; }
    Batch > Lines { background: $panel; }
    Batch:focus-within > Lines { background: $cursor-background; }
    """

    def __init__(self, chosen: Callable[[str], None], *, id: str) -> None:  # noqa: A002
        self._chosen = chosen
        self._rows: list[BatchRow] = []
        self._title = ""
        self.head = Lines(self._head)
        self.list = LineList(self._row, chosen=self._choose, empty="no step yet", id=f"{id}-list")
        super().__init__(self.head, self.list, id=id)

    def show(self, train: TrainView, step: int, active: bool) -> None:
        """Show the batch of ``step``; 0 = the one in training, or the last one. A run that is not
        ``active`` trains on nothing."""
        number = step or train.newest_batch
        rows = train.batch_of(number)
        title = f" step {number:,}" if number else " batch"
        if number > train.step:
            title += " in training" if active else " was not done"
        elif rows:
            title += " trained on"
        if (title, rows) != (self._title, self._rows):
            self._title, self._rows = title, rows
            self.styles.height = 1 + max(2, min(MOST_ROWS, len(rows)))
            self.list.set_rows(len(rows))
            self.head.update()

    def _head(self, width: int) -> tuple[Parts, ...]:
        rows = self._rows
        tokens = sum(row.tokens for row in rows)
        trained = sum(map(trained_tokens, rows))
        about = f"  {len(rows)} trajectories"
        if tokens:
            about += f" · {trained:,} of {tokens:,} tokens trained"
        room = max(0, width - len(self._title))
        for hint in (f"  {key_for('train.batch')} list", " · ⏎ opens", " · █ trained ─ masked"):
            if len(about + hint) > room:
                break
            about += hint
        return (((self._title, "strong"), (fit(about, room), "quiet")),)

    def _row(self, y: int, width: int) -> Parts:
        row = self._rows[y]
        name = min(NAME, width // 3)
        figures = f"{trained_tokens(row):>5,}/{row.tokens:<6,} " if row.tokens else ""
        strip = mask_strip(row, max(0, width - name - len(figures) - 2))
        return (
            (" " + fit(visible(row.id), name) + " ", "text"),
            (figures, "quiet"),
            *strip,
        )

    def _choose(self) -> None:
        if self.list.cursor < len(self._rows):
            self._chosen(self._rows[self.list.cursor].id)

    def plain(self) -> str:
        return "\n".join(row.id for row in self._rows)


def trained_tokens(row: BatchRow) -> int:
    return sum(row.edges[1::2]) - sum(row.edges[::2])


def mask_strip(row: BatchRow, width: int) -> Parts:
    """The whole row in ``width`` cells: blocks as high as the share of trained tokens, a line where
    all are masked. A single trained token is still a block."""
    if width < 1 or not row.tokens:
        return ()
    wide = min(width, row.tokens)
    trained = np.zeros(row.tokens)
    for start, end in zip(row.edges[::2], row.edges[1::2], strict=False):
        trained[max(0, start) : max(0, end)] = 1
    starts = np.arange(wide) * row.tokens // wide
    share = np.add.reduceat(trained, starts) / np.diff(np.append(starts, row.tokens))
    parts: list[tuple[str, str]] = []
    for trained_share in share.tolist():
        style = "trained" if trained_share else "masked"
        sign = _BLOCKS[min(7, int(trained_share * 7.99))] if trained_share else "─"
        if parts and parts[-1][1] == style:
            parts[-1] = (parts[-1][0] + sign, style)
        else:
            parts.append((sign, style))
    return tuple(parts)
