"""What is in the pictures: a finished eval on disk, and a search for a learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events
from sekft_engine.records.events import Event
from tests.tui.scripted import evaluation
from tests.tui.stored import stored_episode, stored_run

PROMPT = "user@box:~$"
#: A file that only the first subject left in its world.
_LEFT = {"changed": {"/home/user/done2": {"kind": "file", "mode": "0644"}}}


def stored_eval(workspace: Workspace) -> Path:
    """Two subjects in the same two worlds: one makes the wrong file, the other solves it."""
    outcomes = {"base": ["unverified", "cap"], "tuned": ["good", "good"]}
    subjects = [
        {"name": "base", "n": 2, "clean_termination": 1},
        {"name": "tuned", "n": 2, "clean_termination": 2},
    ]
    run = stored_run(
        workspace, "001-eval", evaluation(outcomes, 2, run="001-eval"), kind="eval",
        result={"subjects": subjects}, scenarios=str(workspace.holdout_scenarios),
    )  # fmt: skip
    shown = ("warden", f"make the file done, then exit\n{PROMPT}")
    for number in range(2):
        world = f"held-{number:03}"
        wrong, right = ("touch done2", PROMPT), ("touch done", PROMPT)
        failed: dict[str, Any] = {
            "checker": {"status": 1, "output": "done is not there\n"},
            "final_state": _LEFT,
        }
        passed: dict[str, Any] = {"checker": {"status": 0, "output": ""}}
        stored_episode(run, "base", world, shown, wrong, ("exit", ""), verified=False, **failed)
        stored_episode(run, "tuned", world, shown, right, ("exit", ""), **passed)
    return run


def unlike_what_was_recorded(workspace: Workspace) -> Path:
    """An episode whose world answers otherwise today."""
    run = stored_run(workspace, "002-eval", (), kind="eval")
    turns = (("bin/warden", f"make the folder done\nthen leave\n{PROMPT}"), ("exit", ""))
    return stored_episode(run, "base", "held-000", *turns)


def rate_search(job: str, steps: int = 60, upto: int = 0) -> Iterable[Event]:
    """The steps of a search: the loss falls, and then flies away."""
    yield events.JobStarted(job=job, kind="find_rate", t=1.0)
    for step in range(1, (upto or steps) + 1):
        rate = 1e-6 * 10 ** (5 * step / steps)
        share = 1 - 0.5 / (1 + math.exp(6 - step / 5)) + math.exp((step - 56) / 3)
        yield events.RateTried(
            job=job, step=step, steps=steps, lr=rate, share=share, smooth=share * 1.01
        )
    if not upto:
        yield events.JobDone(job=job, kind="find_rate", result={"suggested": 0.0021})


def empty(folder: Path) -> Workspace:
    """A workspace with nothing to show, which somebody has begun to fill: an untouched one offers
    more."""
    made = Workspace(folder / "empty").create()
    (made.bases / "README").write_text("")
    return made
