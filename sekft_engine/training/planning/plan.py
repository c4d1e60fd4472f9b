"""Will it fit? The plan of a run from a base's configuration, before anything is loaded."""

from __future__ import annotations

from typing import Literal

import msgspec

from sekft_engine.bases.shape import DecoderShape
from sekft_engine.data.recipe import Recipe
from sekft_engine.training.planning.computed import (
    Computing,
    adapter_bytes,
    base_bytes,
    computed_step,
    eval_bytes,
)
from sekft_engine.training.planning.place import Place
from sekft_engine.training.planning.speed import Speed, estimate_speed
from sekft_engine.training.planning.step import (
    LongestPasses,
    Passes,
    StepMemory,
    longest_that_fits,
)

#: No longer session is looked for where a base does not say how far its positions reach.
_FAR = 1 << 20


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """The memory of a step, in bytes, one way to compute it.

    Attributes:
        recompute: whether activations are computed again in the backward pass.
        activations: what the heaviest pass leaves for its backward pass.
        logits: at trained positions, with their gradients.
        backward: what the backward pass of a layer needs, when the logits are gone.
        total: all that is held at once, with base, adapter and optimiser.
        fits: whether that is free.
        longest_session: the most tokens of a session, alone in its pass, that fit.
    """

    recompute: bool
    activations: int
    logits: int
    backward: int
    total: int
    fits: bool
    longest_session: int
    speed: Speed | None = None


class EvalMemory(msgspec.Struct, frozen=True, kw_only=True):
    """The memory of an eval, in bytes: of ``rows`` episodes of up to ``tokens`` ids at once."""

    rows: int
    tokens: int
    kv_cache: int
    total: int
    fits: bool


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is expected to take; all sizes are bytes.

    Attributes:
        base: what was asked for.
        family, weights: of the base.
        place, free: where it is to run, and what is free there.
        precision: how the base's weights are held.
        rows: ``data`` or, without any, ``longest``: all rows as long as the recipe allows.
        micro_batch, tokens, trained: of the heaviest pass.
        base_bytes, adapter, optimiser, gradients: what is held whatever the size of a pass;
            ``optimiser`` is the two moments of AdamW and the last good weights.
        ways: as it is, and with recomputation, as far as the recipe allows them.
        fits: whether one of them fits.
        advice: what to do, in a line.
    """

    base: str
    family: str
    weights: int
    place: str
    free: int
    precision: str
    rows: Literal["data", "longest"]
    micro_batch: int
    tokens: int
    trained: int
    base_bytes: int
    adapter: int
    optimiser: int
    gradients: int
    ways: tuple[Way, ...]
    eval: EvalMemory
    fits: bool
    advice: str
    estimate: bool = True


def plan_run(
    base: str,
    shape: DecoderShape,
    recipe: Recipe,
    place: Place,
    *,
    load_4bit: bool = False,
    passes: Passes | None = None,
    eval_rows: int = 16,
    eval_tokens: int = 4096,
) -> Plan:
    """The plan of a run.

    Args:
        base: its name, for the plan.
        passes: what is trained on; None = rows as long as the recipe allows.
        eval_rows, eval_tokens: episodes of an eval at once, and the most ids of each.

    Raises:
        BadInput: the recipe's targets are not layers of this base.
    """
    computing, run = place.computing, passes or LongestPasses(recipe)
    weights = base_bytes(shape, computing, load_4bit=load_4bit)
    adapter = adapter_bytes(shape, recipe)
    free = place.free - weights - adapter
    choices = {"never": (False,), "always": (True,), "auto": (False, True)}[recipe.recompute]
    steps = [
        computed_step(shape, recipe, computing, load_4bit=load_4bit, recompute=choice)
        for choice in choices
    ]
    most = shape.longest or _FAR
    plain = computed_step(shape, recipe, computing, load_4bit=load_4bit)
    ways = tuple(
        _way(shape, recipe, place, run, step, plain, weights, adapter, most, recompute=choice)
        for choice, step in zip(choices, steps, strict=True)
    )
    size = run.heaviest(steps[0])
    tokens = min(eval_tokens, most)
    kv_cache, rest = eval_bytes(shape, computing, eval_rows, tokens, load_4bit=load_4bit)
    evaluated = weights + adapter + kv_cache + rest
    return Plan(
        base=base,
        family=shape.family,
        weights=shape.weights,
        place=place.name,
        free=place.free,
        precision=_precision(computing, load_4bit=load_4bit),
        rows="longest" if passes is None else "data",
        micro_batch=run.most_rows,
        tokens=size.tokens,
        trained=size.trained,
        base_bytes=weights,
        adapter=adapter,
        optimiser=3 * adapter,
        gradients=adapter,
        ways=ways,
        eval=EvalMemory(
            rows=eval_rows,
            tokens=tokens,
            kv_cache=kv_cache,
            total=evaluated,
            fits=evaluated <= place.free,
        ),
        fits=any(way.fits for way in ways),
        advice=_advice(run, steps, ways, free, shape),
    )


def _way(
    shape: DecoderShape,
    recipe: Recipe,
    place: Place,
    run: Passes,
    step: StepMemory,
    plain: StepMemory,
    weights: int,
    adapter: int,
    most: int,
    *,
    recompute: bool,
) -> Way:
    size = run.heaviest(step)
    total = weights + adapter + step.bytes_of(size)
    speed = None
    if place.card is not None:
        speed = estimate_speed(
            shape, recipe, place.card, size,
            base_bytes=weights, held_bytes=plain.held_bytes(size), recompute=recompute,
        )  # fmt: skip
    return Way(
        recompute=recompute,
        activations=round(step.held_bytes(size)),
        logits=round(step.logits_bytes(size)),
        backward=round(step.backward_bytes(size)),
        total=total,
        fits=total <= place.free,
        longest_session=longest_that_fits(step, place.free - weights - adapter, most, most),
        speed=speed,
    )


def _precision(computing: Computing, *, load_4bit: bool) -> str:
    whole = "bfloat16" if computing.width == 2 else "float32"
    return f"NF4, rest in {whole}" if load_4bit else whole


def _advice(
    run: Passes, steps: list[StepMemory], ways: tuple[Way, ...], free: int, shape: DecoderShape
) -> str:
    """What to do, in a line."""
    fitting = next((number for number, way in enumerate(ways) if way.fits), None)
    if fitting is None:
        if free <= 0:
            return "does not fit: the weights of the base alone take more than is free"
        return f"does not fit: {run.what_fits(steps[-1], free)}"
    recipe = run.recipe
    if shape.longest and recipe.max_length > shape.longest:
        return f"fits, but the base's positions end at {shape.longest} tokens"
    if not ways[fitting].recompute:
        return "fits, and no activation is computed twice"
    text = "fits with recomputation"
    if len(ways) > 1 and (count := run.rows_that_fit(steps[0], free)):
        text += f"; with --micro-batch {count} it fits without"
    return text
