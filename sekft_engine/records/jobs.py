"""Jobs: what the engine can be asked to do, from flags, keys and JSON lines alike."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sekft_engine.data.recipe import Recipe

# Descriptions are the help texts of the options that commands make of these fields.
Base = Annotated[str, Meta(description="A folder, a .gguf file, a known base, or a Hub id.")]
Out = Annotated[str, Meta(description="The run's folder [default: the next in the workspace].")]
#: None = as the base is resident, else as the adapter was trained, else in full precision.
Load4bit = Annotated[
    bool | None,
    Meta(
        description="Hold the base in 4 bits (NF4, double quant), or in full precision "
        "[default: as it is loaded already, or as the adapter was trained]."
    ),
]
Device = Annotated[
    str,
    Meta(
        description="Where the base computes: auto, cpu, cuda, or one card, as cuda:1; auto = "
        "where it is loaded already, else a card if there is one.",
        extra={"metavar": "DEVICE"},
    ),
]
Userland = Annotated[
    str,
    Meta(
        description="What is in the worlds: host, debian (sekft worlds build), or an exported "
        "one; auto = host in bubblewrap, debian in containers."
    ),
]


Strict = Annotated[
    bool,
    Meta(
        description="Stop at the first trajectory that cannot be read, instead of dropping it "
        "under a counted reason."
    ),
]


#: Operators without a model: the reference solution, and three without any skill.
Control = Literal["oracle", "always-exit", "always-panic", "random"]


class Job(msgspec.Struct, frozen=True, kw_only=True, tag_field="job", forbid_unknown_fields=True):
    """The fields of all jobs; an empty ``id`` is assigned by the engine."""

    id: str = ""


class Load(Job, frozen=True, kw_only=True, tag="load"):
    """Make ``base`` resident, in place of what was. In a resident process nothing else does."""

    base: str
    load_4bit: Load4bit = None
    device: Device = "auto"


class Prepare(Job, frozen=True, kw_only=True, tag="prepare"):
    """Fetch and convert ``base`` if needed, without loading it."""

    base: str


class Train(Job, frozen=True, kw_only=True, tag="train"):
    """Fine-tune an adapter on the resident base (loading ``base`` first where it is not).

    An empty ``base`` is the resident one, else the workspace's.

    ``out`` is the run's folder; empty = a new one under the workspace's ``runs/``.
    ``name`` is the adapter's name on the base afterwards; empty = the run's id. ``resume``
    continues the run in ``out`` from its last checkpoint, or begins it if there is none yet.
    ``shard_base`` spreads the base over the processes that train together.
    ``scenarios`` is the folder of the worlds for the recipe's evals; empty = the workspace's
    ``scenarios/train``, so that those held out for the final eval decide nothing before it.
    """

    base: Base = ""
    data: Annotated[
        str, Meta(description="Trajectories: a folder of .json, a .jsonl file, parquet or Arrow.")
    ] = ""
    hub: str = ""
    scenarios: Annotated[
        str,
        Meta(description="Worlds for --eval-every [default: scenarios/train of the workspace]."),
    ] = ""
    out: Out = ""
    name: Annotated[str, Meta(description="The adapter's name.")] = ""
    recipe: Recipe = Recipe()
    load_4bit: Load4bit = None
    device: Device = "auto"
    resume: Annotated[
        bool,
        Meta(
            description="Resume the run in --out [default: the workspace's newest unfinished one]; "
            "options that are not given come from it."
        ),
    ] = False
    shard_base: Annotated[
        bool,
        Meta(
            description="Spread the base over the processes of torchrun or accelerate launch "
            "(FSDP).",
            extra={"envvar": "ACCELERATE_USE_FSDP"},
        ),
    ] = False
    strict: Strict = False


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
    load_4bit: Load4bit = None
    device: Device = "auto"
    shard_base: bool = False
    strict: bool = False


class FindRate(Job, frozen=True, kw_only=True, tag="find_rate"):
    """Find a learning rate: train an adapter on the data while the rate grows from step to step,
    and throw it away. ``recipe.max_steps`` is the number of steps; 0 = as many as it takes."""

    base: str = ""
    data: str = ""
    hub: str = ""
    recipe: Recipe = Recipe()
    load_4bit: Load4bit = None
    device: Device = "auto"
    strict: bool = False


class Evaluate(Job, frozen=True, kw_only=True, tag="eval"):
    """Run episodes of the base (``with_base``) and of ``adapters`` on ``scenarios``.

    ``adapters`` are folders, or names of attached adapters. ``n`` scenarios are taken in
    an order that ``seed`` fixes, spread evenly over archetypes; 0 = all.

    ``seeds`` episodes are run in each world. ``until_decided`` stops as soon as the comparisons
    with the first subject are decided. ``exact`` gives the same bits in any company.

    With ``endpoints`` (addresses of OpenAI-compatible servers that all hold ``models``) nothing
    is loaded: the models there act, ``concurrency`` episodes at once. Unless ``unchecked``, the
    eval is refused where a server does not feed its model what training on ``base`` fed.

    ``controls`` act in the same worlds; an eval of these alone needs no base.

    ``context``: most ids in an episode; 0 = as many as the base holds, up to 4096.
    """

    base: Base = ""
    adapters: Annotated[
        tuple[str, ...],
        Meta(description="An adapter's folder, or its run's folder; may be given more than once."),
    ] = ()
    with_base: bool = True
    controls: Annotated[
        tuple[Control, ...],
        Meta(
            description="Let an operator without a model act in the same worlds, to compare with; "
            "may be given more than once."
        ),
    ] = ()
    scenarios: Annotated[
        str, Meta(description="Folder of scenario bundles [default: the held-out ones].")
    ]
    n: Annotated[int, Meta(ge=0, description="How many scenarios; 0 = all.")] = 16
    out: Out = ""
    sandbox: Annotated[str, Meta(description="The sandbox that runs the worlds.")] = "auto"
    userland: Userland = "auto"
    seed: Annotated[int, Meta(description="Fixes the choice of scenarios and all sampling.")] = 0
    seeds: Annotated[
        int,
        Meta(
            ge=1,
            description="Episodes per world and subject, sampled separately (needs a temperature).",
        ),
    ] = 1
    until_decided: Annotated[
        bool,
        Meta(description="Stop once the comparison with the first subject is decided (5 % error)."),
    ] = False
    exact: Annotated[
        bool,
        Meta(description="Run one episode at a time: slower, but the same bits in any company."),
    ] = False
    temperature: Annotated[float, Meta(ge=0, description="Sampling temperature; 0 = greedy.")] = 0.0
    step_cap: Annotated[int, Meta(ge=1, description="Most commands in one episode.")] = 24
    turn_tokens: Annotated[int, Meta(ge=1, description="Most tokens in one command.")] = 64
    load_4bit: Load4bit = None
    device: Device = "auto"
    resume: Annotated[bool, Meta(description="Resume an eval that was stopped.")] = False
    endpoints: Annotated[
        tuple[str, ...],
        Meta(description="Evaluate models of an OpenAI-compatible server; several make a fleet."),
    ] = ()
    models: Annotated[
        tuple[str, ...], Meta(description="With --endpoint: a model of the servers.")
    ] = ()
    api_key_env: str | None = None
    concurrency: Annotated[int, Meta(ge=1, description="With --endpoint: episodes at once.")] = 16
    timeout: Annotated[float, Meta(gt=0, description="Seconds a server has for each answer.")] = (
        120.0
    )
    unchecked: Annotated[
        bool,
        Meta(description="Accept servers that do not feed their model what training fed."),
    ] = False
    context: Annotated[
        int,
        Meta(
            ge=0,
            description="Most tokens in one episode [default: the base's context, up to 4096].",
        ),
    ] = 0


#: Sizes of an experiment, see :mod:`sekft_engine.experiment.presets`.
PresetName = Literal["proof", "laptop", "gpu-7b"]
#: What is left out of training to see what it is worth.
AblationName = Literal["mask", "end-of-turn", "normaliser", "verify", "archetypes"]


class Experiment(Job, frozen=True, kw_only=True, tag="experiment"):
    """Make worlds and sessions, evaluate the base, train with several seeds, improve, evaluate all
    of it and the controls in the same worlds, leave parts out, and write a report.

    What is left open (0, -1 rounds, none) is as in the ``preset``. What is finished is not done
    again: the same job continues
    the experiment of the workspace (or in ``out``) that did not come to its end. ``flags`` are
    recipe fields that hold for all training.
    """

    preset: Annotated[PresetName, Meta(description="The size of it.")] = "laptop"
    base: Annotated[
        str,
        Meta(description="A folder, a .gguf file, a known base, or a Hub id [default: preset]."),
    ] = ""
    budget: Annotated[
        str,
        Meta(
            description="Time for all of it, such as 60m or 2h: the number of sessions is chosen "
            "by measured speed so that it is kept.",
            extra={"metavar": "TIME"},
        ),
    ] = ""
    sessions: Annotated[int, Meta(ge=0, description="Training sessions [default: preset].")] = 0
    worlds: Annotated[
        int, Meta(ge=0, description="Worlds of each evaluated split [default: preset].")
    ] = 0
    seeds: Annotated[int, Meta(ge=0, description="Training seeds [default: preset].")] = 0
    rounds: Annotated[int, Meta(ge=-1, description="Rounds of improvement [default: preset].")] = -1
    ablations: Annotated[
        tuple[AblationName, ...],
        Meta(
            description="Leave this out in a training run of its own; may be given more than once "
            "[default: preset]."
        ),
    ] = ()
    no_ablations: Annotated[bool, Meta(description="Leave nothing out.")] = False
    step_cap: Annotated[
        int, Meta(ge=0, description="Most commands in one episode [default: preset].")
    ] = 0
    turn_tokens: Annotated[
        int, Meta(ge=0, description="Most tokens in one command [default: preset].")
    ] = 0
    seed: Annotated[int, Meta(description="Fixes the worlds, their choice and all sampling.")] = 0
    new: Annotated[
        bool, Meta(description="Begin a new one, also where the same one is there already.")
    ] = False
    flags: dict[str, Any] = {}
    out: Out = ""
    load_4bit: Load4bit = None
    device: Device = "auto"


class Improve(Job, frozen=True, kw_only=True, tag="improve"):
    """Expert iteration: ``adapter`` acts in training worlds, its verified clean sessions join the
    data, and a new adapter is trained from the base; ``rounds`` times.

    The same job continues the improvement in the workspace (or in ``out``) that did not come to its
    end. ``evaluate`` is a folder of worlds in which each round's adapter is measured; empty = the
    workspace's ``scenarios/valid`` where there is one, else none.
    """

    adapter: Annotated[str, Meta(description="The adapter to begin with: its folder, or its run.")]
    base: Base = ""
    data: Annotated[
        str, Meta(description="The sessions it was trained on [default: the workspace's].")
    ] = ""
    scenarios: Annotated[
        str, Meta(description="Training worlds [default: scenarios/train of the workspace].")
    ] = ""
    evaluate: Annotated[
        str,
        Meta(
            description="Worlds in which each round is measured "
            "[default: scenarios/valid of the workspace, if there]."
        ),
    ] = ""
    rounds: Annotated[int, Meta(ge=1, description="How many rounds.")] = 1
    n: Annotated[int, Meta(ge=0, description="Training worlds to act in each round; 0 = all.")] = 0
    draws: Annotated[int, Meta(ge=1, description="Sessions in each world.")] = 4
    temperature: Annotated[float, Meta(gt=0, description="Sampling temperature.")] = 0.7
    per_world: Annotated[int, Meta(ge=1, description="Most new sessions of one world.")] = 2
    share: Annotated[
        float, Meta(gt=0, description="Most new sessions of a round, as a share of the data.")
    ] = 0.5
    pairs: Annotated[
        str,
        Meta(description="Also write preference pairs to this .jsonl file, in TRL's format."),
    ] = ""
    recipe: Recipe = Recipe()
    eval_n: Annotated[int, Meta(ge=0, description="Worlds of --evaluate; 0 = all.")] = 0
    step_cap: Annotated[int, Meta(ge=1, description="Most commands in one episode.")] = 24
    turn_tokens: Annotated[int, Meta(ge=1, description="Most tokens in one command.")] = 64
    seed: Annotated[int, Meta(description="Fixes the choice of worlds and all sampling.")] = 0
    out: Out = ""
    load_4bit: Load4bit = None
    device: Device = "auto"


class HandBack(Job, frozen=True, kw_only=True, tag="hand_back"):
    """Let a model type in the take-over of that id, which lives in the engine's process.

    ``adapter`` is an adapter's folder, or the name of an attached one; empty = the bare base.
    ``turns`` = so many; 0 = until the session ends. Whether it is sampled or greedy, and how many
    tokens a command may have, is as in the eval that the session comes from; ``seed``
    distinguishes repeated attempts.

    With ``endpoint`` (the address of an OpenAI-compatible server) its ``model`` types, and nothing
    is loaded; ``base`` is then the one that was trained, which the server's prompts are compared
    with unless ``unchecked``.
    """

    takeover: str
    base: str
    adapter: str = ""
    turns: int = 0
    seed: int = 0
    load_4bit: Load4bit = None
    device: Device = "auto"
    endpoint: str = ""
    model: str = ""
    api_key_env: str | None = None
    unchecked: bool = False


class MeasureLosses(Job, frozen=True, kw_only=True, tag="measure_losses"):
    """Measure the loss of each trained token without and with the adapter of ``run`` (an id, or
    the folder of a run or of its adapter), and store it with the run.

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
    device: Device = "auto"


ExportKind = Literal["adapter", "merged", "gguf"]


class Export(Job, frozen=True, kw_only=True, tag="export"):
    """Write the adapter ``source`` (a run's id or folder, an adapter's folder) to the new folder
    ``target``: as ``adapter``, ``merged`` into its base, or merged and ready for ``gguf``.

    ``card`` adds a model card. ``dtype`` is that of merged weights; empty = the base's own.
    ``device`` is where they are merged, in float32.
    """

    source: str
    target: str
    kind: ExportKind = "merged"
    card: bool = False
    dtype: str = ""
    base: str = ""
    device: str = "cpu"


class Attach(Job, frozen=True, kw_only=True, tag="attach"):
    """Load the adapter in folder ``path`` under ``name``."""

    path: str
    name: str = ""


class Swap(Job, frozen=True, kw_only=True, tag="swap"):
    """Make ``name`` the active adapter; empty = the bare base."""

    name: str = ""


class Drop(Job, frozen=True, kw_only=True, tag="drop"):
    name: str


class Rename(Job, frozen=True, kw_only=True, tag="rename"):
    """Call the adapter ``name`` on the base ``to`` from now on. Nothing on disk changes."""

    name: str
    to: str


class Status(Job, frozen=True, kw_only=True, tag="status"):
    """Report what is resident. Answered at once, also while another job runs."""


class Cancel(Job, frozen=True, kw_only=True, tag="cancel"):
    """Cancel the job ``target``; empty = the running one. ``after_step``: let its step finish and
    save. Answered at once."""

    target: str = ""
    after_step: bool = False


class Checkpoint(Job, frozen=True, kw_only=True, tag="checkpoint"):
    """Let the training job ``target`` (empty = the running one) save after its step and continue.
    Answered at once."""

    target: str = ""


class Pause(Job, frozen=True, kw_only=True, tag="pause"):
    """Hold the job ``target`` until :class:`Resume`: the running one (also where ``target`` is
    empty) at its next step, a waiting one in the queue. Answered at once."""

    target: str = ""


class Resume(Job, frozen=True, kw_only=True, tag="resume"):
    """Let a paused or held job continue; ``target`` as in :class:`Pause`. Answered at once."""

    target: str = ""


class Move(Job, frozen=True, kw_only=True, tag="move"):
    """Let the waiting job ``target`` run ``by`` places later; earlier where negative. Answered at
    once."""

    target: str
    by: int


class Setup(Job, frozen=True, kw_only=True, tag="setup"):
    """Make the demo workspace: the small base, scenarios and trajectories. Idempotent."""

    workspace: str
    train: int = 400
    holdout: int = 48
    seed: int = 0


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
