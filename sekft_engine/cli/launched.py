"""A command that a launcher (torchrun, accelerate) started several times at once: one leads."""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from sekft_engine.errors import SekftError
from sekft_engine.leaving import ENGINE_THREAD


def led(command: Callable[..., int]) -> Callable[..., int]:
    """Let the first process run ``command``; the others follow it, and print nothing."""

    @functools.wraps(command)
    def run(**options: Any) -> int:
        if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
            return command(**options)
        from sekft_engine.sft.processes import follows, joined, part

        if options.get("inspect"):  # there is nothing to share
            return 0 if follows() else command(**options)
        joined()
        if follows():
            return _follow()
        try:
            return command(**options)
        finally:
            # An engine that was left at work may be amidst a word of its own.
            if all(thread.name != ENGINE_THREAD for thread in threading.enumerate()):
                part()

    return run


def _follow() -> int:
    from sekft_engine.sft.follow import follow
    from sekft_engine.sft.processes import part

    # The leader hears these as well, saves, and says when it is over.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        follow()
    except SekftError as error:  # the leader tells
        return error.exit_status
    part()
    return 0
