"""Direct preference optimisation of an adapter on the resident base: a trial.

The adapter has acted in worlds whose recorded sessions are known (an eval of training worlds).
Where it failed, the first command in which it left the recorded session is ``rejected``, and the
recorded one ``chosen`` (:mod:`sekft_engine.improvement.pairs`). The loss is DPO's, with the adapter
as it was at the start as its reference, plus a share of the chosen command's cross-entropy:
https://arxiv.org/abs/2305.18290 and, for that share, https://arxiv.org/abs/2404.19733.

    python -m benchmarks.trials.preference --adapter RUN --eval EVAL --data TRAJECTORIES --out P

Evaluate P and the adapter it came from in the same worlds with ``sekft eval``.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sekft_engine.bases import resolve_base
from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.episodes.store import episodes_of
from sekft_engine.improvement.pairs import Pair, pairs_of
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records.adapters import AdapterMeta
from sekft_engine.records.runs import adapter_folder
from sekft_engine.render import Row, build_row
from sekft_engine.sources import load_trajectories
from sekft_engine.training.trainer.loss import (
    TrainedTokenLogits,
    token_losses,
    trained_token_logits,
)
from sekft_engine.training.trainer.train_row import TrainRow, train_row

if TYPE_CHECKING:
    from torch import Tensor

NAME = "policy"


class Sides(msgspec.Struct, frozen=True):
    """The rows of a pair: only the chosen and the rejected command are trained."""

    chosen: TrainRow
    rejected: TrainRow


def log_probabilities(logits: TrainedTokenLogits, pairs: Sequence[Sides]) -> tuple[Tensor, Tensor]:
    """Of the chosen and the rejected command of each pair, in nats: [pairs], [pairs]."""
    import torch

    rows = [row for pair in pairs for row in (pair.chosen, pair.rejected)]
    losses, owners = token_losses(logits, rows)
    sums = torch.zeros(len(rows), dtype=losses.dtype).index_add(0, owners.long(), -losses)
    return sums[0::2], sums[1::2]


def dpo_loss(
    policy: tuple[Tensor, Tensor],
    reference: tuple[Tensor, Tensor],
    lengths: Tensor,
    *,
    beta: float,
    nll: float,
) -> tuple[Tensor, Tensor]:
    """The mean loss over the pairs, and by how much each one's chosen command is preferred.

    Args:
        policy, reference: log-probabilities of the chosen and the rejected commands, [pairs] each.
        lengths: tokens of the chosen commands, [pairs].
        beta: how strongly the policy is held to the reference.
        nll: weight of the chosen commands' mean cross-entropy.

    Returns:
        a scalar, and the margins [pairs] in nats.
    """
    import torch

    margin = (policy[0] - reference[0]) - (policy[1] - reference[1])
    preferred = torch.nn.functional.softplus(-beta * margin)
    return (preferred - nll * policy[0] / lengths).mean(), margin.detach()


def sides_of(pair: Pair, number: int, base: ResidentBase, longest: int) -> Sides | None:
    """The rows of ``pair``; None where one of them is
    refused, or longer than ``longest`` tokens."""

    def row(command: str, side: str) -> TrainRow | None:
        before = tuple(msgspec.structs.replace(turn, train=False) for turn in pair.prompt)
        turns = (*before, Turn(role="assistant", content=command))
        session = Trajectory(id=f"{number}-{side}", turns=turns)
        made = build_row(session, base.tokenizer, max_length=longest)
        return train_row(made) if isinstance(made, Row) else None

    chosen, rejected = row(pair.chosen, "chosen"), row(pair.rejected, "rejected")
    return Sides(chosen, rejected) if chosen is not None and rejected is not None else None


def batches(pairs: Sequence[Sides], size: int, seed: int) -> Iterator[list[int]]:
    """The numbers of the pairs of each step: one pass over all, in an order fixed by ``seed``."""
    order = list(range(len(pairs)))
    random.Random(seed).shuffle(order)
    for at in range(0, len(order), size):
        yield order[at : at + size]


def prefer(
    base: ResidentBase,
    name: str,
    pairs: Sequence[Sides],
    *,
    beta: float = 0.1,
    nll: float = 0.2,
    lr: float = 5e-5,
    batch: int = 4,
    epochs: int = 1,
    seed: int = 0,
) -> Iterator[tuple[float, float]]:
    """Train the adapter ``name`` of ``base`` on ``pairs``, without dropout.

    Args:
        beta, nll: see :func:`dpo_loss`.
        lr: the learning rate, which is constant.
        batch: pairs of a step.
        epochs: how often each pair is seen.
        seed: fixes their order.

    Yields:
        of each step the loss, and the mean margin in nats before it.
    """
    import torch

    logits = trained_token_logits(base.model)
    base.activate(name)
    base.model.eval()
    with torch.no_grad():
        known = [log_probabilities(logits, [pair]) for pair in pairs]
    weights = base.trainable(name)
    base.model.eval()  # no dropout, as in the reference
    optimizer = torch.optim.AdamW(weights, lr=lr, weight_decay=0.0)
    for epoch in range(epochs):
        for numbers in batches(pairs, batch, seed + epoch):
            reference = (
                torch.cat([known[number][0] for number in numbers]),
                torch.cat([known[number][1] for number in numbers]),
            )
            lengths = torch.tensor([float(pairs[number].chosen.trained) for number in numbers])
            policy = log_probabilities(logits, [pairs[number] for number in numbers])
            loss, margins = dpo_loss(policy, reference, lengths, beta=beta, nll=nll)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            base.touched(name)
            yield float(loss.detach()), float(margins.mean())
    base.activate(name)


def likelier(base: ResidentBase, pairs: Sequence[Sides]) -> int:
    """Of how many pairs the active adapter finds the chosen command likelier than the other."""
    import torch

    logits = trained_token_logits(base.model)
    base.model.eval()
    with torch.no_grad():
        found = [log_probabilities(logits, [pair]) for pair in pairs]
    return sum(float(chosen) > float(rejected) for chosen, rejected in found)


def main() -> None:
    """Make the pairs, train, and save the adapter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--adapter", required=True, help="a run, or a folder of an adapter")
    parser.add_argument("--eval", required=True, help="the run of its eval in training worlds")
    parser.add_argument("--data", required=True, help="the recorded sessions of these worlds")
    parser.add_argument("--out", required=True, help="the folder for the new adapter")
    parser.add_argument("--beta", type=float, default=0.1)
    parser.add_argument("--nll", type=float, default=0.2)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--batch", type=int, default=4, help="pairs of a step")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--longest", type=int, default=1024, help="tokens of a row at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    listed = episodes_of(Path(options.eval) / "episodes").values()
    episodes = [each for found in listed for each in found]
    found = pairs_of(episodes, load_trajectories(options.data).trajectories)
    if not found:
        raise SystemExit("no failed session leaves a recorded one: nothing to learn from")
    base = ResidentBase.load(resolve_base(options.base))
    base.attach(NAME, adapter_folder(options.adapter))
    made = [sides_of(pair, number, base, options.longest) for number, pair in enumerate(found)]
    pairs = [pair for pair in made if pair is not None]
    print(f"{len(episodes)} sessions, {len(found)} pairs, {len(pairs)} of them short enough")
    base.activate(NAME)
    print(f"chosen commands that are likelier than the rejected ones: {likelier(base, pairs)}")
    steps = prefer(
        base,
        NAME,
        pairs,
        beta=options.beta,
        nll=options.nll,
        lr=options.lr,
        batch=options.batch,
        epochs=options.epochs,
        seed=options.seed,
    )
    for step, (loss, margin) in enumerate(steps, 1):
        print(f"step {step}: loss {loss:.4f}, margin {margin:+.2f} nats", flush=True)
    print(f"afterwards: {likelier(base, pairs)} of {len(pairs)}")
    base.save_adapter(NAME, Path(options.out).absolute(), base.meta(NAME) or AdapterMeta())
    base.prove()
    print(f"adapter: {options.out}")


if __name__ == "__main__":
    main()
