"""``sekft resident`` whose ``prepare`` jobs do as their base says: no torch, no weights.

``emit:N`` publishes N events, ``wait`` runs until it is told to stop and says each turn that it is
there, ``full`` lets no file of this process grow any more, and ``fail`` fails.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import cast

from sekft_engine.cli.main import run
from sekft_engine.core.errors import BadInput
from sekft_engine.engine.registry import HANDLERS, Handler
from sekft_engine.records import jobs
from sekft_engine.records.results import PrepareResult
from sekft_engine.work.context import Context, Stopped

PADDING = "x" * 200


def prepare(job: jobs.Prepare, context: Context) -> PrepareResult:
    what, _, argument = job.base.partition(":")
    if what == "emit":
        for number in range(int(argument)):
            context.progress(PADDING, number, int(argument))
    elif what == "wait":
        context.progress("waiting", 0)
        while not context.cancelled():
            context.wait_while_paused()
            time.sleep(0.01)
        if not context.cancelled_now():
            raise Stopped("after its step")
        raise Stopped("at once")
    elif what == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    elif what == "fail":
        raise BadInput("it was asked to fail")
    return PrepareResult(base=job.base)


if __name__ == "__main__":
    cast("dict[type[jobs.Job], Handler]", HANDLERS)[jobs.Prepare] = prepare
    sys.exit(run(["resident", *sys.argv[1:]]))
