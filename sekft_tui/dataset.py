"""Which trajectories are shown and trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sekft_engine.importing import import_module
from sekft_tui.text import short_path, visible

if TYPE_CHECKING:
    from sekft_engine.sources import Index


class DataSet(NamedTuple):
    """A folder or file, or a data set of the Hub; the other one is empty."""

    path: str
    hub: str = ""

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"hub: {visible(self.hub)}" if self.hub else short_path(self.path)

    def open(self) -> Index:
        """An index over it; reads nothing yet.

        Raises:
            SekftError: there is nothing that could be read.
        """
        import_module("sekft_engine.sources.index")
        from sekft_engine.sources import open_index

        return open_index(hub=self.hub) if self.hub else open_index(self.path)
