"""Usual cards, by what their makers publish of them.

Peaks are those of dense matrix products in bfloat16 that are summed in float32, as torch computes
them; data sheets often print twice that, for sparse matrices. Cards without bfloat16 have their
float32 peak, since a base computes in that there.
"""

from __future__ import annotations

import re

import msgspec

from sekft_engine.core.errors import BadInput

GIB = 2**30
#: GDDR6 keeps a sixteenth of itself for error correction where that is on (NVIDIA's data sheets).
_INLINE_ECC = 15 / 16


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A card.

    Attributes:
        name: as people call it.
        memory_gib: its memory; makers write GB and mean GiB.
        peak_tflops: 10^12 operations per second in matrix products; 0 = unknown.
        bandwidth_gbs: 10^9 bytes per second of its memory; 0 = unknown.
        source: the page of its maker that says so.
        bf16: whether it computes in bfloat16 itself.
        inline_ecc: whether its driver shows a sixteenth less, for error correction.
    """

    name: str
    memory_gib: float
    peak_tflops: float = 0.0
    bandwidth_gbs: float = 0.0
    source: str = ""
    bf16: bool = True
    inline_ecc: bool = False

    @property
    def memory(self) -> int:
        """Bytes that its driver shows."""
        return int(self.memory_gib * GIB * (_INLINE_ECC if self.inline_ecc else 1))


def _card(
    name: str,
    memory: float,
    peak: float,
    bandwidth: float,
    source: str,
    *,
    bf16: bool = True,
    ecc: bool = False,
) -> Card:
    return Card(
        name=name,
        memory_gib=memory,
        peak_tflops=peak,
        bandwidth_gbs=bandwidth,
        source=source,
        bf16=bf16,
        inline_ecc=ecc,
    )


_AMPERE = "NVIDIA Ampere GA102 GPU Architecture whitepaper"
_ADA = "NVIDIA Ada GPU Architecture whitepaper"
_BLACKWELL = "NVIDIA RTX Blackwell GPU Architecture whitepaper"
#: By the name that ``--gpu`` takes.
CARDS = {
    "rtx3080": _card("RTX 3080", 10, 59.5, 760, _AMPERE),
    "rtx3090": _card("RTX 3090", 24, 71, 936, _AMPERE),
    "rtx4080": _card("RTX 4080", 16, 97.5, 717, _ADA),
    "rtx4090": _card("RTX 4090", 24, 165.2, 1008, _ADA),
    "rtx5090": _card("RTX 5090", 32, 209.5, 1792, _BLACKWELL),
    "rtxa6000": _card("RTX A6000", 48, 154.8, 768, _AMPERE),
    "rtx6000ada": _card(
        "RTX 6000 Ada", 48, 364.2, 960, "NVIDIA Ada GPU Architecture whitepaper (professional)"
    ),
    "t4": _card("T4", 16, 8.1, 300, "NVIDIA T4 data sheet", bf16=False, ecc=True),
    "v100": _card("V100 SXM2 16 GB", 16, 15.7, 900, "NVIDIA V100 data sheet", bf16=False),
    "v100-32gb": _card("V100 SXM2 32 GB", 32, 15.7, 900, "NVIDIA V100 data sheet", bf16=False),
    "a10": _card("A10", 24, 125, 600, "NVIDIA A10 data sheet", ecc=True),
    "l4": _card("L4", 24, 121, 300, "NVIDIA L4 data sheet", ecc=True),
    "l40s": _card("L40S", 48, 362, 864, "NVIDIA L40S data sheet", ecc=True),
    "a100": _card("A100 SXM 80 GB", 80, 312, 2039, "NVIDIA A100 data sheet"),
    "a100-40gb": _card("A100 40 GB", 40, 312, 1555, "NVIDIA A100 data sheet"),
    "h100": _card("H100 SXM", 80, 989, 3350, "NVIDIA H100 data sheet"),
    "h100-pcie": _card("H100 PCIe", 80, 756, 2000, "NVIDIA H100 PCIe product brief"),
    "h200": _card("H200 SXM", 141, 989, 4800, "NVIDIA H200 data sheet"),
    "mi300x": _card("Instinct MI300X", 192, 1307, 5300, "AMD Instinct MI300X data sheet"),
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(g|gb|gib|m|mb|mib)", re.IGNORECASE)
#: Words in names that tell no card from another.
_NOISE = re.compile(r"nvidia|geforce|amd|tesla|instinct|generation|gpu|sxm\d?|hbm\d?e?")


def find_card(text: str) -> Card:
    """The card that ``text`` names (``rtx4090``, ``NVIDIA GeForce RTX 4090``), or one of so much
    memory (``24GB``), of which no more is known.

    Raises:
        BadInput: it is neither.
    """
    if size := _SIZE.fullmatch(text.strip()):
        gib = float(size[1]) / (1024 if size[2].lower().startswith("m") else 1)
        if gib > 0:
            return Card(name=f"a card with {gib:g} GiB", memory_gib=gib)
    if found := known_card(text):
        return found
    raise BadInput(
        "no card of this name is known",
        where=f"--gpu {text}",
        mend=f"give its memory, as in --gpu 24GB, or one of {', '.join(CARDS)}",
    )


def known_card(text: str) -> Card | None:
    """The card of the table that ``text`` names, also as its driver calls it; None = none."""
    wanted, memory = _words(text)
    for ignored in (set(), {"pcie"}):
        for key, card in CARDS.items():
            same = "".join(word for word in wanted if word not in ignored) in {
                "".join(_words(name)[0]) for name in (key, card.name)
            }
            if same and memory in (0.0, card.memory_gib):
                return card
    return None


def _words(text: str) -> tuple[list[str], float]:
    """The words of a name that matter, and the GB that it names; 0 = none."""
    lowered = re.sub(r"(\d+) ?gb\b", r" size\1 ", text.lower())
    words = [word for word in re.findall(r"[a-z0-9]+", lowered) if not _NOISE.fullmatch(word)]
    sizes = [float(word[4:]) for word in words if word.startswith("size")]
    return [word for word in words if not word.startswith("size")], sizes[0] if sizes else 0.0
