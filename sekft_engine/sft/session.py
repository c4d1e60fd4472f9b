"""One training run: its steps, what is measured between them, what is saved, and what is told."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Any

import msgspec

from sekft_engine import events
from sekft_engine.adapters import AdapterMeta
from sekft_engine.base import ResidentBase
from sekft_engine.context import Context, Stopped
from sekft_engine.errors import Interrupted, SekftError
from sekft_engine.evaluate.verdict import MEASURES
from sekft_engine.explain import known_error
from sekft_engine.recipe import Recipe
from sekft_engine.runs import Run
from sekft_engine.sft.behaviour import Trials, measure_rates, score_of
from sekft_engine.sft.checkpoint import Checkpoint, Counts, drop_checkpoints, write_checkpoint
from sekft_engine.sft.data import Data
from sekft_engine.sft.early import HELDOUT, Best, best_folder, drop_others, judged_by
from sekft_engine.sft.loop import Abandoned, Diverged, Step, Trainer, mean_rate
from sekft_engine.sft.measure import choose_measured
from sekft_engine.sft.measure_job import measure_rows
from sekft_engine.sft.ranks import ALONE, Ranks
from sekft_engine.sft.recompute import RECOMPUTED
from sekft_engine.sft.signs import NOT_FINITE, Sign, Signs
from sekft_engine.sft.watch import Watch

#: The adapter on disk is never older than this, so that a killed run leaves something of use.
SAVE_EVERY_STEPS = 20
SAVE_EVERY_S = 60.0


class Session:
    """Trains adapter ``name`` of ``base`` on ``data`` in ``run``.

    What it decides depends on the steps and measurements alone, and all of that is part of each
    checkpoint: a run that is resumed decides the same.
    """

    def __init__(
        self,
        context: Context,
        run: Run,
        base: ResidentBase,
        name: str,
        data: Data,
        meta: AdapterMeta,
        recipe: Recipe,
        trials: Trials | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.context = context
        self.run = run
        self.base = base
        self.name = name
        self.data = data
        self.meta = meta
        self.recipe = recipe
        self.trials = trials
        self.trainer = Trainer(base, name, data, recipe, context.cancelled_now, ranks)
        self.began = time.monotonic()
        self.first: float | None = None
        self.last: float | None = None
        self.heldout: float | None = None
        self.rates: events.RatesMeasured | None = None
        self.trained_tokens = 0
        self.saved_step = 0
        self._saved_rates: events.RatesMeasured | None = None
        self.best = Best()
        self.signs = Signs()
        self._by = judged_by(recipe)
        self._heldout_at = 0
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
            self.trainer.restore(
                checkpoint.tensors, counts.step, counts.micro_batch, counts.recompute
            )
            self.first, self.last, self.heldout = counts.first, counts.last, counts.heldout
            self.rates, self._heldout_at = counts.rates, counts.heldout_at
            self.best, self.signs = counts.best, counts.signs
            self.trained_tokens = counts.trained_tokens
            self.began -= counts.seconds
        self.context.emit(events.RunResumed(job="", step=self.trainer.done))

    def train(self) -> dict[str, Any]:
        """Do the steps that are left; returns :meth:`result`.

        Raises:
            Stopped: the job was to stop; what was done is saved.
            Diverged: a loss or gradient is no number; the last good adapter is saved.
        """
        try:
            left = self._to_the_end()
        except Diverged as error:
            nan = Sign(NOT_FINITE, math.nan, self.signs.usual_loss)
            self._tell_sign(error.step, nan)
            if self.trainer.good_step:
                self._save_adapter(self.trainer.good_step)
            raise
        done = self.trainer.done
        if left or (self.context.cancelled() and not self._is_over()):
            kept = "nothing was trained"
            if done:
                kept = f"adapter saved in {self.run.adapter}; --resume goes on from there"
            raise Stopped(f"stopped after step {done}; {kept}", result=self.result())
        if self.recipe.patience:
            self._keep_best()
        self._measure_tokens()
        result = self.result()
        # Only a run that is known to be done can spare its checkpoints.
        self.run.write(status="done", result=result)
        drop_checkpoints(self.run.folder)
        return result

    def _to_the_end(self) -> bool:
        """Do what is left and save it; whether that was left in the midst of a step, or of a
        measurement."""
        left = False
        try:
            self._measure()  # what a stop came before
            self._step_on()
        except Abandoned:
            left = True
        if not self._is_saved():
            self.save()
        return left

    def _step_on(self) -> None:
        micro_batch, recompute = self.trainer.micro_batch, self.trainer.recompute
        steps = self.trainer.steps()
        while not self._is_over() and not self.context.cancelled():
            self._tell_batch()
            self._note(next(steps))
            if self.trainer.micro_batch != micro_batch:
                micro_batch = self.trainer.micro_batch
                self.context.log(f"memory was short: micro-batch is now {micro_batch}", "warning")
            if self.trainer.recompute != recompute:
                recompute = self.trainer.recompute
                self.context.log(f"memory was short: {RECOMPUTED}", "warning")
            if self.recipe.compile == "always" and self.trainer.done == 1:
                self._tell_compiled()
            self._measure()
            asked = self.context.checkpoint_wanted() or self.context.pausing()
            if not self._is_saved() and (asked or self._save_due()):
                self.save()
            self.context.wait_while_paused()

    def _tell_compiled(self) -> None:
        if self.trainer.recompute:
            self.context.log("nothing is compiled: activations are computed again", "warning")
        elif not self.trainer.compiles:
            self.context.log("torch.compile failed: going on without", "warning")

    def _is_over(self) -> bool:
        return self.trainer.done == len(self.trainer.plan) or self._stopped_early()

    def _stopped_early(self) -> bool:
        return 0 < self.recipe.patience <= self.best.since

    def _tell_batch(self) -> None:
        """The step that comes next, and the machine as it is before it."""
        self._watch.look()
        done, plan = self.trainer.done, self.trainer.plan
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
        self.signs, seen = self.signs.after(step.step, step.loss, step.grad_norm)
        for sign in seen:
            self.context.log(f"step {step.step}: {sign.text}", "warning")
            self._tell_sign(step.step, sign)

    def _tell_sign(self, step: int, sign: Sign) -> None:
        self.context.emit(
            events.SignSeen(job="", step=step, sign=sign.kind, value=sign.value, usual=sign.usual)
        )

    # --- measuring ----------------------------------------------------------------------------

    def _measure(self) -> None:
        """What is due after the steps done, unless it was measured before the run was resumed."""
        step = self.trainer.done
        if self._heldout_at < step and self._is_due(self.recipe.heldout_every, self.data.heldout):
            loss = self._measure_heldout(step)
            if self._by == HELDOUT:
                self._judge(step, (-loss,))
        rates_at = self.rates.step if self.rates else 0
        if rates_at < step and self.trials and self._is_due(self.recipe.eval_every, self.trials):
            self._measure_rates(step, self.trials)

    def _is_due(self, every: int, what: object) -> bool:
        """Every so many steps and after the last, where there is anything to measure."""
        step = self.trainer.done
        last = step == len(self.trainer.plan)
        return bool(what) and (last or bool(every and step % every == 0))

    def _measure_heldout(self, step: int) -> float:
        loss, tokens = self.trainer.heldout_loss()
        self.heldout = loss if math.isfinite(loss) else None
        self._heldout_at = step
        self.context.emit(events.HeldoutDone(job="", step=step, loss=loss, tokens=tokens))
        self.trainer.judge("the held-out loss", loss, self.data.heldout)
        return loss

    def _measure_rates(self, step: int, trials: Trials) -> None:
        if not self._is_saved():  # it takes long, and may be paused
            self.save()
        try:
            with self.trainer.at_rest():
                rates = measure_rates(
                    trials, step, self.run.episodes, self.base, self.name, self.context
                )
        except Interrupted:
            raise Abandoned from None
        self.rates = rates
        self.context.emit(rates)
        self._judge(step, score_of(rates))

    def _judge(self, step: int, score: tuple[float, ...]) -> None:
        """Keep the adapter where it is the best so far; tell where patience is at its end."""
        self.best = self.best.after(step, score)
        if self.best.step == step:
            self.trainer.confirm()
            meta = msgspec.structs.replace(self.meta, step=step)
            self.base.save_adapter(self.name, best_folder(self.run.folder, step), meta)
            self.save()
        elif self._stopped_early():
            self.context.log(
                f"stopped after step {step}: by its {self._by} the adapter of step "
                f"{self.best.step} is the best, which is kept"
            )

    def _measure_tokens(self) -> None:
        """What the adapter did to single tokens. The run is whole without it."""
        rows = choose_measured(self.data, self.recipe)
        if not rows or self.trainer.ranks.sharded:  # such a base cannot compute in one process
            return
        try:
            totals = measure_rows(
                rows, self.base, self.name, self._digest, self.run.info, self.context
            )
        except (SekftError, OSError, RuntimeError, MemoryError) as error:
            self.context.log(f"token losses are not measured: {known_error(error)}", "warning")
        else:
            self.token_losses = totals.to_json() if totals.ids else None

    # --- saving -------------------------------------------------------------------------------

    def _is_saved(self) -> bool:
        """Whether the last step is on the disk, and what was measured after it."""
        return self.saved_step == self.trainer.done and self._saved_rates is self.rates

    def _save_due(self) -> bool:
        step = self.trainer.done
        return (
            step == len(self.trainer.plan)
            or step - self.saved_step >= SAVE_EVERY_STEPS
            or time.monotonic() - self._saved_at >= SAVE_EVERY_S
        )

    def save(self) -> None:
        """Save the adapter as it is, and a checkpoint.

        Raises:
            Diverged: it is of no use; what is on the disk stays.
        """
        self.trainer.confirm()
        meta = msgspec.structs.replace(self.meta, step=self.trainer.done)
        self._digest = self.base.save_adapter(self.name, self.run.adapter, meta)
        # No checkpoint may count what the journal could yet lose.
        self.run.journal.sync()
        write_checkpoint(self.run.folder, self._counts(), self.trainer.state())
        self._saved_rates = self.rates
        drop_others(self.run.folder, self.best.step)
        self._saved(self.trainer.done)

    def _save_adapter(self, step: int) -> None:
        """Save the adapter of an earlier step, which is on the base again."""
        meta = msgspec.structs.replace(self.meta, step=step)
        self._digest = self.base.save_adapter(self.name, self.run.adapter, meta)
        self._saved(step)

    def _keep_best(self) -> None:
        """Put the best adapter in the place of the last one, on the base and on the disk."""
        step = self.best.step
        if step in (0, self.saved_step):
            return
        self.base.drop(self.name)
        self.base.attach(self.name, best_folder(self.run.folder, step))
        self._save_adapter(step)

    def _saved(self, step: int) -> None:
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
            recompute=self.trainer.recompute,
            trained_tokens=self.trained_tokens,
            first=self.first,
            last=self.last,
            heldout=self.heldout,
            heldout_at=self._heldout_at,
            rates=self.rates,
            best=self.best,
            signs=self.signs,
            seconds=time.monotonic() - self.began,
        )

    def result(self) -> dict[str, Any]:
        """What ``sekft train --json`` prints."""
        result = {
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
            "adapter_step": self.saved_step,
            "adapter_sha256": self._digest,
            "resumed": self._resumed,
            "stopped_early": self._stopped_early(),
            "best": None,
            "rates": None,
            "signs": {kind: list(steps) for kind, steps in self.signs.seen.items()},
            "token_losses": self.token_losses,
        }
        if self.best.step:
            folder = best_folder(self.run.folder, self.best.step)
            result["best"] = {
                "step": self.best.step,
                "by": self._by,
                "adapter": str(folder),
            }
        if self.rates is not None:
            names = ("step", "n", *MEASURES)
            result["rates"] = {name: getattr(self.rates, name) for name in names}
        return result
