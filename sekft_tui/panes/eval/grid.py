"""The verdicts of an eval as a grid that follows it."""

from __future__ import annotations

from collections.abc import Callable

from sekft_tui.model.evaluation import EvalView
from sekft_tui.widgets.verdict_grid import CellLook, GridRow, VerdictGrid


class EvalGrid(VerdictGrid):
    """Shows an :class:`EvalView`; while that goes on, only rows that changed are made again."""

    def __init__(self, chosen: Callable[[], None]) -> None:
        super().__init__(chosen, id="eval-grid")
        self._view: EvalView | None = None
        self._drawn = 0  # how many of the view's touched cells are drawn
        self._row_of: dict[str, int] = {}

    def show(self, view: EvalView) -> None:
        """Show ``view`` as it is now."""
        subjects = tuple(view.subjects)
        before, self._view = self._view, view
        if view is before and subjects == self.subjects and self.rows:
            fresh = view.touched[self._drawn :]
            self._drawn += len(fresh)
            for scenario in {scenario for _, scenario in fresh}:
                y = self._row_of.get(scenario)
                if y is not None:
                    self.put(y, _row(view, y))
            return
        self._drawn = len(view.touched)
        self._row_of = {scenario: y for y, scenario in enumerate(view.scenarios)}
        rows = [_row(view, y) for y in range(len(view.scenarios))]
        self.fill(subjects, len(view.models), rows)


def _row(view: EvalView, y: int) -> GridRow:
    scenario = view.scenarios[y]
    archetype = view.archetypes[y] if y < len(view.archetypes) else ""
    return GridRow(
        scenario, archetype, tuple(_cell(view, subject, scenario) for subject in view.subjects)
    )


def _cell(view: EvalView, subject: str, scenario: str) -> CellLook:
    cell = view.cells.get((subject, scenario))
    if cell is None:
        return CellLook()
    return CellLook(cell.status, cell.turns, cell.seconds, cell.verdict)
