"""What came of a run, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sekft_engine.core.text import count
from sekft_engine.records.evals import EvalResult
from sekft_engine.records.experiments import ExperimentResult, ImproveResult
from sekft_engine.records.results import ShellResult, SweepResult
from sekft_engine.records.trainings import TrainResult
from sekft_tui.model.measures import TITLES
from sekft_tui.text import visible

if TYPE_CHECKING:
    from sekft_engine.records.runs import RunInfo


def summary(run: RunInfo) -> str:
    """The result of a run of any kind; its error, if it failed."""
    if run.error:
        return visible(run.error)
    match run.result:
        case TrainResult(steps=0):
            return "no step done"
        case TrainResult(steps=steps, loss=loss, adapter_step=saved):
            figures = [f"loss {_figure(loss.first)} → {_figure(loss.last)}"]
            if loss.heldout is not None:
                figures.append(f"held-out {_figure(loss.heldout)}")
            if saved not in (0, steps):
                figures.append(f"adapter of step {saved}")
            return f"{count(steps, 'step')}  " + "  ".join(figures)
        case EvalResult(subjects=subjects):
            ends = [
                f"{visible(subject.name)} {subject.clean_termination}/{subject.n}"
                for subject in subjects
                if subject.n
            ]
            # Last, since the end of a line may be cut off.
            title = TITLES["clean_termination"]
            return "  ".join([*ends, title]) if ends else "no episode judged"
        case SweepResult(points=points, finished=finished, best=best):
            return f"{finished} of {len(points)} points  best {visible(best or '-')}"
        case ExperimentResult() | ImproveResult():
            return visible(run.result.in_words)
        case ShellResult():
            return visible(run.result.in_words)
        case _:
            return ""


def _figure(value: float | None) -> str:
    return loss_text(value) if value is not None else "-"


def loss_text(loss: float) -> str:
    """A loss in a list, with as many decimals as every other one."""
    return f"{loss:.2f}" if loss >= 0.005 or loss == 0 else "<.01"
