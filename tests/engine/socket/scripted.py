"""``sekft resident`` whose jobs do as they are told: no torch, no weights.

A ``prepare`` job does as its base says: ``emit:N`` publishes N events, ``wait`` runs until it is
told to stop and says each turn that it is there, ``hang:N`` holds the interpreter for N seconds,
``full`` lets no file of this process grow any more, and ``fail`` fails. A ``train`` job takes
``max_steps`` steps, or with 0 steps until it is told to stop, and a ``load`` job says that it began
and lasts as long.
"""

from __future__ import annotations

import ctypes
import random
import resource
import sys
import time
from pathlib import Path
from typing import cast

from sekft_engine.cli.main import run
from sekft_engine.core.errors import BadInput
from sekft_engine.engine.registry import HANDLERS, Handler
from sekft_engine.records import events, jobs
from sekft_engine.records.results import LoadResult, PrepareResult
from sekft_engine.records.trainings import Losses, TrainResult
from sekft_engine.work.context import Context, Stopped
from sekft_engine.work.loading import Loading, told

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
    elif what == "hang":
        ctypes.PyDLL(None).sleep(int(argument))
    elif what == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    elif what == "fail":
        raise BadInput("it was asked to fail")
    return PrepareResult(base=job.base)


def load(job: jobs.Load, context: Context) -> LoadResult:
    loading = Loading(Path(job.base).name, 2_000_000_000)
    with told(loading, context.emit):
        time.sleep(0.05)
        loading.read(500_000_000)
        while not context.cancelled():
            time.sleep(0.01)
    raise Stopped("nothing was loaded")


def train(job: jobs.Train, context: Context) -> TrainResult:
    if job.resume:
        run = context.reopen_run(Path(job.out))
    else:
        run = context.open_run("train", about={"recipe": {"rank": 16}}, out=job.out, name=job.name)
    dice = random.Random(run.id)
    step, steps = 0, job.recipe.max_steps or 1000
    loss = 3.0

    def result() -> TrainResult:
        losses = Losses(first=3.0, last=loss)
        return TrainResult(run=run.id, path=str(run.folder), steps=step, loss=losses)

    while step < job.recipe.max_steps or not job.recipe.max_steps:
        context.wait_while_paused()
        if context.cancelled():
            raise Stopped("stopped after its step", result=result())
        step += 1
        loss = 3.0 / step + dice.random()
        context.emit(
            events.StepDone(
                job="", step=step, steps=steps, epoch=step / steps, loss=loss, lr=1e-3,
                grad_norm=dice.random(), trained_tokens=9 * step, tokens=50 * step,
                tokens_per_s=100.0, seconds=0.01, eta_s=0.01 * (steps - step),
            )
        )  # fmt: skip
        time.sleep(0.01 if not job.recipe.max_steps else 0)
    return result()


if __name__ == "__main__":
    handlers = cast("dict[type[jobs.Job], Handler]", HANDLERS)
    handlers |= {jobs.Prepare: prepare, jobs.Train: train, jobs.Load: load}
    sys.exit(run(["resident", *sys.argv[1:]]))
