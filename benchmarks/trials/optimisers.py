"""Optimisers for a LoRA on equal sessions: which one has the lowest held-out loss after few steps?

Each variant trains a fresh adapter on the same sessions in the same order, one thread each, and is
measured on the same held-out ones. ``LoRA+`` gives lora_B a higher rate than lora_A
(https://arxiv.org/abs/2402.12354); Muon makes each update orthogonal
(https://kellerjordan.github.io/posts/muon/).

    python -m benchmarks.trials.optimisers --data TRAJECTORIES
    python -m benchmarks.trials.optimisers --data TRAJECTORIES --variant adamw:2e-3

A variant is ``NAME:LR`` or ``NAME:LR:BATCH``, where NAME is ``adamw``, ``muon``, or ``lora+`` and
the ratio of lora_B's rate to that of lora_A.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.shared.report import arguments, run_main, tell
from sekft_engine.bases import resolve_base
from sekft_engine.core.errors import BadInput
from sekft_engine.data.recipe import Recipe
from sekft_engine.model.resident import ResidentBase
from sekft_engine.training.trainer.data import load_data
from sekft_engine.training.trainer.trainer import Trainer

if TYPE_CHECKING:
    from torch.optim import Optimizer

VARIANTS = (
    "adamw:2e-3",
    "lora+4:2e-3",
    "lora+16:1e-3",
    "adamw:5e-3",
    "muon:2e-3",
    "adamw:2e-3:1",
    "lora+4:2e-3:1",
)
_VARIANT = re.compile(r"(adamw|muon|lora\+(\d+(?:\.\d+)?)):([\d.e-]+)(?::(\d+))?")


class Variant(msgspec.Struct, frozen=True):
    """An optimiser: its name, the ratio of lora_B's rate to lora_A's, the rate, rows per step."""

    name: str
    ratio: float
    lr: float
    batch: int


def variant_of(text: str) -> Variant:
    """Read ``NAME:LR[:BATCH]``."""
    found = _VARIANT.fullmatch(text)
    if found is None:
        raise BadInput(f"{text}: no such variant", mend="as in adamw:2e-3 or lora+4:2e-3:2")
    name, ratio, lr, batch = found.groups()
    return Variant("adamw" if ratio else name, float(ratio or 1), float(lr), int(batch or 2))


def optimizer_for(trainer: Trainer, variant: Variant, rank: int) -> Optimizer:
    """An optimiser of the adapter's weights: lora_A is [rank, in], lora_B is [out, rank]."""
    import torch

    class ByRatio(torch.optim.AdamW):
        """Multiplies the rate, which the trainer sets for all groups alike."""

        def step(self, closure: Callable[[], float] | None = None) -> Any:
            for group in self.param_groups:
                group["lr"] *= group["ratio"]
            return super().step(closure)

    if variant.name == "muon":
        return torch.optim.Muon(
            trainer.weights, lr=variant.lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
        )
    lora_a = [weight for weight in trainer.weights if weight.shape[0] == rank]
    lora_b = [weight for weight in trainer.weights if weight.shape[0] != rank]
    groups = [{"params": lora_a, "ratio": 1.0}, {"params": lora_b, "ratio": variant.ratio}]
    return ByRatio(groups, lr=variant.lr, weight_decay=0.0)


def trained(base: ResidentBase, variant: Variant, options: argparse.Namespace) -> dict[str, float]:
    """Train a fresh adapter; its mean loss over the last third of the steps, and held out."""
    recipe = Recipe(
        lr=variant.lr, batch=variant.batch, micro_batch=2, epochs=1, dropout=0,
        heldout=options.heldout / options.limit, limit=options.limit, seed=options.seed,
    )  # fmt: skip
    read = load_data(options.data, "", base.tokenizer, recipe)
    data = msgspec.structs.replace(read, train=read.train[: options.sessions])
    base.new_adapter("trial", recipe)
    trainer = Trainer(base, "trial", data, recipe)
    trainer.optimizer = optimizer_for(trainer, variant, recipe.rank)
    try:
        losses = [step.loss for step in trainer.steps()]
        heldout, tokens = trainer.heldout_loss()
    finally:
        trainer.close()
        base.drop("trial")
    last = losses[-max(1, len(losses) // 3) :]
    return {
        "steps": len(losses),
        "loss": sum(last) / len(last),
        "heldout": heldout,
        "heldout_tokens": tokens,
    }


def show(found: dict[str, dict[str, float]]) -> None:
    """Print a line for each variant."""
    for text, of in found.items():
        print(
            f"{text:<16} {of['steps']:4} steps  loss of the last third {of['loss']:.3f}  "
            f"held out {of['heldout']:.3f}",
            flush=True,
        )


def main() -> None:
    """Train each variant in turn."""
    import torch

    parser = arguments(__doc__)
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--data", required=True, help="recorded sessions")
    parser.add_argument("--variant", action="append", help="NAME:LR[:BATCH]; may be repeated")
    parser.add_argument("--sessions", type=int, default=144, help="to train on")
    parser.add_argument("--heldout", type=int, default=40, help="sessions to measure on")
    parser.add_argument("--limit", type=int, default=940, help="sessions to take all of these from")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    variants = {text: variant_of(text) for text in options.variant or VARIANTS}
    torch.set_num_threads(options.threads)
    base = ResidentBase.load(resolve_base(options.base))
    found = {}
    for text, variant in variants.items():
        found[text] = trained(base, variant, options)
        if not options.json:
            show({text: found[text]})
    if options.json:
        tell(found, show, as_json=True)


if __name__ == "__main__":
    run_main(main)
