"""Limits on what a chat template may do: it is foreign code, and it may not end by itself.

A render gets :data:`SECONDS` of processor time, and more for long sessions. One thread looks at the
renders that run, and raises an exception within one that takes longer, or while which the memory of
this process grows too much. Nothing is counted in the template itself, so ordinary renders are as
fast as without limits. A single operation of Python's cannot be interrupted, so those that can make
a huge value of small ones are checked before they are done: see
:mod:`sekft_engine.render.template.sandbox`.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

#: Seconds of processor time for one render, and for each message in it.
SECONDS, SECONDS_PER_MESSAGE = 5.0, 0.01
#: Most characters, or items, of one value that a template makes.
LARGEST = 100_000_000
#: Most characters of a template's source.
LONGEST_SOURCE = 4_000_000
#: How much the process may grow during a render that has used a quarter of its time.
_GROWTH_BYTES = 1 << 30
#: How often the renders that run are looked at; after so many looks at none, the thread sleeps.
_LOOK_S, _IDLE_LOOKS = 0.05, 40

Result = TypeVar("Result")


class LimitReached(Exception):
    """A template did more than it may."""


class _Interrupted(BaseException):
    """Raised within a render by the thread that looks at it."""


def check_size(size: int) -> None:
    """Raise :class:`LimitReached` where a template would make a value of ``size``."""
    if size > LARGEST:
        raise LimitReached(f"it writes more than {LARGEST:,} characters")


def within_limits(work: Callable[[], Result], messages: int) -> Result:
    """The result of ``work``, which runs a template.

    Args:
        work: called on this thread.
        messages: how many messages the template is given.

    Raises:
        LimitReached: it took too long, or too much memory.
        Exception: whatever ``work`` raises.
    """
    run = _Run(SECONDS + SECONDS_PER_MESSAGE * messages)
    try:
        return _watched(work, run)
    except _Interrupted:
        raise LimitReached(run.exceeded) from None


class _Run:
    """A render that runs now.

    Attributes:
        seconds: of processor time that it may take.
        exceeded: what it did too much of; '' while it was not interrupted.
        began: the thread's processor time when the run was first seen; None = not yet.
        memory: bytes of this process when it had used a quarter of its time.
    """

    __slots__ = ("began", "exceeded", "memory", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.exceeded = ""
        self.began: float | None = None
        self.memory: int | None = None


_runs: dict[int, _Run] = {}
_lock = threading.Lock()
_wanted = threading.Event()
_thread: threading.Thread | None = None


def _watched(work: Callable[[], Result], run: _Run) -> Result:
    ident = threading.get_ident()
    outer = _runs.get(ident)
    _runs[ident] = run
    if not _wanted.is_set():
        _start()
    try:
        return work()
    finally:
        with _lock:
            if outer is None:
                _runs.pop(ident, None)
            else:
                _runs[ident] = outer
        if run.exceeded:  # the exception may not have come yet: it comes where a loop goes round
            for _ in range(1000):
                pass


def _start() -> None:
    global _thread
    with _lock:
        _wanted.set()
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_look_on, name="template limits", daemon=True)
            _thread.start()


def _forget() -> None:
    """A forked process has none of the other's threads."""
    global _thread, _lock
    _thread, _lock = None, threading.Lock()
    _runs.clear()
    _wanted.clear()


os.register_at_fork(after_in_child=_forget)


def _look_on() -> None:
    idle = 0
    while True:
        time.sleep(_LOOK_S)
        for ident, run in list(_runs.items()):
            idle = 0
            with _lock:
                if _runs.get(ident) is run and not run.exceeded:
                    run.exceeded = _exceeded(ident, run)
                    if run.exceeded:
                        _interrupt(ident)
        idle += 1
        if idle >= _IDLE_LOOKS:
            _wanted.clear()
            if not _runs:
                _wanted.wait()
            _wanted.set()
            idle = 0


def _exceeded(ident: int, run: _Run) -> str:
    """What the run does too much of; '' = nothing. To be called while it cannot end."""
    used = time.clock_gettime(time.pthread_getcpuclockid(ident))
    if run.began is None:
        run.began = used
    used -= run.began
    if used > run.seconds:
        return f"it does not end within {run.seconds:.0f} seconds"
    if used > run.seconds / 4:
        memory = _resident_bytes()
        if run.memory is None:
            run.memory = memory
        elif memory - run.memory > _GROWTH_BYTES:
            return "it takes too much memory"
    return ""


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGESIZE")


def _interrupt(ident: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(ident), ctypes.py_object(_Interrupted)
    )
