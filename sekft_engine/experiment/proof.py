"""The document of ``sekft demo --run``: the smallest experiment, in the words of the demo."""

from __future__ import annotations

from pathlib import Path

import msgspec

from sekft_engine.experiment.presets import HOLDOUT
from sekft_engine.records.evals import EvalResult, SubjectFacts
from sekft_engine.records.experiments import ExperimentResult
from sekft_engine.records.results import AnyResult, expect
from sekft_engine.records.stages import finished_run, stage_folder
from sekft_engine.records.trainings import TrainResult

#: The demo's names of the stages.
_PARTS = {
    "setup": "setup",
    "base_eval": f"base-{HOLDOUT}",
    "train": "train-0",
    "adapter_eval": f"adapters-{HOLDOUT}",
}


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What the base, the adapter and the controls did in the same worlds, how long each part took,
    the runs, and the report."""

    base: SubjectFacts
    adapter: SubjectFacts
    controls: list[SubjectFacts]
    seconds: dict[str, float]
    workspace: str
    train: TrainResult
    runs: dict[str, str]
    experiment: str
    report: str


def proof_of(result: ExperimentResult, workspace: Path) -> Proof:
    """The proof that a finished experiment of the preset ``proof`` is."""
    whole = Path(result.path)

    def done(part: str) -> AnyResult:
        folder = stage_folder(whole, _PARTS[part], workspace / "runs")
        run = finished_run(folder)
        if run is None:
            raise LookupError(f"{folder} is not done")
        return run.result

    base = expect(done("base_eval"), EvalResult)
    adapter = expect(done("adapter_eval"), EvalResult)
    stages = {stage.name: stage for stage in result.stages}
    return Proof(
        base=base.subjects[0],
        adapter=adapter.subjects[0],
        controls=adapter.subjects[1:],
        seconds={
            part: round(stages[name].seconds, 1) for part, name in _PARTS.items() if name in stages
        },
        workspace=str(workspace),
        train=expect(done("train"), TrainResult),
        runs={part: stages[name].run for part, name in _PARTS.items() if stages[name].run},
        experiment=result.experiment,
        report=result.files.get("html", ""),
    )
