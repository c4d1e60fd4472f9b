"""The train job: data in, a run with an adapter out."""

from __future__ import annotations

import importlib.metadata
import math
import platform
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine import events, jobs
from sekft_engine.adapters import AdapterMeta
from sekft_engine.base import ResidentBase, render_digests
from sekft_engine.bases import base_digest, resolve_base
from sekft_engine.bases.store import digest_memo
from sekft_engine.context import Context, Stopped
from sekft_engine.dialect import DEFAULT_DIALECT
from sekft_engine.errors import BadInput, SekftError
from sekft_engine.explain import known_error
from sekft_engine.recipe import Recipe
from sekft_engine.render import ChatTokenizer
from sekft_engine.runs import Run
from sekft_engine.sft.batches import plan_steps
from sekft_engine.sft.checkpoint import (
    Checkpoint,
    Counts,
    drop_checkpoints,
    newest_checkpoint,
    write_checkpoint,
)
from sekft_engine.sft.data import Data, load_data
from sekft_engine.sft.loop import Abandoned, Diverged, Step, Trainer, mean_rate
from sekft_engine.sft.measure import choose_measured
from sekft_engine.sft.measure_job import measure_rows
from sekft_engine.sft.resume import earlier_run, other_versions, refuse_other
from sekft_engine.sft.watch import Watch

#: The adapter on disk is never older than this, so that a killed run leaves something of use.
SAVE_EVERY_STEPS = 20
SAVE_EVERY_S = 60.0


def run_train(job: jobs.Train, context: Context) -> dict[str, Any]:
    """Fine-tune an adapter; everything that can be refused is, before anything is written."""
    workspace, recipe = context.workspace, job.recipe
    folder = resolve_base(job.base, workspace, report=context.progress)
    _refuse_taken_name(job.name, context.base)
    earlier = earlier_run(job)
    tokenizer = ChatTokenizer.load(folder)
    data = load_data(
        job.data,
        job.hub,
        tokenizer,
        recipe,
        lambda done, total: context.progress("rendering", done, total),
    )
    steps = plan_steps(len(data.train), recipe)
    about = {"recipe": msgspec.to_builtins(recipe), "data": job.data or job.hub}
    meta = AdapterMeta(
        name=job.name,
        base=folder.name,
        base_digest=base_digest(folder, digest_memo()),
        render=render_digests(tokenizer),
        dialect=msgspec.to_builtins(workspace.dialect if workspace else DEFAULT_DIALECT),
        recipe=about["recipe"],
        data={"from": job.data or job.hub, "sha256": data.digest, "kept": len(data.train)},
        versions=versions(),
    )
    facts = _facts(meta, str(folder), data, job)
    checkpoint = None
    if earlier is None:
        run = context.open_run("train", about=about, out=job.out, name=job.name)
        run.write(facts=facts)
    else:
        refuse_other(earlier, facts, recipe)
        if changed := other_versions(earlier, meta.versions):
            context.log(f"{changed}: it may not end in the same bits", "warning")
        checkpoint = newest_checkpoint(Path(earlier.path))
        run = context.reopen_run(Path(earlier.path))
    meta = msgspec.structs.replace(meta, name=job.name or run.id, run=run.id)
    context.emit(
        events.RowsReady(
            job="",
            kept=len(data.train) + len(data.heldout),
            dropped=data.dropped,
            tokens=data.tokens,
            trained_tokens=data.trained_tokens,
            heldout=len(data.heldout),
            steps=len(steps),
        )
    )
    base = context.load_base(str(folder), job.load_4bit)
    name = job.name or _free_name(run.id, base)
    base.new_adapter(name, recipe)
    session = _Session(context, run, base, name, data, meta)
    try:
        if earlier is not None:
            session.go_on(checkpoint)
        return session.train()
    finally:
        session.trainer.close()
        if not session.saved_step:  # weights that no one has trained are of no use to anyone
            base.drop(name)


class _Session:
    """One run of the loop, with its events and saves."""

    def __init__(
        self,
        context: Context,
        run: Run,
        base: ResidentBase,
        name: str,
        data: Data,
        meta: AdapterMeta,
    ) -> None:
        self.context = context
        self.run = run
        self.base = base
        self.name = name
        self.data = data
        self.meta = meta
        recipe = context.job.recipe if isinstance(context.job, jobs.Train) else Recipe()
        self.trainer = Trainer(base, name, data, recipe, leave=context.cancelled_now)
        self.recipe = recipe
        self.began = time.monotonic()
        self.first: float | None = None
        self.last: float | None = None
        self.heldout: float | None = None
        self.trained_tokens = 0
        self.saved_step = 0
        self._resumed = False
        self._saved_at = time.monotonic()
        self._recent: deque[Step] = deque(maxlen=10)
        self._digest = ""
        self.token_losses: dict[str, Any] | None = None
        self._watch = Watch(context, base)

    def go_on(self, checkpoint: Checkpoint | None) -> None:
        """Take up the run after ``checkpoint``; None = from its beginning."""
        self._resumed = True
        if checkpoint is not None:
            counts = checkpoint.counts
            self.trainer.restore(checkpoint.tensors, counts.step, counts.micro_batch)
            self.first, self.last, self.heldout = counts.first, counts.last, counts.heldout
            self.trained_tokens = counts.trained_tokens
            self.began -= counts.seconds
        self.context.emit(events.RunResumed(job="", step=self.trainer.done))

    def train(self) -> dict[str, Any]:
        micro_batch = self.trainer.micro_batch
        try:
            self._tell_batch()
            for step in self.trainer.steps():
                self._note(step)
                if self.trainer.micro_batch != micro_batch:
                    micro_batch = self.trainer.micro_batch
                    self.context.log(
                        f"memory was short: micro-batch is now {micro_batch}", "warning"
                    )
                if self._heldout_due(step.step):
                    self._measure_heldout(step.step)
                asked = self.context.checkpoint_wanted() or self.context.pausing()
                if asked or self._save_due(step.step):
                    self.save(step.step)
                if self.context.cancelled():
                    break
                self.context.wait_while_paused()
                self._tell_batch()
        except Abandoned:
            pass
        except Diverged:
            if self.trainer.good_step:
                self.save(self.trainer.good_step)
            raise
        done = self.trainer.done
        if done != self.saved_step:
            self.save(done)
        if self.context.cancelled() and done < len(self.trainer.plan):
            kept = "nothing was trained"
            if done:
                kept = f"adapter saved in {self.run.adapter}; --resume goes on from there"
            raise Stopped(f"stopped after step {done}; {kept}", result=self.result())
        self._measure_tokens()
        result = self.result()
        # Only a run that is known to be done can spare its checkpoints.
        self.run.write(status="done", result=result)
        drop_checkpoints(self.run.folder)
        return result

    def _tell_batch(self) -> None:
        """The step that comes next, and the machine as it is before it."""
        self._watch.look()
        done, plan = self.trainer.done, self.trainer.plan
        if done < len(plan):
            self._watch.begins(done + 1, [self.data.train[row] for row in plan[done]])

    def _note(self, step: Step) -> None:
        self.last = step.loss
        self.first = step.loss if self.first is None else self.first
        self.trained_tokens += step.trained_tokens
        self._recent.append(step)
        plan = self.trainer.plan
        rate = mean_rate(self._recent)
        left = self.trainer.remaining_tokens(step.step)
        rows = sum(len(batch) for batch in plan[: step.step])
        self.context.emit(
            events.StepDone(
                job="",
                step=step.step,
                steps=len(plan),
                epoch=rows / len(self.data.train),
                loss=step.loss,
                lr=step.lr,
                grad_norm=step.grad_norm,
                trained_tokens=step.trained_tokens,
                tokens=step.tokens,
                tokens_per_s=step.tokens / step.seconds if step.seconds > 0 else 0.0,
                seconds=step.seconds,
                eta_s=left / rate if rate else 0.0,
                rows=[self.data.train[row].id for row in plan[step.step - 1]],
            )
        )

    def _heldout_due(self, step: int) -> bool:
        if not self.data.heldout:
            return False
        every = self.recipe.heldout_every
        return step == len(self.trainer.plan) or bool(every and step % every == 0)

    def _measure_heldout(self, step: int) -> None:
        loss, tokens = self.trainer.heldout_loss()
        self.heldout = loss if math.isfinite(loss) else None
        self.context.emit(events.HeldoutDone(job="", step=step, loss=loss, tokens=tokens))

    def _measure_tokens(self) -> None:
        """What the adapter did to single tokens. The run is whole without it."""
        rows = choose_measured(self.data, self.recipe)
        if not rows:
            return
        try:
            totals = measure_rows(
                rows, self.base, self.name, self._digest, self.run.info, self.context
            )
        except (SekftError, OSError, RuntimeError, MemoryError) as error:
            self.context.log(f"token losses are not measured: {known_error(error)}", "warning")
        else:
            self.token_losses = totals.to_json() if totals.ids else None

    def _save_due(self, step: int) -> bool:
        return (
            step == len(self.trainer.plan)
            or step - self.saved_step >= SAVE_EVERY_STEPS
            or time.monotonic() - self._saved_at >= SAVE_EVERY_S
        )

    def save(self, step: int) -> None:
        meta = msgspec.structs.replace(self.meta, step=step)
        self._digest = self.base.save_adapter(self.name, self.run.adapter, meta)
        if step == self.trainer.done:
            write_checkpoint(self.run.folder, self._counts(), self.trainer.state())
        self.saved_step = step
        self._saved_at = time.monotonic()
        self.context.emit(
            events.AdapterSaved(
                job="",
                name=self.name,
                path=str(self.run.adapter),
                digest=self._digest,
                step=step,
            )
        )

    def _counts(self) -> Counts:
        return Counts(
            step=self.trainer.done,
            micro_batch=self.trainer.micro_batch,
            trained_tokens=self.trained_tokens,
            first=self.first,
            last=self.last,
            heldout=self.heldout,
            seconds=time.monotonic() - self.began,
        )

    def result(self) -> dict[str, Any]:
        """What ``sekft train --json`` prints."""
        return {
            "run": self.run.id,
            "path": str(self.run.folder),
            "name": self.name,
            "steps": self.trainer.done,
            "loss": {
                "first": self.first,
                "last": self.last,
                "heldout": self.heldout,
            },
            "trained_tokens": self.trained_tokens,
            "seconds": round(time.monotonic() - self.began, 3),
            "adapter": str(self.run.adapter) if self.saved_step else "",
            "adapter_sha256": self._digest,
            "resumed": self._resumed,
            "token_losses": self.token_losses,
        }


def versions() -> dict[str, str]:
    """Versions of what decides a run's numbers."""
    found = {"python": platform.python_version()}
    for package in ("torch", "transformers", "peft", "tokenizers", "bitsandbytes"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _facts(meta: AdapterMeta, base: str, data: Data, job: jobs.Train) -> dict[str, Any]:
    """``data.path`` or ``data.hub`` is where the data can be found again from any folder."""
    path = "" if job.hub else str(Path(job.data).expanduser().absolute())
    return {
        "base": {"path": base, "digest": meta.base_digest, "load_4bit": job.load_4bit},
        "data": meta.data
        | {
            "order": data.order,
            "heldout": len(data.heldout),
            "dropped": data.dropped,
            "path": path,
            "hub": job.hub,
        },
        "render": meta.render,
        "dialect": meta.dialect,
        "versions": meta.versions,
    }


def _refuse_taken_name(name: str, base: ResidentBase | None) -> None:
    if name and base is not None and name in base.adapters:
        raise BadInput(
            "an adapter of this name is on the base", where=name, mend="drop it, or name another"
        )


def _free_name(wanted: str, base: ResidentBase) -> str:
    name = stem = wanted
    number = 2
    while name in base.adapters:
        name, number = f"{stem}-{number}", number + 1
    return name
