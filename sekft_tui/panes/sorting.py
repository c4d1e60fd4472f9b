"""Sorting the list of a pane: one key goes through what it can be sorted by."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from sekft_tui.host import Host
from sekft_tui.panes.pane import Pane


class SortedPane(Pane):
    """A pane with a list in one of several orders, which is the same in the next session.

    Attributes:
        order: the present one of :attr:`ORDERS`.
    """

    #: The orders by what they are called; in the first one the list is not sorted by anything.
    ORDERS: ClassVar[tuple[str, ...]]
    #: What is said of the first one.
    UNSORTED: ClassVar[str]

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        before = self.before.get("order", "")
        self.order = before if before in self.ORDERS else self.ORDERS[0]

    @abstractmethod
    def sort(self) -> None:
        """Show the list in the present order, with the cursor on what it is on."""

    def action_sort(self) -> None:
        self.order = self.ORDERS[(self.ORDERS.index(self.order) + 1) % len(self.ORDERS)]
        self.host.note(f"sorted {self.order_text}" if self.order_text else self.UNSORTED)
        self.sort()

    @property
    def order_text(self) -> str:
        """What the list is sorted by, for the line above it; "" = nothing in particular."""
        return f"by {self.order}" if self.order != self.ORDERS[0] else ""

    def kept(self) -> dict[str, str]:
        return super().kept() | {"order": self.order if self.order_text else ""}
