"""One training run: its steps, the measurements between them, and what is saved and reported."""

from __future__ import annotations

import math
import shutil
import time

import msgspec

from sekft_engine.core.errors import Interrupted, SekftError, known_error
from sekft_engine.data.recipe import Recipe
from sekft_engine.model.kernels.recompute import RECOMPUTED
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records import events
from sekft_engine.records.adapters import AdapterMeta
from sekft_engine.records.runs import Run
from sekft_engine.records.trainings import BestAdapter, Losses, LossTotals, TrainResult
from sekft_engine.training.run.checkpoint import (
    Checkpoint,
    Counts,
    drop_checkpoints,
    write_checkpoint,
)
from sekft_engine.training.run.early_stopping import (
    HELDOUT,
    Best,
    best_folder,
    drop_others,
    judged_by,
)
from sekft_engine.training.run.health import NOT_FINITE, Sign, Signs
from sekft_engine.training.run.monitor import Watch, told
from sekft_engine.training.run.room import refuse_lack_of_room, telling_what_is_safe
from sekft_engine.training.run.trials import Trials, measure_rates, score_of, trial_rates
from sekft_engine.training.token_losses.job import measure_rows
from sekft_engine.training.token_losses.measure import choose_measured
from sekft_engine.training.trainer.data import Data
from sekft_engine.training.trainer.ranks import ALONE, Ranks
from sekft_engine.training.trainer.step import Abandoned, Diverged, Step
from sekft_engine.training.trainer.trainer import Trainer
from sekft_engine.work.context import Context, Stopped

#: The adapter on disk is never older than this, so that a killed run leaves something of use.
SAVE_EVERY_STEPS = 20
SAVE_EVERY_S = 60.0


class Session:
    """Trains adapter ``name`` of ``base`` on ``data`` in ``run``.

    Its decisions depend on steps and measurements only, and these are part of each checkpoint: a
    resumed run decides the same.
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
        self._saved_heldout_at = 0
        self._heldout_s = math.inf  # how long the last one took; not known yet
        self.best = Best()
        self.signs = Signs()
        self._by = judged_by(recipe)
        self._heldout_at = 0
        self._resumed = False
        self._saved_at = time.monotonic()
        self._digest = ""
        self.token_losses: LossTotals | None = None
        self._watch = Watch(context, base)

    def resume(self, checkpoint: Checkpoint | None) -> None:
        """Continue the run after ``checkpoint``; None = from its beginning."""
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

    def train(self) -> TrainResult:
        """Do the remaining steps and return :meth:`result`.

        Raises:
            Stopped: the job was asked to stop; the finished steps are saved.
            Diverged: a loss or gradient is not finite; the last good adapter is saved.
            NoRoom: the disk has no room for what is to be saved.
        """
        weights = sum(weight.nbytes for weight in self.trainer.weights)
        steps = len(self.trainer.plan) - self.trainer.done
        refuse_lack_of_room(self.run.folder, weights, steps=steps, judged=bool(self._by))
        with telling_what_is_safe(self.run.folder):
            return self._train()

    def _train(self) -> TrainResult:
        try:
            abandoned = self._finish()
        except Diverged as error:
            nan = Sign(NOT_FINITE, math.nan, self.signs.usual_loss)
            self._watch.sign(error.step, nan)
            self._keep_good()
            raise
        done = self.trainer.done
        if abandoned or (self.context.cancelled() and not self._is_over()):
            saved = "nothing was trained"
            if done:
                saved = f"adapter saved in {self.run.adapter}; --resume continues from there"
            raise Stopped(f"stopped after step {done}; {saved}", result=self.result())
        if self.recipe.patience:
            self._restore_best()
        self._measure_token_losses()
        result = self.result()
        # Checkpoints are needed until the run is recorded as done.
        self.run.write(status="done", result=result)
        drop_checkpoints(self.run.folder)
        return result

    def _finish(self) -> bool:
        """Do the remaining steps and save; True where a step or a measurement was abandoned."""
        abandoned = False
        try:
            self._measure()  # a measurement that was due when the run stopped
            self._run_steps()
        except Abandoned:
            abandoned = True
        if not self._is_saved():
            self.save()
        return abandoned

    def _run_steps(self) -> None:
        micro_batch, recompute = self.trainer.micro_batch, self.trainer.recompute
        steps = self.trainer.steps()
        while not self._is_over() and not self.context.cancelled():
            self._begin_step()
            self._record(next(steps))
            if self.trainer.micro_batch != micro_batch:
                micro_batch = self.trainer.micro_batch
                self.context.log(f"memory was short: micro-batch is now {micro_batch}", "warning")
            if self.trainer.recompute != recompute:
                recompute = self.trainer.recompute
                self.context.log(f"memory was short: {RECOMPUTED}", "warning")
            if self.recipe.compile == "always" and self.trainer.done == 1:
                self._log_compiling()
            self._measure()
            requested = self.context.checkpoint_wanted() or self.context.pausing()
            if not self._is_saved() and (requested or self._save_due()):
                self.save()
            self.context.wait_while_paused()
            self.context.let_guest_work()

    def _log_compiling(self) -> None:
        if self.trainer.recompute:
            self.context.log("nothing is compiled, since activations are recomputed", "warning")
        elif not self.trainer.compiles:
            self.context.log("torch.compile failed: continuing without it", "warning")

    def _is_over(self) -> bool:
        return self.trainer.done == len(self.trainer.plan) or self._stopped_early()

    def _stopped_early(self) -> bool:
        return 0 < self.recipe.patience <= self.best.since

    def _begin_step(self) -> None:
        """Report the next step, and the state of the machine before it."""
        self._watch.look()
        done, plan = self.trainer.done, self.trainer.plan
        self._watch.begins(done + 1, [self.data.train[row] for row in plan[done]])

    def _record(self, step: Step) -> None:
        self.last = step.loss
        self.first = step.loss if self.first is None else self.first
        self.trained_tokens += step.trained_tokens
        self._watch.done(step, self.trainer)
        self.signs, signs = self.signs.after(step.step, step.loss, step.grad_norm)
        for sign in signs:
            self.context.log(f"step {step.step}: {sign.text}", "warning")
            self._watch.sign(step.step, sign)

    # --- measuring ----------------------------------------------------------------------------

    def _measure(self) -> None:
        """Make the measurements that are due, unless they were made before the run was resumed."""
        step = self.trainer.done
        if self._heldout_at < step and self._is_due(self.recipe.heldout_every, self.data.heldout):
            # It may take long, and what is done must not be lost by then.
            if not self._is_saved() and self._save_due(self._heldout_s):
                self.save(accept=False)
            loss = self._measure_heldout(step)
            if self._by == HELDOUT:
                self._judge(step, (-loss,))
        rates_at = self.rates.step if self.rates else 0
        if rates_at < step and self.trials and self._is_due(self.recipe.eval_every, self.trials):
            self._measure_rates(step, self.trials)

    def _is_due(self, every: int, what: object) -> bool:
        """Whether ``what`` is to be measured now: every ``every`` steps and after the last one."""
        step = self.trainer.done
        last = step == len(self.trainer.plan)
        return bool(what) and (last or bool(every and step % every == 0))

    def _measure_heldout(self, step: int) -> float:
        began = time.monotonic()
        loss, tokens = self.trainer.heldout_loss(told(self.context, "measuring held-out loss"))
        self._heldout_s = time.monotonic() - began
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
        """Save the adapter if it is the best so far; log if patience is exhausted."""
        self.best = self.best.after(step, score)
        if self.best.step == step:
            self.trainer.confirm()
            meta = msgspec.structs.replace(self.meta, step=step)
            self.base.save_adapter(self.name, best_folder(self.run.folder, step), meta)
            self.save()
        elif self._stopped_early():
            self.context.log(
                f"stopped after step {step}: judged by {self._by}, the adapter of step "
                f"{self.best.step} is the best"
            )

    def _measure_token_losses(self) -> None:
        """Measure the loss per token; a failure is only logged, since the run is complete."""
        rows = choose_measured(self.data, self.recipe)
        if not rows or self.trainer.ranks.sharded:  # a sharded base cannot compute in one process
            return
        try:
            totals = measure_rows(
                rows, self.base, self.name, self._digest, self.run.info, self.context
            )
        except (SekftError, OSError, RuntimeError, MemoryError) as error:
            self.context.log(f"token losses are not measured: {known_error(error)}", "warning")
        else:
            self.token_losses = totals.total() if totals.ids else None

    # --- saving -------------------------------------------------------------------------------

    def _is_saved(self) -> bool:
        """Whether the last step and its measurements are on disk."""
        measured = (self._saved_rates, self._saved_heldout_at) == (self.rates, self._heldout_at)
        return self.saved_step == self.trainer.done and measured

    def _save_due(self, ahead: float = 0.0) -> bool:
        """Whether to save now, or within the next ``ahead`` seconds."""
        step = self.trainer.done
        return (
            step == len(self.trainer.plan)
            or step - self.saved_step >= SAVE_EVERY_STEPS
            or time.monotonic() + ahead - self._saved_at >= SAVE_EVERY_S
        )

    def save(self, *, accept: bool = True) -> None:
        """Save the adapter as it is, and a checkpoint.

        Args:
            accept: as for :meth:`Trainer.confirm`.

        Raises:
            Diverged: its loss is not finite; what is on disk stays.
        """
        self.trainer.confirm(accept=accept)
        new = self.saved_step != self.trainer.done  # else only measurements are
        # A checkpoint must not count events that are not on disk yet.
        self.run.journal.sync()
        write_checkpoint(self.run.folder, self._counts(), self.trainer.state())
        self._saved_rates, self._saved_heldout_at = self.rates, self._heldout_at
        self._saved_at = time.monotonic()
        drop_others(self.run.folder, self.best.step)
        if new:  # after the checkpoint: an adapter of a later step would be trained once more
            self._save_adapter(self.trainer.done)

    def _keep_good(self) -> None:
        """Have the last good adapter on disk, and no later checkpoint: a measurement may refuse
        weights that were saved before it."""
        step = self.trainer.good_step
        drop_checkpoints(self.run.folder, after=step)
        if step:
            self._save_adapter(step)
        elif self.saved_step:
            shutil.rmtree(self.run.adapter, ignore_errors=True)
            self.saved_step = 0

    def _save_adapter(self, step: int) -> None:
        """Save the adapter that is on the base, which is that of ``step``."""
        meta = msgspec.structs.replace(self.meta, step=step)
        self._digest = self.base.save_adapter(self.name, self.run.adapter, meta)
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

    def _restore_best(self) -> None:
        """Replace the last adapter by the best one, on the base and on disk."""
        step = self.best.step
        if step in (0, self.saved_step):
            return
        self.base.drop(self.name)
        self.base.attach(self.name, best_folder(self.run.folder, step))
        self._save_adapter(step)

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

    def result(self) -> TrainResult:
        """The document of ``sekft train``, for the steps done so far."""
        best = None
        if self.best.step:
            folder = best_folder(self.run.folder, self.best.step)
            best = BestAdapter(step=self.best.step, by=self._by, adapter=str(folder))
        return TrainResult(
            run=self.run.id,
            path=str(self.run.folder),
            name=self.name,
            steps=self.trainer.done,
            loss=Losses(first=self.first, last=self.last, heldout=self.heldout),
            trained_tokens=self.trained_tokens,
            seconds=round(time.monotonic() - self.began, 3),
            adapter=str(self.run.adapter) if self.saved_step else "",
            adapter_step=self.saved_step,
            adapter_sha256=self._digest,
            resumed=self._resumed,
            stopped_early=self._stopped_early(),
            best=best,
            rates=None if self.rates is None else trial_rates(self.rates),
            signs={kind: list(steps) for kind, steps in self.signs.seen.items()},
            token_losses=self.token_losses,
        )
