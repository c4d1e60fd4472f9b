"""Jobs: what the engine can be asked to do, from flags, keys and JSON lines alike."""

from __future__ import annotations

import msgspec

from sekft_engine.records.jobs.acting import (
    Control,
    Evaluate,
    HandBack,
    Serve,
    SessionFacts,
    Unserve,
)
from sekft_engine.records.jobs.fields import (
    Base,
    Device,
    Job,
    Load4bit,
    Out,
    Strict,
    Userland,
)
from sekft_engine.records.jobs.holding import (
    Attach,
    Drop,
    Export,
    ExportKind,
    Load,
    Prepare,
    Rename,
    Setup,
    Swap,
)
from sekft_engine.records.jobs.learning import (
    AblationName,
    Experiment,
    FindRate,
    Improve,
    MeasureLosses,
    PresetName,
    Sweep,
    Train,
)
from sekft_engine.records.jobs.orders import (
    Cancel,
    Checkpoint,
    Move,
    Pause,
    Resume,
    Status,
)

__all__ = [
    "AblationName",
    "AnyJob",
    "Attach",
    "Base",
    "Cancel",
    "Checkpoint",
    "Control",
    "Device",
    "Drop",
    "Evaluate",
    "Experiment",
    "Export",
    "ExportKind",
    "FindRate",
    "HandBack",
    "Improve",
    "Job",
    "Load",
    "Load4bit",
    "MeasureLosses",
    "Move",
    "Out",
    "Pause",
    "Prepare",
    "PresetName",
    "Rename",
    "Resume",
    "Serve",
    "SessionFacts",
    "Setup",
    "Status",
    "Strict",
    "Swap",
    "Sweep",
    "Train",
    "Unserve",
    "Userland",
    "decode",
    "kind_of",
    "label_of",
]


AnyJob = (
    Load
    | Prepare
    | Train
    | Sweep
    | FindRate
    | Evaluate
    | Experiment
    | Improve
    | HandBack
    | Serve
    | Unserve
    | MeasureLosses
    | Export
    | Attach
    | Swap
    | Drop
    | Rename
    | Status
    | Cancel
    | Checkpoint
    | Pause
    | Resume
    | Move
    | Setup
)


def kind_of(job: Job) -> str:
    """The job's name as in JSON: load, train, eval, ..."""
    return str(job.__struct_config__.tag)


#: The fields of a job that say what it is about, the best one first.
_LABELS: dict[type[Job], tuple[str, ...]] = {
    Train: ("name", "data", "hub", "scenarios", "base"),
    Sweep: ("file", "data", "hub", "base"),
    FindRate: ("data", "hub", "base"),
    Evaluate: ("scenarios", "base"),
    Experiment: ("preset", "base"),
    Improve: ("adapter", "scenarios", "base"),
    MeasureLosses: ("run", "data", "hub", "base"),
    Export: ("source", "base"),
    Load: ("base",),
    Prepare: ("base",),
    HandBack: ("base",),
    Serve: ("base",),
    Attach: ("name", "path"),
    Swap: ("name",),
    Drop: ("name",),
    Rename: ("name",),
    Setup: ("workspace",),
}


def label_of(job: Job) -> str:
    """What a person calls the job: the name, data, run, adapter or base it is about."""
    fields = _LABELS.get(type(job), ())
    return next(filter(None, (str(getattr(job, name)) for name in fields)), "")


decode = msgspec.json.Decoder(AnyJob).decode
