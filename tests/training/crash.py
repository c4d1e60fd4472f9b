"""Runs that are killed or refused by the disk at random, and what resuming them gives.

One process loads torch once and forks for each attempt, so that a hundred trials take minutes. A
child trains until it is hit; another one resumes the run; and they share nothing but the disk.
Children compute in several threads, as users do, and :func:`busy_processes` takes the processor
away from them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from sekft_engine.core.errors import SekftError
from sekft_engine.data.recipe import Recipe
from sekft_engine.engine.engine import Engine
from sekft_engine.engine.run_job import run_job
from sekft_engine.engine.server import serve_lines
from sekft_engine.records import events, jobs
from sekft_engine.records.adapters import adapter_digest
from sekft_engine.records.journal import effective_events
from sekft_engine.records.runs import read_events, read_run
from sekft_engine.training.run import checkpoint, session
from sekft_engine.training.run.checkpoint import newest_checkpoint
from sekft_engine.training.trainer import batches
from sekft_engine.work.context import Stopped

Fault = Literal[
    "kill", "kill in a write", "SIGTERM", "SIGINT", "SIGHUP", "ENOSPC", "EIO", "full disk",
    "file limit", "full mailbox", "clock",
]  # fmt: skip
#: ``ENOSPC`` and ``EIO`` are injected; a ``full disk`` is a real one, as small as it takes.
FAULTS: tuple[Fault, ...] = (
    "kill", "kill in a write", "SIGTERM", "SIGINT", "SIGHUP", "ENOSPC", "EIO", "full disk",
    "file limit", "full mailbox", "clock",
)  # fmt: skip

#: Dropout is on, so that the random generators matter; checkpoints are frequent.
RECIPE = Recipe(
    rank=4, alpha=8, lr=0.01, dropout=0.1, batch=2, micro_batch=2, epochs=2, heldout=0.2,
    heldout_every=3, token_losses=0,
)  # fmt: skip
_SAVE_EVERY_STEPS = 2
#: In how many threads a child computes.
THREADS = 2
#: Where a child leaves the digest of a run's last checkpoint.
STATE = "last-state"


class Outcome(msgspec.Struct, frozen=True):
    """Everything that must be the same to the bit: the adapter's digest, that of its optimiser and
    generators, and the steps (with their trajectories in order) and held-out losses that the
    journal counts."""

    adapter: str
    state: str
    journal: list[tuple[Any, ...]]


def outcome(run: Path) -> Outcome:
    """What a finished run left."""
    told: list[tuple[Any, ...]] = []
    for event in effective_events(read_events(run / "events.jsonl")):
        if isinstance(event, events.StepDone):
            told.append(
                ("step", event.step, event.loss, event.grad_norm, event.lr, tuple(event.rows))
            )
        elif isinstance(event, events.HeldoutDone):
            told.append(("heldout", event.step, event.loss))
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
        code = _attempt(base, data, run, fault, moments, longest, resume=number > 0)
        if code == 0:
            break
        hits += 1
    if not (run / "run.json").exists() or read_run(run).status != "done":
        finish(base, data, run, resume=True)
    return hits or fault == "clock"


def _attempt(
    base: Path,
    data: Path,
    run: Path,
    fault: Fault,
    moments: random.Random,
    longest: float,
    *,
    resume: bool,
) -> int:
    """One process that trains and is hit; returns how it ended, 0 = it came to its end."""
    work = partial(_train, base, data, run, resume=resume)
    if fault in ("kill", "full mailbox", "SIGTERM", "SIGINT", "SIGHUP"):
        if fault == "full mailbox":
            work = partial(_serve, base, data, run, resume=resume)
        child = _fork(work)
        time.sleep(moments.random() * longest)
        os.kill(child, getattr(signal, fault, signal.SIGKILL))
        return _wait(child)
    if fault == "full disk":
        with _room(run, moments.randrange(16, 400)):
            return _wait(_fork(work))
    if fault == "file limit":
        most = moments.randrange(4_000, 200_000)
        limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (most, most))
        return _wait(_fork(partial(work, spoil=limit)))
    spoil = partial(_spoil, fault, moments.randrange(1, 90))
    return _wait(_fork(partial(work, spoil=spoil)))


def _train(
    base: Path,
    data: Path,
    run: Path,
    *,
    resume: bool,
    spoil: Callable[[], None] = lambda: None,
) -> int:
    job = _job(base, data, run, resume)
    spoil()
    try:
        run_job(job)
    except Stopped:
        return 130
    except SekftError:
        return 1
    return 0


def _serve(base: Path, data: Path, run: Path, *, resume: bool) -> int:
    """A resident process that is asked thousands of things, and whose answers nobody reads."""
    asked = [msgspec.json.encode(_job(base, data, run, resume))]
    for _ in range(1000):
        asked += [b'{"job":"status"}', b'{"job":"checkpoint"}']
    with tempfile.TemporaryFile() as commands:
        commands.write(b"\n".join(asked) + b"\n")
        commands.seek(0)
        _, mailbox = os.pipe()

        def tell(line: bytes) -> None:
            os.write(mailbox, line)

        serve_lines(commands.fileno(), tell, Engine(nice=0).start())
    return 0 if read_run(run).status == "done" else 1


def _job(base: Path, data: Path, run: Path, resume: bool) -> jobs.Train:
    """The job of every attempt; what the child needs is set on the way."""
    session.SAVE_EVERY_STEPS = _SAVE_EVERY_STEPS
    batches.MAX_OVERHEAD = (
        1.99  # two parts in parallel, whether or not it pays for rows as short as these
    )
    _use_threads()

    def remember(folder: Path) -> None:
        """Look at the last checkpoint before the run lets it go."""
        (folder / STATE).write_text(_last_state(folder))
        checkpoint.drop_checkpoints(folder)

    setattr(session, "refuse_lack_of_room", lambda *_, **__: None)  # noqa: B010 - to run out of it
    setattr(session, "drop_checkpoints", remember)  # noqa: B010 - it is imported there
    return jobs.Train(base=str(base), data=str(data), out=str(run), recipe=RECIPE, resume=resume)


def _use_threads() -> None:
    """Compute in :data:`THREADS` threads, which the child must start itself: its parent has none,
    for they do not survive a fork."""
    import torch

    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    torch.set_num_threads(THREADS)


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """A context beside which ``count`` processes compute without a pause."""
    work = f"import os\nwhile os.getppid() == {os.getpid()}: sum(range(100_000))"
    others = [subprocess.Popen([sys.executable, "-c", work]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def can_fill_disks() -> bool:
    """Whether this user may mount a file system."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=16k", "sekft-trial", folder],
            capture_output=True,
            check=False,
        )
        if done.returncode == 0:
            subprocess.run(["umount", folder], check=True)
    return done.returncode == 0


@contextlib.contextmanager
def _room(run: Path, kib: int) -> Iterator[None]:
    """The run's folder as a disk of so many KiB beyond what is there already."""
    run.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as kept:
        shutil.copytree(run, kept, dirs_exist_ok=True, symlinks=True)
        size = kib + 4 * sum(-(-path.stat().st_size // 4096) for path in run.rglob("*"))
        options = ["-t", "tmpfs", "-o", f"size={size}k"]
        subprocess.run(["mount", *options, "sekft-trial", str(run)], check=True)
        try:
            shutil.copytree(kept, run, dirs_exist_ok=True)
            yield
            shutil.rmtree(kept)
            shutil.copytree(run, kept)
        finally:
            subprocess.run(["umount", str(run)], check=True)
        shutil.rmtree(run)
        shutil.copytree(kept, run)


def _state_digest(tensors: dict[str, Any]) -> str:
    import hashlib

    total = hashlib.sha256()
    for key in sorted(tensors):
        total.update(key.encode())
        total.update(tensors[key].contiguous().numpy().tobytes())
    return total.hexdigest()


def _spoil(fault: Fault, nth: int) -> None:
    """At the ``nth`` file operation the disk refuses, or the process is killed with half of it
    done; or the clock jumps."""
    if fault == "clock":
        real_time, real_monotonic = time.time, time.monotonic
        jumps = random.Random(nth)
        time.time = lambda: real_time() + jumps.uniform(-1e6, 1e6)
        start = real_monotonic()
        # Monotonic clocks do not run backwards, but a suspended machine makes them leap.
        time.monotonic = lambda: start + (real_monotonic() - start) * 1000
        return
    count = 0

    def spoilt(call: Callable[..., Any], half: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            if count != nth:
                return call(*arguments)
            if fault == "kill in a write":
                half(*arguments)
                os.kill(os.getpid(), signal.SIGKILL)
            code = getattr(errno, fault)
            raise OSError(code, os.strerror(code))

        return wrapped

    write, write_bytes = os.write, Path.write_bytes
    os.write = spoilt(write, lambda fd, data: write(fd, data[: len(data) // 2]))
    Path.write_bytes = spoilt(  # type: ignore[method-assign]
        write_bytes, lambda path, data: write_bytes(path, data[: len(data) // 2])
    )
    os.fsync = spoilt(os.fsync, lambda _fd: None)
    os.replace = spoilt(os.replace, lambda _old, _new: None)
    Path.rename = spoilt(Path.rename, lambda _old, _new: None)  # type: ignore[method-assign]


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
