"""How a job's state is said in the head of a pane."""

from __future__ import annotations

from sekft_tui.reducer import JobView

_STATES = {
    "queued": ("… queued", "quiet"),
    "running": ("▸ running", "accent"),
    "paused": ("‖ paused", "warn"),
    "stopping": ("■ stopping", "warn"),
    "done": ("✓ done", "good"),
    "failed": ("✗ failed", "bad"),
    "cancelled": ("■ stopped", "warn"),
}


def state_text(job: JobView | None, *, loaded: bool) -> tuple[str, str]:
    """Text and style; without a job, whether something was ``loaded`` from a journal."""
    if job is None:
        return ("from its journal" if loaded else "", "quiet")
    return _STATES[job.status]
