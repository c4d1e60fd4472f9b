"""What is said when a job has stopped: short, and with the key that resumes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from sekft_engine.records import events
from sekft_engine.records.events import Queued
from sekft_tui.input.actions import key_for
from sekft_tui.text import short_path, visible

#: What people call a job of a kind.
NAMES = {
    "train": "training",
    "find_rate": "the learning-rate search",
    "hand_back": "the model's turn",
    "measure_losses": "measuring losses",
    "prepare": "preparing the base",
    "setup": "set-up",
}


class Stop(NamedTuple):
    """What is true of a job of some kind that is asked to stop.

    Attributes:
        leaving: what the answer to stop it and leave does.
        ending: what it does until it has stopped.
        cancelled: what becomes of its work where it does not end its step.
    """

    leaving: str
    ending: str
    cancelled: str


_STEPS = Stop(
    "stop after this step, save, and leave",
    "ends its step and is saved",
    "the running step is discarded",
)
_EPISODES = "finished episodes are kept"
_MADE = "what it has made is kept"
_OTHER = Stop("stop it, and leave", "stops", "")
#: Only training has steps that can be ended first.
_STOPS = {
    "train": _STEPS,
    "sweep": _STEPS,
    "eval": Stop(f"stop it, and leave; {_EPISODES}", f"stops; {_EPISODES}", _EPISODES),
    "setup": Stop(f"stop it, and leave; {_MADE}", f"stops; {_MADE}", _MADE),
}
_IN_BACKGROUND = "handed to an engine in the background"
#: Kinds of jobs that Runs can resume.
_RESUMED = ("train", "eval", "sweep")
#: How many jobs that never began are named.
MOST_NAMED = 4
_AFTER = re.compile(r"stopped after step (\d+)")


def name_of(kind: str) -> str:
    """What people call a job of this kind."""
    return NAMES.get(kind, kind.replace("_", " "))


def stop_of(kind: str) -> Stop:
    """What stopping a job of this kind means."""
    return _STOPS.get(kind, _OTHER)


def is_handed_over(event: events.JobCancelled, *, handing_over: bool) -> bool:
    """Whether the job ends here because an engine in the background takes it over."""
    from sekft_engine.engine.attached.remote import is_carried, lasts

    return handing_over and (lasts(event.kind) or is_carried(event.kind))


def handed_text(event: events.JobCancelled) -> str:
    """A line about a job that an engine in the background takes over."""
    name = name_of(event.kind)
    if after := _AFTER.search(event.detail):
        return f"{name}: step {after[1]} is saved; {_IN_BACKGROUND}"
    return f"{name}: {_IN_BACKGROUND}"


def release_of(held: int) -> str:
    """Which keys let so many held jobs begin."""
    what = "it" if held == 1 else "each"
    return f"{key_for('global.queue')}, then {key_for('queue.hold')}, releases {what}"


def never_begun(jobs: Sequence[Queued]) -> list[str]:
    """Lines about jobs that waited when their engine ended: which, and what begins them."""
    from sekft_engine.engine.attached.remote import lasts

    if not jobs:
        return []
    named = [f"{name_of(job.kind)} {short_path(visible(job.label))}".rstrip() for job in jobs]
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    lines = [f"Never begun: {', '.join(named[:MOST_NAMED])}{more}."]
    kept = sum(lasts(job.kind) for job in jobs)
    if kept:
        them = "it" if kept == 1 else f"these {kept}" if kept < len(jobs) else "them"
        lines.append(f"The next engine holds {them} in its queue: {release_of(kept)}.")
    if kept < len(jobs):
        lines.append("What it does not hold is to be started again.")
    return lines


def stopped_text(event: events.JobCancelled) -> str:
    """A line about a job that was stopped."""
    name, detail = name_of(event.kind), event.detail.strip()
    if detail == events.NOT_BEGUN:
        return f"{name} was removed from the queue"
    if detail.startswith(events.NOT_BEGUN):
        offered = detail.endswith(events.OFFERED)
        why = detail.removeprefix(events.NOT_BEGUN).removesuffix(events.OFFERED).strip(" :;")
        later = f"the next engine holds it ({release_of(1)})" if offered else "start it again"
        return f"{name} never began{': ' * bool(why)}{why}; {later}"
    if detail.startswith("this engine has not got it"):  # whether there is a run is not known
        return f"{name} of an earlier process is over; if it had a run, Runs says how it ended"
    resume = f"; {key_for('runs.resume')} in Runs resumes" if event.kind in _RESUMED else ""
    after = _AFTER.search(detail)
    if after:
        return f"{name} stopped after step {after[1]}; saved{resume}"
    if detail.startswith("eval stopped"):  # which goes on with a flag for the command line
        detail = ""
    detail = detail.removeprefix(f"{name} stopped").lstrip(" ;:")
    return f"{name} stopped{': ' * bool(detail)}{detail}{resume}"
