"""Whether the run in the form fits into memory, and its speed, in two lines of the form.

What computes that is imported at the first call, so that a workbench opens without it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from sekft_engine.core.errors import SekftError
from sekft_engine.core.imports import import_module
from sekft_engine.core.machine import usable_threads
from sekft_engine.data.recipe import Recipe
from sekft_tui.model.runs.measured import Measured
from sekft_tui.text import short_number, visible

if TYPE_CHECKING:
    from sekft_engine.training.planning.plan import Plan

_GIB = 2**30
#: From this ratio of its ends on, a range needs a reason, if there is one.
_WIDE = 2.0
_BUSY = "the machine is busy"


class MemoryLine(NamedTuple):
    """What the form shows: a few words, the help below, whether the run fits, and the range of its
    speed (empty = nobody knows), also in tokens per second, and ``why`` as of a size."""

    value: str
    help: str
    fits: bool = True
    speed: str = ""
    tokens_per_s: tuple[float, float] = (0.0, 0.0)
    why: str = ""

    def as_measured(self, known: Measured) -> MemoryLine:
        """With the speed of a run that trained the same shapes, in place of the estimate."""
        rate = short_number(float(f"{known.tokens_per_s:.2g}"))
        name = visible(known.run.id)
        return self._replace(
            speed=f"about {rate} tokens/s, as {name} had",
            tokens_per_s=(known.tokens_per_s,) * 2,
            why=f"as fast as {name}",
        )


def memory_line(
    base: str, recipe: Recipe, *, device: str, resident: int, load_4bit: bool
) -> MemoryLine:
    """The memory of the run that the form describes, if all its rows were as long as they may be,
    and the estimated speed.

    Args:
        base: as in the form: a folder, or a known base.
        device: as in the form.
        resident: bytes that a resident base takes; they count as free.
    """
    bases = import_module("sekft_engine.bases")
    shape = import_module("sekft_engine.bases.shape")
    planning = import_module("sekft_engine.training.planning.plan")
    where = import_module("sekft_engine.training.planning.place")
    folder = next(
        (path for path in (Path(base).expanduser(), bases.cache_root() / base) if path.is_dir()),
        None,
    )
    if not base or folder is None:
        return MemoryLine("", "memory use is known once it is on this machine")
    try:
        place = where.place_here(device=device, measure=False)
        place = msgspec.structs.replace(place, free=place.free + resident)
        plan = planning.plan_run(base, shape.read_shape(folder), recipe, place, load_4bit=load_4bit)
    except SekftError as error:
        return MemoryLine("", error.what)
    speed = _tokens_per_s(plan)
    why = _BUSY if speed[1] > _WIDE * speed[0] and _is_busy() else ""
    words = _speed(plan) + (f", {why}" if why else "")
    return MemoryLine(_value(plan), _help(plan), plan.fits, words, speed, why)


def _is_busy() -> bool:
    """Whether as many processes want to compute as there are processors."""
    try:
        return os.getloadavg()[0] >= usable_threads()
    except OSError:
        return False


def measure_processor() -> None:
    """Measure what the speed of runs on this machine's processor is estimated from; some 0.1 s."""
    import_module("sekft_engine.training.planning.processor").processor()


def _speed(plan: Plan) -> str:
    way = next((way for way in plan.ways if way.fits), None)
    if way is None or way.speed is None:
        return ""
    return f"about {way.speed.rounded('-')} tokens/s (estimate)"


def _tokens_per_s(plan: Plan) -> tuple[float, float]:
    way = next((way for way in plan.ways if way.fits), None)
    return (way.speed.low, way.speed.high) if way is not None and way.speed else (0.0, 0.0)


def _value(plan: Plan) -> str:
    way = next((way for way in plan.ways if way.fits), None)
    if way is None:
        return f"≤ {_gib(plan.ways[-1].total)} GiB: too much"
    return f"≤ {_gib(way.total)} GiB, " + ("recomputed" if way.recompute else "fits")


def _help(plan: Plan) -> str:
    way = next((way for way in plan.ways if way.fits), plan.ways[-1])
    return (
        f"at most, if all rows have max length: base {_gib(plan.base_bytes)}, activations "
        f"{_gib(way.activations)}; {_gib(plan.free)} GiB {_where(plan)}. "
        f"{plan.advice.capitalize()}. sekft plan says more"
    )


def _where(plan: Plan) -> str:
    """Where that much memory is free."""
    where = import_module("sekft_engine.training.planning.place")
    return "of memory are free" if plan.place == where.PROCESSOR else f"are free on {plan.place}"


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f}"
