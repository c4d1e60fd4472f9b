"""Which trajectories are shown and trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sekft_engine.core.imports import import_module
from sekft_tui.text import short_path, visible

if TYPE_CHECKING:
    from sekft_engine.sources import Index


class DataSet(NamedTuple):
    """A folder or file, or a data set of the Hub; the other one is empty."""

    path: str
    hub: str = ""

    @property
    def name(self) -> str:
        """Its name on the screen."""
        return f"hub: {visible(self.hub)}" if self.hub else short_path(self.path)

    def open(self, *, keep_only: bool = False) -> Index:
        """Open an index over it; no trajectory is read yet.

        Args:
            keep_only: leave out what training leaves out: recordings whose ``keep`` is not true.

        Raises:
            SekftError: there is nothing that can be read.
        """
        import_module("sekft_engine.sources.index.index")
        from sekft_engine.sources import open_index

        if self.hub:
            return open_index(hub=self.hub, keep_only=keep_only)
        return open_index(self.path, keep_only=keep_only)
