"""What the engine before this one did, where the present one does not know of it."""

from __future__ import annotations

from dataclasses import replace

from sekft_tui.model.reducer import JobView, Shared


def carry(old: Shared, new: Shared) -> None:
    """Show in ``new`` the last run and eval of ``old``, unless it has newer ones or is at work on
    one; and beside a sweep that was handed over, the runs that it had finished.

    Ids of jobs begin again with each engine, so those from before get other ones.
    """
    if _is_newer(old, old.train.job, new, new.train.job) and old.train.run:
        new.train, new.earlier = old.train, old.earlier
        new.train.job = _job(old, old.train.job, new)
    elif new.train.job == old.train.job and _kind(new, new.train.job) == "sweep":
        known = {run.path for run in (*new.earlier, new.train)}
        before = [run for run in (*old.earlier, old.train) if run.run and run.path not in known]
        new.earlier = [*before, *new.earlier]
    if _is_newer(old, old.eval.job, new, new.eval.job) and old.eval.run:
        new.eval = old.eval
        new.eval.job = _job(old, old.eval.job, new)
    if _is_newer(old, old.rate.job, new, new.rate.job) and len(old.rate):
        new.rate = old.rate
        new.rate.job = _job(old, old.rate.job, new)
    new.version += 1


def _is_newer(old: Shared, old_job: str, new: Shared, new_job: str) -> bool:
    """Whether the old job has ended, and began after the new one, which has ended too."""
    one, other = old.jobs.get(old_job), new.jobs.get(new_job)
    if one is None or one.active:
        return False
    return other is None or (not other.active and one.started > other.started)


def _job(old: Shared, job: str, new: Shared) -> str:
    """Take a job over, under an id that the new engine does not give; returns the id."""
    view = old.jobs[job]
    carried: JobView = replace(view, id=f"{view.id} before")
    new.jobs[carried.id] = carried
    return carried.id


def _kind(shared: Shared, job: str) -> str:
    found = shared.jobs.get(job)
    return found.kind if found is not None else ""
