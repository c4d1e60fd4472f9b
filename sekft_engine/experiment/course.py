"""The course of an experiment: its stages in order, each done once, and what they found."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, get_args

import msgspec

from sekft_engine.core.errors import BadInput, Interrupted
from sekft_engine.data.dialect import DEFAULT_DIALECT
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.experiment import budget, measure
from sekft_engine.experiment.ablated_data import without_verifying
from sekft_engine.experiment.ledger import Ledger
from sekft_engine.experiment.presets import Preset
from sekft_engine.experiment.results import ablations_of, rows_of, seed_stages
from sekft_engine.factory import make
from sekft_engine.factory.archetypes import training_kinds
from sekft_engine.factory.leakage import leakage
from sekft_engine.records import jobs
from sekft_engine.records.experiments import (
    ExperimentResult,
    ImproveResult,
    PlanFacts,
    StageFacts,
)
from sekft_engine.records.jobs import AblationName
from sekft_engine.records.runs import Run
from sekft_engine.records.stages import finished_run
from sekft_engine.sources import load_scenarios, load_trajectories, write_jsonl
from sekft_engine.work.context import Context
from sekft_engine.work.stages import Stages

#: Sessions of the trial that measures the speed of training, and its steps.
TRIAL_SESSIONS, TRIAL_STEPS = 24, 6
#: Those that are made of other data; the others are options of the recipe.
_OTHER_DATA = ("verify", "archetypes")
LEAKAGE = "leakage.json"


class Course:
    """Takes the stages of an experiment.

    Args:
        context: of the job.
        run: of the experiment.
        job: what was asked for.
        preset: the size, with what was asked for otherwise and the folder of the base.
        plan: what is to be done, as the preset says or as it was planned before.
        setup_s: seconds that the demo's workspace took.
    """

    def __init__(
        self,
        context: Context,
        run: Run,
        job: jobs.Experiment,
        preset: Preset,
        plan: PlanFacts,
        *,
        setup_s: float = 0.0,
    ) -> None:
        self.context = context
        self.run = run
        self.job = job
        self.preset = preset
        self.plan = plan
        self.stages = Stages(context, run)
        self.ledger = Ledger(context, run, self.stages)
        if preset.demo:
            made = StageFacts(name="setup", kind="factory", status="done", seconds=setup_s)
            self.ledger.records.setdefault("setup", made)
        workspace = context.workspace
        if preset.demo and workspace is None:
            raise BadInput("this preset needs a workspace", mend="name one with --workspace")
        self.dialect = workspace.dialect if workspace is not None else DEFAULT_DIALECT
        own = preset.demo and workspace is not None
        self.data = workspace.root if own and workspace is not None else run.folder / "data"
        self.keep = run.folder / "factory.jsonl"

    # --- the order ----------------------------------------------------------------------------

    def take(self) -> ExperimentResult:
        """Do what is not done yet, in order."""
        from sekft_engine.experiment.report.write import write_report

        if not self.preset.demo:
            self.ledger.do("worlds", "factory", self._make_worlds)
        for split in self.plan.worlds:
            self.ledger.run(f"base-{split}", self._evaluation(split, (), with_base=True))
        self._choose_size()
        if not self.preset.demo:
            self.ledger.do("sessions", "factory", self._make_sessions)
        for name in self.seeds:
            self.ledger.run(name, self._training(name))
        for split in self.plan.worlds:
            self.ledger.run(f"adapters-{split}", self._evaluation(split, self.seeds, controls=True))
        if self.plan.rounds:
            self._rounds()
        self._ablations()
        self.ledger.do("leakage", "leakage", self._measure_leakage)
        result = self.result()
        result = msgspec.structs.replace(result, files=write_report(self.run.info, result))
        self.run.write(result=result)
        return result

    @property
    def seeds(self) -> tuple[str, ...]:
        """The stages that train, one for each seed."""
        return seed_stages(self.plan)

    # --- worlds and sessions ------------------------------------------------------------------

    def _worlds_of(self, split: str) -> Path:
        if self.preset.demo and self.context.workspace is not None:
            return self.context.workspace.scenarios / split
        return self.run.folder / "worlds" / "scenarios" / split

    def _make_worlds(self) -> None:
        self._make(self.run.folder / "worlds", splits=dict(self.plan.worlds))

    def _make_sessions(self) -> None:
        self._make(self.data, train=self.plan.sessions)

    def _make(self, folder: Path, *, train: int = 0, **options: Any) -> None:
        """Make worlds in a folder of the experiment's own, unless they are there."""
        if (folder / "trajectories").is_dir():  # written last
            return
        shutil.rmtree(folder, ignore_errors=True)  # what a killed process left half in place
        make(
            folder,
            train=train,
            holdout=0,
            seed=self.job.seed,
            core=self.preset.core,
            dialect=self.dialect,
            keep=self.keep,
            progress=self._progress,
            **options,
        )

    def _progress(self, label: str, done: int, total: int) -> None:
        if self.context.cancelled():
            raise Interrupted("stopped; the sessions that were recorded are kept")
        self.context.progress(label, done, total)

    # --- the size -----------------------------------------------------------------------------

    def _choose_size(self) -> None:
        """Measure the speed of this machine and choose what keeps the budget, once."""
        limit = self.plan.budget_s
        if not limit or self.run.info.about.get("plan"):
            return
        pilot = self.run.folder / "pilot"
        if not self.preset.demo:

            def record() -> None:
                self._make(pilot, train=min(TRIAL_SESSIONS, self.preset.sessions))

            self.ledger.do("pilot", "factory", record)
        trial = jobs.Train(
            base=self.preset.base,
            data=str((self.data if self.preset.demo else pilot) / "trajectories"),
            recipe=msgspec.structs.replace(
                self.preset.recipe,
                max_steps=min(TRIAL_STEPS, self.preset.recipe.max_steps or TRIAL_STEPS),
                limit=TRIAL_SESSIONS,
                heldout=0.0,
                token_losses=0,
            ),
            load_4bit=self.preset.load_4bit,
            device=self.job.device,
        )
        self.ledger.run("speed", trial)
        made = [
            self.ledger.records[name] for name in ("worlds", "pilot") if name in self.ledger.records
        ]
        evals = [self.stages.folder(f"base-{split}") for split in self.plan.worlds]
        speed = measure.speed_of(
            self.stages.folder("speed"), evals, made, self.keep, self.ledger.spent_s
        )
        self.plan = budget.fit(self.preset, limit, self.ledger.spent_s, speed)
        self.run.write(about=self.run.info.about | {"plan": msgspec.to_builtins(self.plan)})
        for line in measure.in_words(self.plan):
            self.context.log(line)

    # --- training and acting ------------------------------------------------------------------

    def _training(self, name: str, **changes: Any) -> jobs.Train:
        recipe = msgspec.structs.replace(self.preset.recipe, seed=_number(name))
        if self.preset.demo and self.plan.sessions < jobs.Setup(workspace="").train:
            recipe = msgspec.structs.replace(recipe, limit=self.plan.sessions)
        return jobs.Train(
            base=self.preset.base,
            data=str(changes.pop("data", self.data / "trajectories")),
            recipe=msgspec.structs.replace(recipe, **changes),
            load_4bit=self.preset.load_4bit,
            device=self.job.device,
        )

    def _evaluation(
        self,
        split: str,
        stages: tuple[str, ...],
        *,
        with_base: bool = False,
        controls: bool = False,
    ) -> jobs.Evaluate:
        return jobs.Evaluate(
            base=self.preset.base,
            adapters=tuple(str(self.stages.folder(name)) for name in stages),
            with_base=with_base,
            controls=get_args(jobs.Control) if controls else (),
            scenarios=str(self._worlds_of(split)),
            n=self.plan.worlds[split],
            seed=self.job.seed,
            step_cap=self.preset.step_cap,
            turn_tokens=self.preset.turn_tokens,
            load_4bit=self.preset.load_4bit,
            device=self.job.device,
        )

    # --- rounds and ablations -----------------------------------------------------------------

    def _rounds(self) -> None:
        sessions = self.plan.sessions
        job = jobs.Improve(
            adapter=str(self.stages.folder(self.seeds[0])),
            base=self.preset.base,
            data=str(self.data / "trajectories"),
            scenarios=str(self.data / "scenarios" / "train"),
            rounds=self.plan.rounds,
            n=budget.sampled_worlds(sessions),
            draws=self.preset.draws,
            temperature=self.preset.temperature,
            recipe=self.preset.recipe,
            step_cap=self.preset.step_cap,
            turn_tokens=self.preset.turn_tokens,
            seed=self.job.seed,
            load_4bit=self.preset.load_4bit,
            device=self.job.device,
        )
        if self.ledger.is_skipped("improve"):
            return
        needed = self.ledger.longest("train") * 1.5 + self.ledger.total("eval", "adapters-")
        if not self.stages.is_done("improve") and self.ledger.lacks_time(
            self.plan.budget_s, needed
        ):
            self.ledger.skip("improve", "improve", "the budget leaves no time for it")
            return
        if not self.ledger.run("improve", job, optional=True):
            return
        found = self._improvement
        rounds = [each for each in found.rounds if each.train_run] if found is not None else []
        for split in self.plan.worlds if rounds else ():
            evaluation = msgspec.structs.replace(
                self._evaluation(split, ()), adapters=tuple(each.adapter for each in rounds)
            )
            self.ledger.run(f"rounds-{split}", evaluation, optional=True)

    @property
    def _improvement(self) -> ImproveResult | None:
        done = finished_run(self.stages.folder("improve"))
        found = done.result if done is not None else None
        return found if isinstance(found, ImproveResult) else None

    def _ablations(self) -> None:
        """Train without each part, then evaluate all of these adapters together."""
        trained = tuple(
            f"without-{name}" for name in ablations_of(self.plan) if self._train_without(name)
        )
        for split in self.plan.worlds if trained else ():
            self.ledger.run(f"without-{split}", self._evaluation(split, trained), optional=True)

    def _train_without(self, ablation: AblationName) -> bool:
        """Train without a part, where there is time for it; returns whether it was done."""
        name = f"without-{ablation}"
        if self.ledger.is_skipped(name):
            return False
        acting = self.ledger.total("eval", "adapters-") / max(1, self.plan.seeds)
        if not self.stages.is_done(name) and self.ledger.lacks_time(
            self.plan.budget_s, self.ledger.longest("train") + acting
        ):
            self.ledger.skip(name, "train", "the budget leaves no time for it")
            return False
        changes: dict[str, Any] = {}
        if ablation in _OTHER_DATA:
            data = self.run.folder / f"{name}.jsonl"

            def write() -> None:
                write_jsonl(data, self._other_data(ablation))

            if not data.is_file() and not self.ledger.do(
                f"{name}-data", "factory", write, optional=True
            ):
                return False
            changes["data"] = data
        else:
            changes["ablation"] = ablation
        return self.ledger.run(name, self._training("train-0", **changes), optional=True)

    def _other_data(self, ablation: AblationName) -> list[Trajectory]:
        if ablation == "verify":
            return [*without_verifying(self._sessions())]
        folder = self.run.folder / "half"
        kinds = sorted(training_kinds(core=self.preset.core))
        self._make(folder, train=self.plan.sessions, kinds=frozenset(kinds[::2]))
        return [*load_trajectories(folder / "trajectories").trajectories]

    def _sessions(self) -> tuple[Trajectory, ...]:
        return load_trajectories(self.data / "trajectories").trajectories

    # --- what was found -----------------------------------------------------------------------

    def _measure_leakage(self) -> None:
        from sekft_engine.core.files import write_whole

        training = load_scenarios(self.data / "scenarios" / "train")
        found = {
            split: leakage(training, load_scenarios(self._worlds_of(split)))
            for split in self.plan.worlds
        }
        path = self.run.folder / LEAKAGE
        write_whole(path, msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")

    def result(self) -> ExperimentResult:
        """What was found so far."""
        improvement = self._improvement
        path = self.run.folder / LEAKAGE
        kept = msgspec.json.decode(path.read_bytes()) if path.is_file() else {}
        return ExperimentResult(
            experiment=self.run.id,
            path=str(self.run.folder),
            preset=self.preset.name,
            base=self.preset.base,
            plan=self.plan,
            stages=[*self.ledger.records.values()],
            rows=rows_of(self.plan, self.stages.folder, improvement),
            leakage=kept if isinstance(kept, dict) else {},
            improvement=improvement,
            seconds=round(self.ledger.spent_s, 2),
        )


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])
