"""Drop sessions that are far too long before they are rendered.

A session of tens of megabytes takes half a minute and gigabytes to be built as a row, only to be
dropped for its length. The tokens of its beginning decide that as well.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from sekft_engine.data.dropped import Dropped
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.render.template.tokenizer import ChatTokenizer

Built = TypeVar("Built")
#: Sessions of fewer characters per token that is allowed are built: they may fit, or nearly.
_CHARACTERS = 32
#: Characters that are tokenised at once.
_PIECE = 1 << 16
#: A beginning with so many times the tokens that are allowed decides. A text that is cut into
#: pieces has a few tokens more than it has as a whole, never twice as many.
_TIMES = 2


def without_far_too_long(
    trajectories: Iterable[Trajectory],
    tokenizer: ChatTokenizer,
    max_length: int,
    build: Callable[[Iterable[Trajectory]], Iterator[Built | Dropped]],
) -> Iterator[Built | Dropped]:
    """The rows of trajectories in order; those that are far too long are not built.

    Args:
        trajectories: sessions.
        tokenizer: the base's.
        max_length: the most tokens a row may have; 0 = any number.
        build: gives the row of each, in order; it may read ahead.
    """
    if not max_length:
        yield from build(trajectories)
        return
    passed = 0
    dropped: deque[tuple[int, Dropped]] = deque()

    def others() -> Iterator[Trajectory]:
        nonlocal passed
        for trajectory in trajectories:
            tokens = _at_least(trajectory, tokenizer, max_length)
            if tokens:
                detail = f"at least {tokens} tokens, the limit is {max_length}"
                dropped.append((passed, Dropped(trajectory.id, "too_long", detail)))
            else:
                passed += 1
                yield trajectory

    for number, row in enumerate(build(others())):
        while dropped and dropped[0][0] <= number:
            yield dropped.popleft()[1]
        yield row
    yield from (item for _, item in dropped)


def _at_least(trajectory: Trajectory, tokenizer: ChatTokenizer, max_length: int) -> int:
    """How many tokens a session has at least, if that is far more than allowed; 0 = it is not."""
    turns = trajectory.turns
    if sum([len(turn.content) for turn in turns]) < _CHARACTERS * max_length + _PIECE:
        return 0
    tokens = 0
    for turn in turns:
        for at in range(0, len(turn.content), _PIECE):
            try:
                piece = turn.content[at : at + _PIECE]
                tokens += len(tokenizer.guard.encode(piece).ids)
            except UnicodeEncodeError:  # half a character has a reason of its own
                return 0
            if tokens > _TIMES * max_length:
                return tokens // _TIMES
    return 0
