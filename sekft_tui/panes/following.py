"""A pane that follows what any process writes into the workspace."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from sekft_tui.panes.pane import Pane

#: Seconds between two looks.
LOOK_S = 2.0


class FollowingPane(Pane):
    """Looks from time to time whether the disk has changed, while it is visible."""

    #: The group of the workers that read the disk.
    READS: ClassVar[str]

    def on_mount(self) -> None:
        self.set_interval(LOOK_S, self._look)

    def _look(self) -> None:
        """A reading that is under way sees what there is."""
        reads = any(each.group == self.READS and not each.is_finished for each in self.workers)
        if self.display and not reads:
            self.follow_disk()

    @abstractmethod
    def follow_disk(self) -> None:
        """Begin to read what has changed, on a thread; nothing else on the screen may move."""
