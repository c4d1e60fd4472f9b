"""A process that trains on the simulated device, to be killed: it names each step that is done.

``python -m tests.accelerator.killed JOB`` takes a job as JSON. It goes no further than the step
after the one at which it is to be killed.
"""

from __future__ import annotations

import sys
import threading

import msgspec

from sekft_engine.engine.run_job import run_job
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from sekft_engine.training.run import session
from tests.accelerator import simulated

SAVE_EVERY_STEPS = 2
#: It is killed when it has said that this step is done, while it computes the next one.
KILLED_AFTER = 3


def tell(event: Event) -> None:
    """Print the number of a step that is done."""
    if isinstance(event, events.StepDone):
        print(event.step, flush=True)
        if event.step > KILLED_AFTER:
            threading.Event().wait()


if __name__ == "__main__":
    simulated.set_up()
    session.SAVE_EVERY_STEPS = SAVE_EVERY_STEPS
    run_job(msgspec.json.decode(sys.argv[1], type=jobs.Train), None, tell)
