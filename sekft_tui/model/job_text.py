"""Texts about a job's state: for the head of a pane, an empty pane and the tab bar."""

from __future__ import annotations

import time

from sekft_engine.records.events import Progress
from sekft_tui.input.actions import key_for
from sekft_tui.model.reducer import JobView, Shared
from sekft_tui.text import duration, percent, visible, wrapped

_STATES = {
    "queued": ("… queued", "quiet"),
    "held": ("‖ held", "quiet"),
    "running": ("▸ running", "accent"),
    "pausing": ("‖ pausing", "warn"),
    "paused": ("‖ paused", "warn"),
    "stopping": ("■ stopping", "warn"),
    "done": ("✓ done", "good"),
    "failed": ("✗ failed", "bad"),
    "cancelled": ("■ stopped", "warn"),
}

#: From so many on, things are told as a share.
_COUNTED = 1_000_000


def state_text(job: JobView | None, *, loaded: bool, elsewhere: bool = False) -> tuple[str, str]:
    """Text and style of a job's state; without a job, whether a run was ``loaded`` from disk, and
    whether it runs ``elsewhere``, in another process."""
    if job is None and elsewhere:
        return "▸ in another process", "accent"
    if job is None:
        return ("from its journal" if loaded else "", "quiet")
    return job_state(job.status)


def job_state(status: str) -> tuple[str, str]:
    """Text and style of a status."""
    return _STATES.get(status, (status, "quiet"))


def hint(
    job: JobView | None, idle: tuple[str, ...], begun: str, width: int, since: float = 0.0
) -> str:
    """The text of an empty chart or grid: the job's progress, its error, or which key to press.

    Args:
        idle: the lines where nothing is at work.
        begun: what the job is at where it does not say so.
        since: when it began that, in seconds since the epoch; 0 = with the job.
    """
    if job is not None and job.status == "failed":
        return "\n".join(
            [
                *wrapped(f"✗ {job.error}", max(20, width - 4))[:6],
                "",
                f"{key_for('global.details')} shows details",
            ]
        )
    if job is None or not job.active:
        return "\n".join(idle)
    progress = job.progress
    if progress is None and job.status == "queued":
        return "waiting for the engine"
    since = job.started if progress is not None else since or job.started
    clock = f"  {duration(job.worked(since, time.time()))}" if since else ""
    if progress is None:
        return f"{begun}{clock}"
    return f"{visible(progress.label)}{share_text(progress)}{clock}\n{visible(progress.detail)}"


def share_text(progress: Progress) -> str:
    """How far a task is, with a blank before it: ``3/16``, or the share where what is counted is
    too much for anyone to read, as bytes are. "" = not known."""
    if not progress.total:
        return ""
    if progress.total >= _COUNTED:
        return f" {percent(progress.done, progress.total)}"
    return f" {progress.done}/{progress.total}"


def _short(progress: Progress) -> str:
    """How far a job is, in a few words: with the time that is left where that is known."""
    label = visible(progress.label)
    if not progress.left:
        return label
    share = percent(progress.done, progress.total)
    return f"{label.partition(' ')[0]} {share}, {duration(progress.left)} left"


def engine_text(shared: Shared) -> tuple[str, str]:
    """What the engine is doing, in a few words, and their style."""
    job = shared.active
    if job is None:
        return "idle", "quiet"
    progress = ""
    if job.kind in ("train", "sweep") and shared.train.newest_batch:
        progress = f" {shared.train.step}/{shared.train.total}"
    elif job.kind == "eval" and shared.eval.scenarios:
        progress = f" {shared.eval.done}/{shared.eval.total}"
    elif job.kind == "find_rate" and len(shared.rate):
        progress = f" {shared.rate.step}/{shared.rate.steps}"
    elif job.progress is not None:
        progress = f" {_short(job.progress)}"
    glyph = {"pausing": "‖", "paused": "‖", "queued": "…", "stopping": "■"}.get(job.status, "▸")
    queue = shared.queue
    waiting = sum(not job.held for job in queue.waiting) if queue is not None else 0
    more = f" +{waiting}" if waiting else ""
    return f"{glyph} {job.kind.replace('_', ' ')}{progress}{more}", "accent"


def engine_run(shared: Shared) -> str:
    """The run that the engine's job writes; "" = none."""
    job = shared.active
    if job is None:
        return ""
    runs = (shared.train, shared.eval)
    return next((view.run for view in runs if view.job == job.id), "")


def left_over(shared: Shared) -> str:
    """A line about jobs that an earlier session left waiting; "" = there are none."""
    waiting = shared.queue.waiting if shared.queue is not None else []
    held = sum(job.held for job in waiting)
    if not held:
        return ""
    jobs = "1 job is" if held == 1 else f"{held} jobs are"
    return f"{jobs} held ({key_for('global.queue')} shows the queue)"
