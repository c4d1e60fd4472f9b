"""How a job's state is said in the head of a pane."""

from __future__ import annotations

from sekft_tui.reducer import JobView
from sekft_tui.screens.details import wrapped
from sekft_tui.text import visible

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


def hint(job: JobView | None, idle: tuple[str, ...], begun: str, width: int) -> str:
    """What an empty chart or grid says: how far the job is, why it failed, or what to press."""
    if job is not None and job.status == "failed":
        return "\n".join(
            [*wrapped(f"✗ {job.error}", max(20, width - 4))[:6], "", "e shows details"]
        )
    if job is None or not job.active:
        return "\n".join(idle)
    progress = job.progress
    if progress is None:
        return "waiting for the engine" if job.status == "queued" else begun
    count = f" {progress.done}/{progress.total}" if progress.total else ""
    return f"{visible(progress.label)}{count}\n{visible(progress.detail)}"
