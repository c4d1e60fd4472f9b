"""The background pass that certifies a data set: what would be dropped, and how long it all is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sekft_engine.errors import SekftError
from sekft_tui.background import Background, Courtesy, Pace, Teller
from sekft_tui.library.passes import Order, Plan
from sekft_tui.library.rendering import NotReady, Renderer
from sekft_tui.library.verdicts import Verdicts

if TYPE_CHECKING:
    from sekft_engine.sources import Index
    from sekft_engine.trajectory import Trajectory

#: A data set of up to so many trajectories is certified unasked while it is looked at.
UNASKED = 20_000
#: Why a recording is dropped that says so itself, as ``sekft train --inspect`` counts it.
NOT_KEPT = "not_kept"
UNREADABLE = "unreadable"
#: How far the thread steps back behind what the user sees.
NICE = 10


class Certifier:
    """Certifies the trajectories of ``index`` in small batches, those that are asked for first.

    Args:
        changed: called on the thread whenever more is known.
    """

    def __init__(
        self,
        index: Index,
        renderer: Renderer,
        *,
        courtesy: Courtesy,
        changed: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.verdicts = Verdicts()
        self.asked = False
        #: Set while the trajectories are on the screen.
        self.visible = False
        self.trouble = ""
        self._index = index
        self._renderer = renderer
        self._news = Teller(changed)
        self._waited = False
        self._plan = Plan(self.verdicts)
        self._pace = Pace(128)
        self._thread = Background(
            "sekft-certify", self._step, failed=failed, courtesy=courtesy, patience=1.0, nice=NICE
        ).start()

    def stop(self) -> None:
        self._thread.stop()

    def wake(self) -> None:
        self._thread.wake()

    def ask(self, order: Order | None = None) -> None:
        """Certify what is in ``order``, until :meth:`rest`; without one, all there is."""
        self.asked, self.trouble = self.asked or order is None, ""
        self._waited = order is not None
        self._plan.first(order)
        self._thread.wake()

    def restart(self) -> None:
        """The trajectories have other numbers than before: nothing is known of them."""
        self.verdicts = Verdicts()
        self._plan = Plan(self.verdicts)

    def rest(self) -> None:
        """Nobody waits any more."""
        self._waited = False
        self._plan.first(None)

    @property
    def known(self) -> int:
        return self.verdicts.known(len(self._index))

    @property
    def busy(self) -> bool:
        """Whether it has something to do and may."""
        return self._may() and self.known < len(self._index)

    def _may(self) -> bool:
        if self.trouble or not self._renderer.base:
            return False
        if self._waited:
            return True
        wanted = self.asked or (self._index.complete and len(self._index) <= UNASKED)
        return wanted and self.visible

    def _step(self) -> float | None:
        if not self._may():
            self._news.last()
            return None
        verdicts = self.verdicts  # after a restart these are nobody's any more
        numbers = self._plan.take(self._pace.batch, len(self._index), others=True)
        if not numbers:
            self._news.last()
            return None
        try:
            with self._pace:
                self._certify(numbers, verdicts)
        except NotReady:
            self.trouble = "the base is not ready"
        except SekftError as error:
            self.trouble = str(error)
        self._news.news()
        if self.trouble:
            self._news.last()
            return None
        return 0

    def again(self) -> None:
        """The base is ready now, or another."""
        self.trouble = ""
        self._thread.wake()

    def _certify(self, numbers: list[int], verdicts: Verdicts) -> None:
        tokenizer = self._renderer.tokenizer()
        from sekft_engine.render import Dropped
        from sekft_engine.render.cache import cached_rows

        good: list[int] = []

        def readable() -> Iterator[Trajectory]:
            for number in numbers:
                try:
                    trajectory = self._index.trajectory(number)
                except SekftError:
                    verdicts.put(number, 0, 0, UNREADABLE)
                else:
                    good.append(number)
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
