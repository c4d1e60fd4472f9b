"""Runs that are killed or refused by the disk at random, and what resuming them gives.

One process loads torch once and forks for each attempt, so that a hundred trials take minutes. A
child trains until it is hit; another one resumes the run; and they share nothing but the disk.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from sekft_engine import events, jobs
from sekft_engine.adapters import adapter_digest
from sekft_engine.context import Stopped
from sekft_engine.errors import SekftError
from sekft_engine.foreground import run_job
from sekft_engine.journal import as_it_counts
from sekft_engine.recipe import Recipe
from sekft_engine.runs import read_events, read_run
from sekft_engine.sft import checkpoint, session
from sekft_engine.sft.checkpoint import newest_checkpoint

Fault = Literal["kill", "SIGTERM", "SIGINT", "SIGHUP", "ENOSPC", "EIO", "clock"]
FAULTS: tuple[Fault, ...] = ("kill", "SIGTERM", "SIGINT", "SIGHUP", "ENOSPC", "EIO", "clock")

#: Dropout is on, so that the random generators matter; checkpoints are frequent.
RECIPE = Recipe(
    rank=4, alpha=8, lr=0.01, dropout=0.1, batch=2, micro_batch=1, epochs=2, heldout=0.2,
    heldout_every=3, token_losses=0,
)  # fmt: skip
_SAVE_EVERY_STEPS = 2
#: Where a child leaves the digest of a run's last checkpoint.
STATE = "last-state"


class Outcome(msgspec.Struct, frozen=True):
    """Everything that must be the same to the bit: the adapter's digest, that of its optimiser and
    generators, and the steps and held-out losses that the journal counts."""

    adapter: str
    state: str
    journal: list[tuple[str, int, float, float]]


def outcome(run: Path) -> Outcome:
    """What a finished run left."""
    told: list[tuple[str, int, float, float]] = []
    for event in as_it_counts(read_events(run / "events.jsonl")):
        if isinstance(event, events.StepDone):
            told.append(("step", event.step, event.loss, event.grad_norm))
        elif isinstance(event, events.HeldoutDone):
            told.append(("heldout", event.step, event.loss, 0.0))
    return Outcome(adapter=adapter_digest(run / "adapter"), state=_last_state(run), journal=told)


def _last_state(run: Path) -> str:
    """The digest of the last checkpoint's tensors; a run that is done has let it go."""
    last = newest_checkpoint(run)
    if last is not None:
        return _state_digest(last.tensors)
    return (run / STATE).read_text()


def finish(base: Path, data: Path, run: Path, *, resume: bool = False) -> None:
    """Train to the end in a child of its own, or fail the caller."""
    code = _wait(_fork(partial(_train, base, data, run, resume=resume)))
    if code != 0:
        raise AssertionError(f"the run in {run} ended with {code}")


def trial(base: Path, data: Path, run: Path, fault: Fault, seed: int, longest: float) -> int:
    """Start a run, hit it up to three times, resume it each time and at last let it end.

    Args:
        longest: seconds that an undisturbed run takes; it is hit within them.

    Returns:
        How many times it was really hit.
    """
    moments = random.Random(seed)
    hits = 0
    for number in range(3):
        again = number > 0
        if fault in ("kill", "SIGTERM", "SIGINT", "SIGHUP"):
            signal_ = signal.SIGKILL if fault == "kill" else signal.Signals[fault]
            child = _fork(partial(_train, base, data, run, resume=again))
            time.sleep(moments.random() * longest)
            os.kill(child, signal_)
            code = _wait(child)
        else:
            nth = moments.randrange(1, 60)
            spoil = partial(_spoil, fault, nth)
            child = _fork(partial(_train, base, data, run, resume=again, spoil=spoil))
            code = _wait(child)
        if code == 0:
            break
        hits += 1
    if read_run(run).status != "done":
        finish(base, data, run, resume=True)
    return hits or fault == "clock"


def _train(
    base: Path,
    data: Path,
    run: Path,
    *,
    resume: bool,
    spoil: Callable[[], None] = lambda: None,
) -> int:
    session.SAVE_EVERY_STEPS = _SAVE_EVERY_STEPS

    def remember(folder: Path) -> None:
        """Look at the last checkpoint before the run lets it go."""
        (folder / STATE).write_text(_last_state(folder))
        checkpoint.drop_checkpoints(folder)

    setattr(session, "drop_checkpoints", remember)  # noqa: B010 - it is imported there
    spoil()
    job = jobs.Train(base=str(base), data=str(data), out=str(run), recipe=RECIPE, resume=resume)
    try:
        run_job(job)
    except Stopped:
        return 130
    except SekftError:
        return 1
    return 0


def _state_digest(tensors: dict[str, Any]) -> str:
    import hashlib

    total = hashlib.sha256()
    for key in sorted(tensors):
        total.update(key.encode())
        total.update(tensors[key].contiguous().numpy().tobytes())
    return total.hexdigest()


def _spoil(fault: Fault, nth: int) -> None:
    """From the ``nth`` file operation on, the disk refuses once; or the clock jumps."""
    if fault == "clock":
        real_time, real_monotonic = time.time, time.monotonic
        jumps = random.Random(nth)
        time.time = lambda: real_time() + jumps.uniform(-1e6, 1e6)
        start = real_monotonic()
        # Monotonic clocks do not run backwards, but a suspended machine makes them leap.
        time.monotonic = lambda: start + (real_monotonic() - start) * 1000
        return
    code = getattr(errno, fault)
    count = 0

    def refusing(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == nth:
                raise OSError(code, os.strerror(code))
            return call(*arguments, **options)

        return wrapped

    os.write = refusing(os.write)
    os.fsync = refusing(os.fsync)
    os.replace = refusing(os.replace)
    Path.write_bytes = refusing(Path.write_bytes)  # type: ignore[method-assign]
    Path.rename = refusing(Path.rename)  # type: ignore[method-assign]


def _fork(work: Callable[[], int]) -> int:
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        # Signals as a fresh program has them.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = work()
    except BaseException:  # noqa: BLE001 - no child may run on as its parent
        traceback.print_exc()
        code = 71
    finally:
        os._exit(code)


def _wait(child: int) -> int:
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)
