"""What a training needs, imported while the engine has nothing else to do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from sekft_engine.core.errors import SekftError
from sekft_engine.engine.registry import Handler, handler_of
from sekft_engine.model.imports import import_torch, import_training
from sekft_engine.records import jobs
from sekft_engine.records.jobs import Job


class Readiness:
    """Imports in several parts, so that a job that comes meanwhile need not wait for all of them.

    Args:
        handlers: which function does which job.
    """

    def __init__(self, handlers: Mapping[type[Job], str | Handler]) -> None:
        self._handlers = handlers
        self._parts: deque[Callable[[], object]] = deque()
        self._asked = False

    def ask(self) -> None:
        """Someone is about to train. Does nothing the second time."""
        if not self._asked:
            self._asked = True
            self._parts += [
                import_torch,
                import_training,
                lambda: handler_of(jobs.Train, self._handlers),
            ]

    @property
    def is_due(self) -> bool:
        """Whether something is left to import."""
        return bool(self._parts)

    def import_next(self) -> None:
        """Import the next part. What cannot be imported is for the job to report."""
        try:
            self._parts.popleft()()
        except (SekftError, ImportError, OSError):
            self._parts.clear()
