"""Texts about a job's state: for the head of a pane, an empty pane and the tab bar."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from sekft_engine.data.workspace import Workspace
from sekft_engine.records.events import Progress, Queued
from sekft_tui.input.actions import key_for
from sekft_tui.model.endings import release_of
from sekft_tui.model.reducer import JobView, Shared
from sekft_tui.text import duration, percent, short_path, visible

if TYPE_CHECKING:
    from sekft_engine.records.results import LoadResult
    from sekft_engine.records.runs import RunInfo

#: From so many pieces on, a share is said of them.
_MANY = 10_000
_STATES = {
    "queued": ("… queued", "quiet"),
    "held": ("‖ held", "quiet"),
    "running": ("▸ running", "accent"),
    "pausing": ("‖ pausing", "warn"),
    "paused": ("‖ paused", "warn"),
    "stopping": ("■ stopping", "warn"),
    "done": ("✓ done", "good"),
    "failed": ("✗ failed", "bad"),
    "died": ("† died", "bad"),
    "cancelled": ("■ stopped", "warn"),
}


def state_text(job: JobView | None, *, loaded: bool, elsewhere: bool = False) -> tuple[str, str]:
    """Text and style of a job's state; without a job, whether a run was ``loaded`` from disk, and
    whether it runs ``elsewhere``, in another process."""
    if job is None and elsewhere:
        return "▸ in another process", "accent"
    if job is None:
        return ("from its journal" if loaded else "", "quiet")
    return job_state("died" if job.died else job.status)


def job_state(status: str) -> tuple[str, str]:
    """Text and style of a status."""
    return _STATES.get(status, (status, "quiet"))


def hint(job: JobView | None, idle: tuple[str, ...], begun: str, since: float = 0.0) -> str:
    """The text of an empty chart or grid: the job's progress, its error, or which key to press.
    Who draws it wraps it.

    Args:
        idle: the lines where nothing is at work.
        begun: what the job is at where it does not say so.
        since: when it began that, in seconds since the epoch; 0 = with the job.
    """
    if job is not None and job.status == "failed":
        return f"✗ {job.error}\n\n{key_for('global.details')} shows details"
    if job is None or not job.active:
        return "\n".join(idle)
    progress = job.progress
    if progress is None and job.status == "queued":
        return "waiting for the engine"
    since = job.started if progress is not None else since or job.started
    clock = f"  {duration(job.worked(since, time.time()))}" if since else ""
    if progress is None:
        return f"{begun}{clock}"
    return f"{labelled(progress)}{clock}\n{visible(progress.detail)}"


def count_text(progress: Progress) -> str:
    """How much of a task is done: a number of pieces, or a share where they are very many, as bytes
    are; "" = nobody knows."""
    if progress.total >= _MANY:
        return percent(progress.done, progress.total)
    if progress.total:
        return f"{progress.done}/{progress.total}"
    return str(progress.done) if progress.done else ""


def labelled(progress: Progress) -> str:
    """What a task does, and how much of it is done: ``reading 3/16``."""
    count = count_text(progress) if progress.total else ""
    return f"{visible(progress.label)} {count}".rstrip()


def demo_job(shared: Shared) -> JobView | None:
    """The job that makes the demo; of several the newest. None = there was none."""
    return next((job for job in reversed(shared.jobs.values()) if job.kind == "setup"), None)


def demo_made(shared: Shared) -> str:
    """A line about the demo while it is being made, and which key shows more; else "" """
    job = demo_job(shared)
    if job is None or not job.active:
        return ""
    far = "it begins" if job.status == "running" else "it waits for another job"
    if job.progress is not None:
        far = labelled(job.progress)
    return f"the demo is being made: {far} ({key_for('global.demo-progress')} shows it)"


def demo_left(place: Workspace) -> str:
    """A line about a demo that was begun in this workspace and is not whole, and the way on; "" =
    there is none. Reads the disk."""
    from sekft_engine import demo

    match demo.unfinished(place):
        case "being made":
            again = key_for("global.reload")
            return f"the demo is being made in another process; {again} reads what is there"
        case "interrupted":
            key = key_for("global.demo-progress")
            return f"making the demo here was interrupted; {key} goes on with it"
    return ""


def no_base(place: Workspace, being_made: str) -> str:
    """That a workspace has no base, and what gives it one.

    Args:
        being_made: what :func:`demo_made` says.
    """
    if being_made:
        return f"no base yet; {being_made}"
    return str(place.no_base())


def no_worlds(being_made: str) -> str:
    """That a workspace has no held-out worlds, and what makes some; ``being_made`` as above."""
    if being_made:
        return f"no worlds yet; {being_made}"
    return "no worlds in scenarios/holdout of this workspace; sekft factory make makes some"


def _short(progress: Progress) -> str:
    """How far a job is, in a few words: with the time that is left where that is known."""
    if not progress.left:
        return labelled(progress)
    share = percent(progress.done, progress.total)
    return f"{visible(progress.label).partition(' ')[0]} {share}, {duration(progress.left)} left"


def _phase(job: JobView) -> str:
    """What a training that has steps does between them, and how far that is; "" = nothing long."""
    now = job.progress
    if now is None or not now.total:
        return ""
    return f" {visible(now.label).partition(' ')[0]} {now.done}/{now.total}"


def engine_text(shared: Shared, elsewhere: RunInfo | None = None) -> tuple[str, str]:
    """What the engine is doing, in a few words, and their style; where it does nothing, that
    another process writes the run ``elsewhere``."""
    job = shared.active
    if job is None and elsewhere is not None:
        return f"▸ {visible(elsewhere.kind)} elsewhere", "accent"
    if job is None:
        return "idle", "quiet"
    progress = ""
    counts = shared.train.newest_batch and not shared.train.resuming
    if job.kind in ("train", "sweep") and counts:
        progress = f" {shared.train.step}/{shared.train.total}{_phase(job)}"
    elif job.kind == "eval" and shared.eval.scenarios:
        progress = f" {shared.eval.done}/{shared.eval.total}"
    elif job.kind == "find_rate" and len(shared.rate):
        progress = f" {shared.rate.step}/{shared.rate.steps}"
    elif job.progress is not None:
        progress = f" {_short(job.progress)}"
    glyph = {"pausing": "‖", "paused": "‖", "queued": "…", "stopping": "■"}.get(job.status, "▸")
    queue = shared.queue.waiting if shared.queue is not None else []
    behind = sum(not waiting.held and waiting.id != job.id for waiting in queue)
    more = f" +{behind}" if behind else ""
    return f"{glyph} {job.kind.replace('_', ' ')}{progress}{more}", "accent"


def engine_run(shared: Shared, elsewhere: RunInfo | None = None) -> str:
    """The run that is written, by the engine's job or ``elsewhere``; "" = none."""
    job = shared.active
    if job is None:
        return elsewhere.id if elsewhere is not None else ""
    runs = (shared.train, shared.eval)
    return next((view.run for view in runs if view.job == job.id), "")


def resumed_run(job: Queued) -> str:
    """The run that a job of the queue resumes; "" = it begins a new one."""
    return Path(str(job.spec.get("out", ""))).name if job.resumes else ""


def next_run(shared: Shared, kinds: tuple[str, ...], new: str) -> str:
    """A line about the first run of these kinds that is to begin; "" = there is none.

    Args:
        new: what it is called where it has no name yet.
    """
    queue = shared.queue
    if queue is None:
        return ""
    running, waiting = queue.running, queue.waiting
    if running is not None and running.kind in kinds:
        return f"{visible(resumed_run(running)) or new} is being prepared"
    found = next((job for job in waiting if job.kind in kinds), None)
    if found is None:
        return ""
    how = "is held" if found.held else "waits"
    return f"{visible(resumed_run(found)) or new} {how} in the queue"


def queued_text(job: Queued, held: LoadResult | None, *, active: bool) -> str:
    """What a job of the queue is about. An adapter is called as its run, as it is in reports; the
    number of a run that has not begun is not known yet.

    Args:
        held: what the engine has loaded; None = nothing.
        active: it is at work.
    """
    out = str(job.spec.get("out") or "")
    if out and (job.resumes or active):
        return visible(Path(out).name)  # its run
    if job.kind == "train" and (name := str(job.spec.get("name") or "")):
        return visible(f"…-{job.kind}-{name}")
    if job.kind in ("swap", "drop", "rename") and held is not None:
        return visible(held.called(job.label))
    return short_path(job.label) if job.label.startswith("/") else visible(job.label)


def begun_elsewhere(run: str, step: int = 0) -> str:
    """A line about a run of which another process has written nothing to show yet.

    Args:
        step: the one that is in training; 0 = none has begun.
    """
    doing = f"at step {step}" if step else "being prepared"
    return f"{visible(run)} is {doing} in another process"


def left_over(shared: Shared) -> str:
    """A line about the demo that is being made, or about jobs that an earlier session left waiting;
    "" = there are none."""
    if making := demo_made(shared):
        return making
    waiting = shared.queue.waiting if shared.queue is not None else []
    held = sum(job.held for job in waiting)
    if not held:
        return ""
    jobs = "1 job is" if held == 1 else f"{held} jobs are"
    return f"{jobs} held: {release_of(held)}"
