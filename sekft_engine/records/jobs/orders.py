"""Orders to the engine, which are carried out while a job runs."""

from __future__ import annotations

from sekft_engine.records.jobs.fields import Job


class Status(Job, frozen=True, kw_only=True, tag="status"):
    """Report what is resident. Answered at once, also while another job runs."""


class Cancel(Job, frozen=True, kw_only=True, tag="cancel"):
    """Cancel the job ``target``; empty = the running one. ``after_step``: let its step finish and
    save. Answered at once."""

    target: str = ""
    after_step: bool = False


class Checkpoint(Job, frozen=True, kw_only=True, tag="checkpoint"):
    """Let the training job ``target`` (empty = the running one) save after its step and continue.
    Answered at once."""

    target: str = ""


class Pause(Job, frozen=True, kw_only=True, tag="pause"):
    """Hold the job ``target`` until :class:`Resume`: the running one (also where ``target`` is
    empty) at its next step, a waiting one in the queue. Answered at once."""

    target: str = ""


class Resume(Job, frozen=True, kw_only=True, tag="resume"):
    """Let a paused or held job continue; ``target`` as in :class:`Pause`. Answered at once."""

    target: str = ""


class Move(Job, frozen=True, kw_only=True, tag="move"):
    """Let the waiting job ``target`` run ``by`` places later; earlier where negative. Answered at
    once."""

    target: str
    by: int
