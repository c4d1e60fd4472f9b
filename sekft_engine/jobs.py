"""Jobs: what the engine can be asked to do, from flags, keys and JSON lines alike."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from sekft_engine.recipe import Recipe


class Job(msgspec.Struct, frozen=True, kw_only=True, tag_field="job", forbid_unknown_fields=True):
    """What all jobs carry; ``id`` is given by the engine when empty."""

    id: str = ""


class Load(Job, frozen=True, kw_only=True, tag="load"):
    """Make ``base`` resident."""

    base: str
    load_4bit: bool = False


class Prepare(Job, frozen=True, kw_only=True, tag="prepare"):
    """Have ``base`` lie ready on this machine, fetched and converted if need be, but not loaded."""

    base: str


class Train(Job, frozen=True, kw_only=True, tag="train"):
    """Fine-tune an adapter on the resident base (loading ``base`` first where it is not).

    ``out`` is the run's folder; empty = a new one under the workspace's ``runs/``.
    ``name`` is the adapter's name on the base afterwards; empty = the run's id. ``resume`` goes on
    with the run in ``out`` from its last checkpoint, or begins it where there is none yet.
    ``shard_base`` spreads the base over the processes that train together.
    ``scenarios`` is the folder of the worlds for the recipe's evals; empty = the workspace's
    ``scenarios/train``, so that those kept for the final eval decide nothing before it.
    """

    base: str
    data: str = ""
    hub: str = ""
    scenarios: str = ""
    out: str = ""
    name: str = ""
    recipe: Recipe = Recipe()
    load_4bit: bool = False
    resume: bool = False
    shard_base: bool = False


class Sweep(Job, frozen=True, kw_only=True, tag="sweep"):
    """Train an adapter for each point of the table in ``file``, one after another on the resident
    base, and evaluate each where the table asks for it.

    ``out`` is the sweep's folder; empty = that of the same sweep in the workspace, else a new one.
    What is finished there is not done again. ``flags`` are recipe fields that hold for all points.
    """

    file: str
    base: str = ""
    data: str = ""
    hub: str = ""
    out: str = ""
    flags: dict[str, Any] = {}
    load_4bit: bool = False
    shard_base: bool = False


class FindRate(Job, frozen=True, kw_only=True, tag="find_rate"):
    """Find a learning rate: train an adapter on the data while the rate grows from step to step,
    and throw it away. ``recipe.max_steps`` is the number of steps; 0 = as many as it takes."""

    base: str
    data: str = ""
    hub: str = ""
    recipe: Recipe = Recipe()
    load_4bit: bool = False


class Evaluate(Job, frozen=True, kw_only=True, tag="eval"):
    """Run episodes of the base (``with_base``) and of ``adapters`` on ``scenarios``.

    ``adapters`` are folders, or names of attached adapters. ``n`` scenarios are taken in
    an order that ``seed`` fixes, spread evenly over archetypes; 0 = all.

    ``seeds`` episodes are run in each world. ``until_decided`` stops as soon as the comparisons
    with the first subject are decided. ``exact`` gives the same bits in any company.

    With ``endpoints`` (addresses of OpenAI-compatible servers that all hold ``models``) nothing
    is loaded: the models there act, ``concurrency`` episodes at once. Unless ``unchecked``, the
    eval is refused where a server does not feed its model what training on ``base`` fed.

    ``context``: most ids in an episode; 0 = as many as the base holds, up to 4096.
    """

    base: str
    adapters: tuple[str, ...] = ()
    with_base: bool = True
    scenarios: str
    n: int = 16
    out: str = ""
    sandbox: str = "auto"
    userland: str = "auto"
    seed: int = 0
    seeds: int = 1
    until_decided: bool = False
    exact: bool = False
    temperature: float = 0.0
    step_cap: int = 12
    turn_tokens: int = 64
    load_4bit: bool = False
    resume: bool = False
    endpoints: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    api_key_env: str | None = None
    concurrency: int = 16
    timeout: float = 120.0
    unchecked: bool = False
    context: int = 0


class HandBack(Job, frozen=True, kw_only=True, tag="hand_back"):
    """Let a model type in the take-over of that id, which lives in the engine's process.

    ``adapter`` is an adapter's folder, or the name of an attached one; empty = the bare base.
    ``turns`` = so many; 0 = until the session ends. Whether it is sampled or greedy, and how many
    tokens a command may have, is as in the eval that the session comes from; ``seed`` tells one
    try from the next.
    """

    takeover: str
    base: str
    adapter: str = ""
    turns: int = 0
    seed: int = 0
    load_4bit: bool = False


class MeasureLosses(Job, frozen=True, kw_only=True, tag="measure_losses"):
    """Measure the loss of each trained token without and with the adapter of ``run`` (an id, or
    the folder of a run or of its adapter), and keep it with the run.

    ``ids`` name the trajectories; empty = ``n`` of them, as the end of a run chooses. ``data``,
    ``hub`` and ``base`` are what the run recorded unless they are given. What was measured of the
    same adapter on the same tokens before is not measured again.
    """

    run: str
    ids: tuple[str, ...] = ()
    n: int = 8
    data: str = ""
    hub: str = ""
    base: str = ""


ExportKind = Literal["adapter", "merged", "gguf"]


class Export(Job, frozen=True, kw_only=True, tag="export"):
    """Write the adapter ``source`` (a run's id or folder, an adapter's folder) to the new folder
    ``target``: as ``adapter``, ``merged`` into its base, or merged and ready for ``gguf``.

    ``card`` adds a model card. ``dtype`` is that of merged weights; empty = the base's own.
    """

    source: str
    target: str
    kind: ExportKind = "merged"
    card: bool = False
    dtype: str = ""
    base: str = ""


class Attach(Job, frozen=True, kw_only=True, tag="attach"):
    """Load the adapter in folder ``path`` under ``name``."""

    path: str
    name: str = ""


class Swap(Job, frozen=True, kw_only=True, tag="swap"):
    """Make ``name`` the active adapter; empty = the bare base."""

    name: str = ""


class Drop(Job, frozen=True, kw_only=True, tag="drop"):
    name: str


class Status(Job, frozen=True, kw_only=True, tag="status"):
    """Tell what is resident. Answered at once, also while another job runs."""


class Cancel(Job, frozen=True, kw_only=True, tag="cancel"):
    """Cancel the job ``target``; empty = the running one. ``after_step``: let its step finish and
    save. Answered at once."""

    target: str = ""
    after_step: bool = False


class Checkpoint(Job, frozen=True, kw_only=True, tag="checkpoint"):
    """Let the training job ``target`` (empty = the running one) save after its step and go on.
    Answered at once."""

    target: str = ""


class Pause(Job, frozen=True, kw_only=True, tag="pause"):
    """Hold the job ``target`` until :class:`Resume`: the running one (also where ``target`` is
    empty) at its next step, a waiting one in the queue. Answered at once."""

    target: str = ""


class Resume(Job, frozen=True, kw_only=True, tag="resume"):
    """Let a paused or held job go on; ``target`` as in :class:`Pause`. Answered at once."""

    target: str = ""


class Move(Job, frozen=True, kw_only=True, tag="move"):
    """Let the waiting job ``target`` run ``by`` places later; earlier where negative. Answered at
    once."""

    target: str
    by: int


class Setup(Job, frozen=True, kw_only=True, tag="setup"):
    """Make the demo workspace: the small base, scenarios and trajectories. Idempotent."""

    workspace: str
    train: int = 240
    holdout: int = 48
    seed: int = 0


AnyJob = (
    Load
    | Prepare
    | Train
    | Sweep
    | FindRate
    | Evaluate
    | HandBack
    | MeasureLosses
    | Export
    | Attach
    | Swap
    | Drop
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


def label_of(job: Job) -> str:
    """What a person calls the job: the data, adapter or base it is about."""
    for name in (
        "name",
        "run",
        "file",
        "data",
        "hub",
        "path",
        "source",
        "scenarios",
        "base",
        "workspace",
    ):
        value = getattr(job, name, "")
        if value:
            return str(value)
    return ""


decode = msgspec.json.Decoder(AnyJob).decode
