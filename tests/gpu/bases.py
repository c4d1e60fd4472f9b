"""The bases and rows that the checks run on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.large import make_base
from sekft_engine.bases import resolve_base
from sekft_engine.data.recipe import Recipe
from sekft_engine.model.resident import ResidentBase
from sekft_engine.training.trainer.data import Data, TrainRow
from sekft_engine.training.trainer.trainer import Trainer

RECIPE = Recipe(
    rank=16, lr=1e-3, schedule="constant", warmup=0, batch=8, micro_batch=4, epochs=1, heldout=0,
    dropout=0.0, token_losses=0,
)  # fmt: skip


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What a check is to run on.

    Attributes:
        device: ``cuda`` or ``cpu``.
        tiny: toys in place of real bases.
        base: the small real base, or a folder.
        place: a folder for what is made.
    """

    device: str
    tiny: bool
    base: str
    place: Path

    @classmethod
    def of(cls, options: argparse.Namespace) -> Setting:
        return cls(
            device=options.device, tiny=options.tiny, base=options.base, place=Path(options.place)
        )

    @property
    def small(self) -> Path:
        """The folder of the small base: a toy if tiny."""
        like = resolve_base(self.base)
        return self.made("toy", like) if self.tiny else like

    @property
    def large(self) -> Path:
        """The folder of a random base of 7B shape: a toy if tiny."""
        return self.made("toy" if self.tiny else "7b", resolve_base(self.base))

    def made(self, shape: str, like: Path) -> Path:
        folder = self.place / shape
        return folder if (folder / "config.json").is_file() else make_base(folder, shape, like)

    def load(self, folder: Path, *, load_4bit: bool = False) -> ResidentBase:
        """The base in ``folder`` on the device of this setting."""
        base = ResidentBase.load(folder, load_4bit=load_4bit)
        if base.device.type != self.device:
            raise RuntimeError(f"the base is on {base.device}, not on {self.device}")
        return base


def rows_of(base: ResidentBase, count: int, tokens: int, *, seed: int = 0) -> list[TrainRow]:
    """Random rows of up to ``tokens`` tokens that share no beginning; a third is trained."""
    random = np.random.default_rng(seed)
    vocabulary = int(base.model.config.get_text_config().vocab_size)
    rows = []
    for number in range(count):
        length = int(tokens * (0.6 + 0.4 * (number + 1) / count))
        ids = random.integers(3, vocabulary, length).astype(np.int32)
        at = np.arange(length // 3, 2 * length // 3, dtype=np.int32)
        rows.append(TrainRow(id=f"row-{number}", ids=ids, at=at))
    return rows


def train(
    base: ResidentBase, rows: list[TrainRow], recipe: Recipe, name: str = "checked"
) -> dict[str, Any]:
    """The losses of a short training, its seconds after the first step, and its tokens."""
    base.new_adapter(name, recipe)
    try:
        data = Data(train=tuple(rows), heldout=(), dropped={}, digest="", order="")
        steps = list(Trainer(base, name, data, recipe).steps())
    finally:
        base.drop(name)
    later = steps[1:]
    seconds = sum(step.seconds for step in later)
    return {
        "losses": [step.loss for step in steps],
        "norms": [step.grad_norm for step in steps],
        "seconds": seconds,
        "tokens_per_s": sum(step.tokens for step in later) / seconds if seconds else 0.0,
    }
