"""The presets: everything that fixes an experiment of a certain size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from sekft_engine import demo
from sekft_engine.core.errors import BadInput
from sekft_engine.data.recipe import Recipe, recipe_from
from sekft_engine.records import jobs
from sekft_engine.records.jobs import AblationName, PresetName

#: The held-out splits of a full experiment, and the one of training's own kinds.
HELD_OUT = ("compositions", "primitives")
SPLITS = ("seen", *HELD_OUT)
#: The split of the demo's workspace, which is half compositions and half primitives.
HOLDOUT = "holdout"


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """The size of an experiment.

    Attributes:
        base: what is trained, unless another base is named.
        demo: the data is the demo workspace's own, and so are its held-out worlds.
        core: of training's kinds of work, only the most usual ones are made.
        sessions, seeds, rounds: numbers of training sessions, training seeds, rounds.
        worlds: number of worlds to evaluate in, by split.
        ablations: what is left out, each in a training run of its own.
        recipe: of all training.
        step_cap, turn_tokens: limits of an episode.
        load_4bit: how the base is held; None = as it is loaded.
        draws, temperature: how an adapter acts in training worlds in a round of improvement.
        about: for whom it is, and what it takes.
    """

    name: PresetName
    base: str
    demo: bool = False
    core: bool = True
    sessions: int
    worlds: dict[str, int]
    seeds: int = 1
    rounds: int = 0
    ablations: tuple[AblationName, ...] = ()
    recipe: Recipe
    step_cap: int
    turn_tokens: int
    load_4bit: bool | None = None
    draws: int = 4
    temperature: float = 0.7
    about: str = ""


def presets() -> Mapping[PresetName, Preset]:
    """All presets by name."""
    every: tuple[AblationName, ...] = get_args(AblationName)
    setup = jobs.Setup(workspace="")
    return {
        "proof": Preset(
            name="proof",
            base=demo.BASE,
            demo=True,
            sessions=setup.train,
            worlds={HOLDOUT: demo.EPISODES},
            recipe=demo.RECIPE,
            step_cap=demo.STEP_CAP,
            turn_tokens=demo.TURN_TOKENS,
            about="the smallest: two CPU cores, under 20 minutes; what `make proof` runs",
        ),
        "laptop": Preset(
            name="laptop",
            base=demo.BASE,
            sessions=1600,
            worlds={"seen": 48, "compositions": 48, "primitives": 48},
            seeds=3,
            rounds=1,
            ablations=every,
            recipe=demo.RECIPE,
            step_cap=demo.STEP_CAP,
            turn_tokens=demo.TURN_TOKENS,
            about="two CPU cores; with --budget 120m the number of sessions is what fits",
        ),
        "gpu-7b": Preset(
            name="gpu-7b",
            base="mistralai/Mistral-7B-Instruct-v0.2",
            core=False,
            sessions=4000,
            worlds={"seen": 96, "compositions": 96, "primitives": 96},
            seeds=3,
            rounds=1,
            ablations=every,
            recipe=Recipe(epochs=1, batch=16, micro_batch=4, lr=2e-4, heldout=0.02),
            step_cap=24,
            turn_tokens=96,
            load_4bit=True,
            about="a card with 16 GB or more, QLoRA; not run on a card yet (docs/experiment.md)",
        ),
    }


def preset_of(job: jobs.Experiment) -> Preset:
    """The preset of ``job``, with what the job says otherwise.

    Raises:
        BadInput: a flag is no recipe field, or what is asked for contradicts itself.
    """
    found = presets()[job.preset]
    if job.no_ablations and job.ablations:
        raise BadInput(
            "something is to be left out, and nothing is",
            where="--no-ablations",
            mend="leave --ablation or --no-ablations out",
        )
    changes: dict[str, Any] = {
        name: value
        for name in ("sessions", "seeds", "step_cap", "turn_tokens")
        if (value := getattr(job, name))
    }
    if job.load_4bit is not None:
        changes["load_4bit"] = job.load_4bit
    if job.rounds >= 0:
        changes["rounds"] = job.rounds
    if job.base:
        changes["base"] = job.base
    if job.worlds:
        changes["worlds"] = dict.fromkeys(found.worlds, job.worlds)
    if job.no_ablations:
        changes["ablations"] = ()
    elif job.ablations:
        changes["ablations"] = tuple(dict.fromkeys(job.ablations))
    if job.flags:
        changes["recipe"] = recipe_from(msgspec.to_builtins(found.recipe) | job.flags)
    return msgspec.structs.replace(found, **changes)
