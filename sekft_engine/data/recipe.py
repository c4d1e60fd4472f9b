"""The recipe: every hyperparameter of a fine-tune, each a flag, a form field and a line on disk."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sekft_engine.core.errors import BadInput

#: What can be left out of the render contract, for comparison.
Ablation = Literal["none", "mask", "end-of-turn", "normaliser"]


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hyperparameters of one run. Defaults suit a 7B base; the demo raises the learning rate."""

    rank: Annotated[int, Meta(ge=1, le=1024, description="LoRA rank r")] = 16
    alpha: Annotated[
        float, Meta(gt=0, le=1e6, description="LoRA alpha; the update scales by alpha/r")
    ] = 32.0
    dropout: Annotated[float, Meta(ge=0, lt=1, description="dropout on the LoRA input")] = 0.05
    targets: Annotated[
        str, Meta(description="modules to adapt: all-linear, or names separated by commas")
    ] = "all-linear"
    lr: Annotated[float, Meta(gt=0, le=1e30, description="peak learning rate")] = 2e-4
    schedule: Annotated[
        Literal["cosine", "linear", "constant"], Meta(description="decay after the warm-up")
    ] = "cosine"
    warmup: Annotated[float, Meta(ge=0, lt=1, description="share of steps to warm up")] = 0.05
    epochs: Annotated[float, Meta(gt=0, le=1e5, description="passes over the trajectories")] = 3.0
    max_steps: Annotated[int, Meta(ge=0, description="maximum steps (0 = no limit)")] = 0
    batch: Annotated[int, Meta(ge=1, description="trajectories per optimiser step")] = 8
    micro_batch: Annotated[int, Meta(ge=1, description="trajectories per forward pass")] = 4
    recompute: Annotated[
        Literal["auto", "never", "always"],
        Meta(
            description="compute activations twice instead of holding them; auto = where a step "
            "would not fit into memory otherwise"
        ),
    ] = "auto"
    compile: Annotated[
        Literal["never", "always"],
        Meta(description="run the blocks through torch.compile: for long runs on CUDA"),
    ] = "never"
    max_length: Annotated[
        int, Meta(ge=16, description="longest trajectory in tokens; longer ones are dropped")
    ] = 2048
    weight_decay: Annotated[float, Meta(ge=0, le=1e3, description="AdamW weight decay")] = 0.0
    clip: Annotated[float, Meta(ge=0, le=1e9, description="gradient norm limit; 0 = none")] = 1.0
    heldout: Annotated[
        float,
        Meta(ge=0, lt=1, description="share of trajectories kept for held-out loss"),
    ] = 0.05
    heldout_every: Annotated[
        int, Meta(ge=0, description="steps between held-out losses; 0 = only at the end")
    ] = 10
    eval_every: Annotated[
        int,
        Meta(ge=0, description="steps between evals of the adapter in real worlds; 0 = none"),
    ] = 0
    eval_worlds: Annotated[int, Meta(ge=1, description="worlds of such an eval")] = 8
    patience: Annotated[
        int,
        Meta(
            ge=0,
            description="stop, and keep the best adapter, after so many evals (without them: "
            "held-out losses) with none better; 0 = never",
        ),
    ] = 0
    token_losses: Annotated[
        int,
        Meta(
            ge=0,
            description="trajectories whose loss is measured token by token before and after, "
            "half of them held-out ones; 0 = none",
        ),
    ] = 8
    limit: Annotated[int, Meta(ge=0, description="use at most this many trajectories; 0 = all")] = 0
    seed: Annotated[
        int, Meta(ge=0, lt=2**53, description="seed of data order, initialisation, dropout")
    ] = 0
    ablation: Annotated[
        Ablation,
        Meta(
            description="leave a part of the render contract out, to measure what it is worth: "
            "train on every token, not on the end of a turn, or without folding the login"
        ),
    ] = "none"


class RecipeField(msgspec.Struct, frozen=True):
    """One recipe field as a front end shows it."""

    name: str
    type: type
    choices: tuple[str, ...]
    default: Any
    help: str


def recipe_fields() -> tuple[RecipeField, ...]:
    """All fields in order, for command-line flags and the form of the workbench."""
    out = []
    for name, info in msgspec.json.schema(Recipe)["$defs"]["Recipe"]["properties"].items():
        default = info["default"]
        choices = tuple(info.get("enum", ()))
        out.append(RecipeField(name, type(default), choices, default, info.get("description", "")))
    return tuple(out)


def recipe_from(values: dict[str, Any], where: str = "recipe") -> Recipe:
    """Build a recipe from loose values (numbers may be strings), or say which one is wrong."""
    try:
        return msgspec.convert(values, Recipe, strict=False)
    except msgspec.ValidationError as error:
        name, what = wrong_value(error, values)
        raise BadInput(
            f"{name} {what}" if name else what,
            where=where,
            mend="sekft train --help lists the fields",
        ) from error


def wrong_value(error: msgspec.ValidationError, values: dict[str, Any]) -> tuple[str, str]:
    """Which of ``values`` msgspec does not take ('' = none of them alone), and what it would."""
    what, _, place = str(error).partition(" - at ")
    what = f"{what[:1].lower()}{what[1:].replace('`', '')}"
    name = place.strip("`$.")
    if name not in values:
        return "", what
    if match := _WANTED.match(what):
        kind = {"float": "a number", "int": "a whole number"}.get(match[1], match[1])
        limit = f" {match[2]} {match[3].removesuffix('.0')}" if match[2] else ""
        what = f"enter {kind}{limit}"
    elif what.startswith("invalid enum"):
        field = next(field for field in recipe_fields() if field.name == name)
        what = f"enter one of {', '.join(field.choices)}"
    return name, f"{values[name]}: {what}"


#: What msgspec says of a value: the type it wants, and its limit.
_WANTED = re.compile(r"expected (\w+)(?: (<=|>=|<|>) (\S+))?")
