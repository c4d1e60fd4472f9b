"""Whom the players show: one, or two who were in the same world."""

from __future__ import annotations

from collections.abc import Sequence

from sekft_tui.cast import IDLE_LIMIT_S, Cast, in_step
from sekft_tui.episodes import Episode
from sekft_tui.panes.replay.shown import Shown, partners


class Pair:
    """``one`` is what is played, ``other`` what is played beside it, in step.

    ``differing``: what differs in their final worlds stands under them.
    """

    def __init__(self) -> None:
        self.one: Shown | None = None
        self.other: Shown | None = None
        self.differing = False
        self.idle_limit = IDLE_LIMIT_S

    @property
    def both(self) -> list[Shown]:
        return [shown for shown in (self.one, self.other) if shown is not None]

    def put(self, one: Shown | None, episodes: Sequence[Episode]) -> None:
        """Show ``one``; where there were two, beside it the same subject, or else another."""
        self.one = one
        if self.other is not None:
            found = partners(one, episodes) if one is not None else []
            wanted = {self.other.subject} - {one.subject if one is not None else ""}
            same = [shown for shown in found if shown.subject in wanted]
            self.other = next(iter(same or found), None)

    def take_next(self, episodes: Sequence[Episode]) -> bool:
        """Show the next one who was in this world, after the last nobody; False where there is
        none at all."""
        found = partners(self.one, episodes) if self.one is not None else []
        known = [_identity(shown) for shown in found]
        here = _identity(self.other) if self.other is not None else None
        at = known.index(here) + 1 if here in known else 0
        self.other = found[at] if at < len(found) else None
        return bool(found)

    def casts(self) -> tuple[Cast | None, Cast | None]:
        """What the two players play."""
        casts = [shown.cast(self.idle_limit, with_difference=self.differing) for shown in self.both]
        if len(casts) == 2:
            return in_step(*casts)
        return (casts[0] if casts else None), None


def _identity(shown: Shown) -> tuple[str, str, str]:
    return shown.run, shown.subject, shown.episode.path if shown.episode else ""
