"""Jobs that train, or measure what training does: runs, sweeps, experiments."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from sekft_engine.data.recipe import Recipe
from sekft_engine.records.jobs.fields import Base, Device, Job, Load4bit, Out, Strict


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
