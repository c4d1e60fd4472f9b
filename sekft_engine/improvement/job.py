"""The improve job: an adapter acts in training worlds, and learns from what it did rightly."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.bases import base_digest, refuse_unknown_targets
from sekft_engine.core.errors import BadInput, Interrupted
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.episodes.episode import FinishedEpisode
from sekft_engine.episodes.store import episodes_of
from sekft_engine.improvement.choose import Chosen, by_archetype, choose, most_new
from sekft_engine.improvement.pairs import pairs_of, write_pairs
from sekft_engine.records import jobs
from sekft_engine.records.adapters import adapter_digest
from sekft_engine.records.evals import EvalResult
from sekft_engine.records.experiments import ImproveResult, RoundFacts
from sekft_engine.records.results import expect
from sekft_engine.records.runs import Run, adapter_folder, run_of
from sekft_engine.records.stages import key_of, named_or_same
from sekft_engine.records.trainings import TrainResult
from sekft_engine.render import build_row
from sekft_engine.render.template.tokenizer import load_tokenizer
from sekft_engine.sources import load_scenarios, load_trajectories, write_jsonl
from sekft_engine.work.context import Context, Stopped
from sekft_engine.work.stages import Stages

KIND = "improve"


def run_improve(job: jobs.Improve, context: Context) -> ImproveResult:
    """Improve the adapter, from where it was stopped; what is wrong is refused first."""
    return _Improvement(job, context).run_rounds()


class _Improvement:
    def __init__(self, job: jobs.Improve, context: Context) -> None:
        self.began = time.monotonic()
        self.context = context
        place = context.workspace
        base = context.find_base(job.base)
        refuse_unknown_targets(base, job.recipe.targets)
        adapter = _adapter(job.adapter, place.runs if place is not None else None)
        valid = place.scenarios / "valid" if place is not None else None
        self.job = msgspec.structs.replace(
            job,
            base=str(base),
            adapter=str(adapter),
            data=job.data or _of_workspace(place.trajectories if place else None, "--data"),
            scenarios=job.scenarios
            or _of_workspace(place.train_scenarios if place else None, "--scenarios"),
            evaluate=job.evaluate
            or (str(valid) if valid is not None and any(valid.glob("*.json*")) else ""),
        )
        context.device(str(base), job.device)
        self.worlds = len(load_scenarios(self.job.scenarios))
        self.measured = len(load_scenarios(self.job.evaluate)) if self.job.evaluate else 0
        self.known: list[Trajectory] = [*load_trajectories(self.job.data).trajectories]
        self.tokenizer = load_tokenizer(self.job.base, place)
        self.episodes: list[FinishedEpisode] = []
        self.rounds: list[RoundFacts] = []
        self.run = self._open()
        self.stages = Stages(context, self.run)

    def _open(self) -> Run:
        job, context = self.job, self.context
        options = (
            *("n", "draws", "temperature", "per_world", "share", "eval_n", "step_cap"),
            *("turn_tokens", "seed", "load_4bit"),
        )
        what: dict[str, Any] = {name: getattr(job, name) for name in options} | {
            "adapter": adapter_digest(Path(job.adapter)),
            "base": base_digest(Path(job.base)),
            "data": str(Path(job.data).absolute()),
            "scenarios": str(Path(job.scenarios).absolute()),
            "evaluate": job.evaluate and str(Path(job.evaluate).absolute()),
            "recipe": msgspec.to_builtins(job.recipe),
        }
        about: dict[str, Any] = {
            "key": key_of(what),
            "base": job.base,
            "from": job.adapter,
            "rounds": job.rounds,
        }
        about |= {name: what[name] for name in ("data", "scenarios", "evaluate", "draws")}
        about |= {"temperature": job.temperature, "recipe": what["recipe"]}
        runs = context.workspace.runs if context.workspace is not None else None
        earlier = named_or_same(job.out, runs, KIND, about["key"])
        if earlier is None:
            return context.open_run(KIND, about=about, out=job.out)
        run = context.reopen_run(Path(earlier.path))
        run.write(about=about)
        return run

    def run_rounds(self) -> ImproveResult:
        job, adapter = self.job, self.job.adapter
        try:
            self._measure(0, adapter, RoundFacts(round=0, adapter=adapter))
            for number in range(1, job.rounds + 1):
                if self.context.cancelled():
                    raise Stopped(f"stopped before round {number} of {job.rounds}")
                self.context.log(f"round {number} of {job.rounds}")
                trained = self._round(number, adapter)
                if not trained:
                    break
                adapter = trained
                self.run.write(result=self.result())
        except Interrupted as stop:
            raise Stopped(
                f"{stop.what}; give the same command again to continue", result=self.result()
            ) from stop
        written = 0
        if job.pairs:
            pairs = pairs_of(self.episodes, load_trajectories(job.data).trajectories)
            write_pairs(Path(job.pairs).expanduser().absolute(), pairs)
            written = len(pairs)
        return self.result(written)

    def result(self, pairs: int = 0) -> ImproveResult:
        return ImproveResult(
            run=self.run.id,
            path=str(self.run.folder),
            adapter=self.rounds[-1].adapter if self.rounds else "",
            rounds=self.rounds,
            pairs=pairs,
            seconds=round(time.monotonic() - self.began, 2),
        )

    def _round(self, number: int, adapter: str) -> str:
        """One round.

        Returns:
            the folder of the new adapter; empty = there was nothing new to learn from.
        """
        job = self.job
        name = f"r{number}-sample"
        done = self.stages.do(name, self._sampling(number, adapter))
        sampled = expect(done, EvalResult)
        found = episodes_of(self.stages.folder(name) / "episodes")
        episodes = [each for listed in found.values() for each in listed]
        chosen = self._chosen(episodes, sampled.run)
        self.episodes += episodes
        facts = RoundFacts(
            round=number,
            adapter=adapter,
            sampled=len(episodes),
            solved=chosen.solved,
            worlds=chosen.worlds,
            worlds_solved=chosen.worlds_solved,
            dropped=chosen.dropped,
            added=len(chosen.sessions),
            archetypes=dict(by_archetype(chosen.sessions)),
            sessions=len(self.known) + len(chosen.sessions),
            sample_run=sampled.run,
        )
        self.context.log(
            f"round {number}: {chosen.solved} of {len(episodes)} sessions are right, in "
            f"{chosen.worlds_solved} of {chosen.worlds} worlds; {len(chosen.sessions)} join the "
            f"{len(self.known)} sessions"
        )
        if not chosen.sessions:
            self.context.log("nothing new to learn from: no more rounds", "warning")
            self.rounds.append(facts)
            return ""
        self.known += chosen.sessions
        data = self.run.folder / f"round-{number}.jsonl"
        if not self.stages.is_done(f"r{number}-train"):
            write_jsonl(data, self.known)
        training = jobs.Train(
            base=job.base,
            data=str(data),
            recipe=job.recipe,
            load_4bit=job.load_4bit,
            device=job.device,
        )
        trained = expect(self.stages.do(f"r{number}-train", training), TrainResult)
        new = str(adapter_folder(self.stages.folder(f"r{number}-train")))
        facts = msgspec.structs.replace(facts, adapter=new, train_run=trained.run)
        self._measure(number, new, facts)
        return new

    def _chosen(self, episodes: list[FinishedEpisode], source: str) -> Chosen:
        job = self.job
        return choose(
            episodes,
            self.known,
            lambda session: build_row(session, self.tokenizer, max_length=job.recipe.max_length),
            per_world=job.per_world,
            most=most_new(len(self.known), job.share),
            source=source,
        )

    def _sampling(self, number: int, adapter: str) -> jobs.Evaluate:
        job = self.job
        return msgspec.structs.replace(
            self._acting(adapter),
            scenarios=job.scenarios,
            n=min(job.n, self.worlds),
            seeds=job.draws,
            temperature=job.temperature,
            seed=job.seed + number,
        )

    def _measure(self, number: int, adapter: str, facts: RoundFacts) -> None:
        """Evaluate the adapter of a round in the worlds for measuring, if there are any."""
        job = self.job
        if job.evaluate:
            evaluation = msgspec.structs.replace(
                self._acting(adapter),
                scenarios=job.evaluate,
                n=min(job.eval_n, self.measured),
                seed=job.seed,
            )
            found = expect(self.stages.do(f"r{number}-eval", evaluation), EvalResult)
            facts = msgspec.structs.replace(
                facts, eval_run=found.run, facts=found.subjects[0] if found.subjects else None
            )
        self.rounds.append(facts)

    def _acting(self, adapter: str) -> jobs.Evaluate:
        job = self.job
        return jobs.Evaluate(
            base=job.base,
            adapters=(adapter,),
            with_base=False,
            scenarios=job.scenarios,
            step_cap=job.step_cap,
            turn_tokens=job.turn_tokens,
            load_4bit=job.load_4bit,
            device=job.device,
        )


def _adapter(spec: str, runs: Path | None) -> Path:
    """The folder of the adapter called ``spec``: its own, its run's, or the run's id."""
    if Path(spec).expanduser().exists():
        return adapter_folder(spec).absolute()
    info = run_of(spec, runs)
    if not info.adapter:
        raise BadInput("this run has no adapter", where=info.id, mend="name a training run")
    return Path(info.adapter)


def _of_workspace(folder: Path | None, flag: str) -> str:
    if folder is None:
        raise BadInput("no folder is named", where=flag, mend="name it, or a --workspace")
    return str(folder)
