"""The result of certifying each trajectory, in a few bytes each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sekft_tui.library.scan import CodeTable

if TYPE_CHECKING:
    from sekft_engine.sources import Index

#: The code of a row that is trained on; higher codes are reasons why not.
PASSES = 1


class Verdicts(CodeTable):
    """Tokens, trained tokens and the reason for dropping it, per trajectory.

    Eleven bytes each; written by one thread, read by any.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tokens = np.zeros(0, np.int32)
        self.trained = np.zeros(0, np.int32)
        #: What the reader noted of those that were certified, with the number of trajectories.
        self.notes: Counter[str] = Counter()
        #: Names by code.
        self.reasons: list[str] = ["", ""]

    def grow(self, total: int) -> None:
        if total > len(self.codes):
            room = max(total, len(self.codes) * 5 // 4)
            self.tokens = _grown(self.tokens, room)
            self.trained = _grown(self.trained, room)
            super().grow(room)

    def put(self, number: int, tokens: int, trained: int, reason: str = "") -> None:
        """Store the result of trajectory ``number``; its code is written last."""
        self.grow(number + 1)
        self.tokens[number] = tokens
        self.trained[number] = trained
        self.codes[number] = self._code(reason)

    def _code(self, reason: str) -> int:
        if not reason:
            return PASSES
        if reason not in self.reasons:
            if len(self.reasons) > 255:
                return 255
            self.reasons.append(reason)
        return self.reasons.index(reason, PASSES + 1)

    def code(self, number: int) -> int:
        """The result code; 0 = not certified yet."""
        return int(self.codes[number]) if 0 <= number < len(self.codes) else 0

    def reason(self, number: int) -> str:
        """Why it is dropped; "" = it is not, or not certified yet."""
        return self.reasons[self.code(number)]

    def wanted(self, reasons: Iterable[str] | None = None) -> npt.NDArray[np.bool_]:
        """For each code, whether it means dropped for one of ``reasons`` (None = for any)."""
        chosen = None if reasons is None else set(reasons)
        table = np.zeros(256, np.bool_)
        for code in range(PASSES + 1, len(self.reasons)):
            table[code] = chosen is None or self.reasons[code] in chosen
        return table

    def dropped(self, total: int) -> dict[str, int]:
        """How many are dropped, by reason, the most frequent first."""
        if len(self.reasons) == PASSES + 1:  # most often; counting takes a while
            return {}
        counts = np.bincount(self.codes[:total], minlength=256)  # reasons may be added meanwhile
        found = {
            reason: int(counts[code])
            for code, reason in enumerate(self.reasons)
            if code > PASSES and counts[code]
        }
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def dropped(index: Index, verdicts: Verdicts) -> dict[str, int]:
    """How many are dropped, by the reason, the most frequent first: what could not be read, once
    the index is complete, and what certifying came to."""
    counts = Counter(verdicts.dropped(len(index)))
    if index.complete:
        counts.update(index.dropped)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _grown(array: npt.NDArray[np.int32], room: int) -> npt.NDArray[np.int32]:
    grown = np.zeros(room, np.int32)
    grown[: len(array)] = array
    return grown
