"""Where a run is to compute: a card that is named, this machine's card, or its processor."""

from __future__ import annotations

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.core.gpu import Driver, ask_driver
from sekft_engine.core.machine import memory_available
from sekft_engine.training.planning.cards import GIB, Card, find_card, known_card
from sekft_engine.training.planning.computed import Computing, on_cpu
from sekft_engine.training.planning.processor import known_processor, processor

PROCESSOR = "this machine's processor"
#: What a process takes of a card before its first tensor: the CUDA context and its libraries.
CONTEXT_BYTES = GIB // 2


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run is to compute.

    Attributes:
        name: as a person calls it.
        free: bytes that a run may take.
        computing: how a base computes there.
        card: the card, where its figures are known; the processor, with figures measured here.
    """

    name: str
    free: int
    computing: Computing
    card: Card | None = None


def place_named(text: str) -> Place:
    """A card by its name or memory, with nothing else on it.

    Raises:
        BadInput: it is neither.
    """
    card = find_card(text)
    return Place(
        name=f"{card.name}, empty",
        free=card.memory - CONTEXT_BYTES,
        computing=Computing(width=2 if card.bf16 else 4),
        card=card,
    )


def place_here(
    driver: Driver | None = None, device: str = "auto", *, measure: bool = True
) -> Place:
    """A card of this machine with what is free on it now, or its processor.

    Args:
        driver: what NVIDIA's driver says; None = ask it.
        device: as ``--device``; ``auto`` = the first card, else the processor.
        measure: whether the processor is measured where it has not been yet.

    Raises:
        BadInput: there is no such card here.
    """
    driver = driver or ask_driver()
    cards = () if driver is None else driver.cards
    if device == "cpu" or (device == "auto" and not cards):
        return Place(
            name=PROCESSOR,
            free=memory_available(),
            computing=on_cpu(),
            card=processor() if measure else known_processor(),
        )
    number = device.partition(":")[2] or "0"
    if not number.isdecimal() or int(number) >= len(cards):
        raise BadInput(
            f"no card of NVIDIA's driver here is {device}",
            where="--device",
            mend="name a card with --gpu, as in --gpu 24GB, or take --device cpu",
        )
    found = cards[int(number)]
    card = known_card(found.name)
    return Place(
        name=f"{found.name}, as it is now",
        free=found.free - CONTEXT_BYTES,
        computing=Computing(width=2 if card is None or card.bf16 else 4),
        card=card,
    )
