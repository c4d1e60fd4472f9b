"""Certifies a data set in the background: what would be dropped, and how long each row is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sekft_engine.core.errors import SekftError
from sekft_engine.data.read_report import add_notes, reason_of
from sekft_tui.library.rendering import NotReady, Renderer
from sekft_tui.library.scan import Order, ScanPlan
from sekft_tui.library.verdicts import Verdicts
from sekft_tui.process.workers import Background, KeyPriority, Pace, Throttle

if TYPE_CHECKING:
    from sekft_engine.data.trajectory import Trajectory
    from sekft_engine.sources import Index

#: A data set of up to this many trajectories is certified unasked while it is on the screen.
UNASKED = 20_000
#: The reason of a recording that says itself not to train on it, as in ``train --inspect``.
NOT_KEPT = "not_kept"
#: The thread's niceness: what the user waits for comes first.
NICE = 10


class Certifier:
    """Certifies the trajectories of ``index`` in small batches, requested ones first.

    Args:
        changed: called on the thread after new results.
    """

    def __init__(
        self,
        index: Index,
        renderer: Renderer,
        *,
        key_priority: KeyPriority,
        changed: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.verdicts = Verdicts()
        self.whole_wanted = False
        #: Set while the trajectories are on the screen.
        self.visible = False
        self.trouble = ""
        self._index = index
        self._renderer = renderer
        self._throttle = Throttle(changed)
        self._waited_for = False
        self._plan = ScanPlan(self.verdicts)
        self._pace = Pace(128)
        self._thread = Background(
            "sekft-certify",
            self._step,
            failed=failed,
            key_priority=key_priority,
            patience=1.0,
            nice=NICE,
        ).start()

    def stop(self) -> None:
        self._thread.stop()

    def wake(self) -> None:
        self._thread.wake()

    def request(self, order: Order | None = None) -> None:
        """Certify what is in ``order``, until :meth:`release`; None = the whole data set."""
        self.whole_wanted, self.trouble = self.whole_wanted or order is None, ""
        self._waited_for = order is not None
        self._plan.first(order)
        self._thread.wake()

    def restart(self) -> None:
        """Forget all results: the trajectories have other numbers than before."""
        self.verdicts = Verdicts()
        self._plan = ScanPlan(self.verdicts)

    def release(self) -> None:
        """Nothing is waited for any more."""
        self._waited_for = False
        self._plan.first(None)

    @property
    def known(self) -> int:
        return self.verdicts.known(len(self._index))

    @property
    def busy(self) -> bool:
        """Whether it is working or about to."""
        return self._may_work() and self.known < len(self._index)

    def _may_work(self) -> bool:
        if self.trouble or not self._renderer.base:
            return False
        if self._waited_for:
            return True
        wanted = self.whole_wanted or (self._index.complete and len(self._index) <= UNASKED)
        return wanted and self.visible

    def _step(self) -> float | None:
        if not self._may_work():
            self._throttle.flush()
            return None
        verdicts = self.verdicts  # a restart replaces them; then these results are lost
        numbers = self._plan.take(self._pace.batch, len(self._index), others=True)
        if not numbers:
            self._throttle.flush()
            return None
        try:
            with self._pace:
                self._certify(numbers, verdicts)
        except NotReady:
            self.trouble = "the base is not ready"
        except SekftError as error:
            self.trouble = str(error)
        self._throttle.changed()
        if self.trouble:
            self._throttle.flush()
            return None
        return 0

    def retry(self) -> None:
        """The base is ready now: try again."""
        self.trouble = ""
        self._thread.wake()

    def _certify(self, numbers: list[int], verdicts: Verdicts) -> None:
        tokenizer = self._renderer.tokenizer()
        from sekft_engine.render import Dropped
        from sekft_engine.render.bulk.cache import cached_rows

        good: list[int] = []

        def readable() -> Iterator[Trajectory]:
            for number in numbers:
                try:
                    trajectory = self._index.trajectory(number)
                except SekftError as error:
                    verdicts.put(number, 0, 0, reason_of(error))
                else:
                    good.append(number)
                    add_notes(verdicts.notes, trajectory.notes)
                    yield trajectory

        limit = self._renderer.max_length
        rows = cached_rows(list(readable()), tokenizer, processes=1)
        for number, row in zip(good, rows, strict=True):
            left_out = NOT_KEPT if self._index.facts(number).left_out else ""
            if isinstance(row, Dropped):
                verdicts.put(number, 0, 0, left_out or row.reason)
                continue
            too_long = "too_long" if limit and len(row) > limit else ""
            verdicts.put(number, len(row), row.trained_tokens, left_out or too_long)
