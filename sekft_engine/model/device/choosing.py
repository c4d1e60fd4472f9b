"""Choose a device by what was asked for."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.model.device.kinds import Device, kinds

if TYPE_CHECKING:
    import torch

#: What may be asked for; ``auto`` is the card of this process if there is one, else the CPU.
_ASKED = re.compile(r"([a-z]+)(?::(\d+))?")
_AUTOMATIC = ("", "auto")
_WAY_OUT = "take auto, cpu, cuda, or one card, as cuda:1"


def choose_device(asked: str = "auto") -> torch.device:
    """The device that ``asked`` names: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Without a number it is the card of this process: with several processes on one machine, which
    ``torchrun`` and ``accelerate`` number in ``LOCAL_RANK``, each has its own.

    Raises:
        BadInput: no such device is here.
        Unavailable: there are fewer cards than processes.
    """
    import torch

    if fault := device_fault(asked):
        raise _no_device(fault, _WAY_OUT)
    wanted, _, digits = asked.partition(":")
    kind, number = kinds().get(wanted, Device), int(digits) if digits else None
    if wanted in _AUTOMATIC:
        kind = next((kind for kind in kinds().values() if kind.automatic and kind.count()), Device)
    if kind is Device:
        return torch.device("cpu")
    count = kind.count()
    if not count:
        why = kind.why_missing()
        raise _no_device(
            f"no {kind.kind} device is here: {why}",
            "sekft doctor says what is missing; --device cpu does without",
        )
    if number is None:
        return torch.device(kind.kind, _number_of_process(count))
    if number >= count:
        cards = "only cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        cards = cards.replace("cuda", kind.kind)
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        limit = "" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible!r})"
        raise _no_device(f"no {asked} is here: torch sees {cards}{limit}", _WAY_OUT)
    if _processes() > 1:
        raise _no_device(
            f"{asked} is one card, and several processes train together, each on its own",
            "--device cuda, and CUDA_VISIBLE_DEVICES for which cards",
        )
    return torch.device(kind.kind, number)


def device_fault(asked: str) -> str:
    """Why ``asked`` names no device anywhere; empty = it may be there. Needs no torch."""
    named = _ASKED.fullmatch(asked)
    one_of_many = bool(named and named[2])
    known = asked in _AUTOMATIC or (named is not None and named[1] in kinds())
    if not known or (one_of_many and named is not None and named[1] == Device.kind):
        return f"{asked!r} is no device"
    return ""


def _no_device(what: str, mend: str) -> BadInput:
    return BadInput(what, where="--device", mend=mend)


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _number_of_process(count: int) -> int:
    """The number of this process's card among ``count``.

    A launcher may show each process its own card alone.
    """
    number = int(os.environ.get("LOCAL_RANK", "0")) if _processes() > 1 else 0
    if count == 1 or number < count:
        return min(number, count - 1)
    raise Unavailable(
        f"process {number + 1} of this machine has no card: torch sees {count}",
        where="--device",
        mend="start one process for each card, or use --device cpu",
    )
