"""Preference pairs teach an adapter what a verified session typed where a failed one left it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from benchmarks.trials.preference import dpo_loss, likelier, log_probabilities, prefer, sides_of
from sekft_engine.data.recipe import Recipe
from sekft_engine.data.trajectory import Turn
from sekft_engine.improvement.pairs import Pair
from sekft_engine.model.resident import ResidentBase
from sekft_engine.training.trainer.loss import trained_token_logits

LOGIN = Turn(role="user", content="Orders: quil\nuser@box:~$ ")


@pytest.fixture
def base(tiny_base: Path) -> ResidentBase:
    loaded = ResidentBase.load(tiny_base)
    loaded.new_adapter("policy", Recipe(rank=4, alpha=8, dropout=0.0, seed=3))
    return loaded


def pair(chosen: str, rejected: str) -> Pair:
    return Pair(
        prompt=(LOGIN,), chosen=chosen, rejected=rejected, scenario="s", archetype="a",
        sessions=("right", "wrong"), why="not verified",
    )  # fmt: skip


def test_the_loss_is_that_of_the_paper() -> None:
    policy = torch.tensor([-3.0, -5.0]), torch.tensor([-4.0, -2.0])
    reference = torch.tensor([-3.5, -4.0]), torch.tensor([-3.0, -2.5])
    lengths = torch.tensor([2.0, 4.0])
    loss, margins = dpo_loss(policy, reference, lengths, beta=0.5, nll=0.2)
    expected = [(-3.0 + 3.5) - (-4.0 + 3.0), (-5.0 + 4.0) - (-2.0 + 2.5)]
    assert margins.tolist() == pytest.approx(expected)
    each = [-math.log(1 / (1 + math.exp(-0.5 * margin))) for margin in expected]
    each = [each[0] + 0.2 * 3.0 / 2.0, each[1] + 0.2 * 5.0 / 4.0]
    assert float(loss) == pytest.approx(sum(each) / 2)


def test_only_the_command_that_differs_counts(base: ResidentBase) -> None:
    sides = sides_of(pair("ls -l", "ls"), 0, base, 512)
    assert sides is not None
    base.activate("policy")
    base.model.eval()
    with torch.no_grad():
        found = log_probabilities(trained_token_logits(base.model), [sides])
        for row, value in zip((sides.chosen, sides.rejected), found, strict=True):
            logits = base.model(torch.from_numpy(row.ids.astype("int64"))[None]).logits[0]
            of_next = torch.log_softmax(logits, -1)
            wanted = sum(float(of_next[at, int(row.ids[at + 1])]) for at in row.at)
            assert float(value) == pytest.approx(wanted, abs=1e-3)
    text = base.tokenizer.decode([int(sides.chosen.ids[at + 1]) for at in sides.chosen.at])
    assert text.startswith("ls -l")


def test_a_pair_that_is_too_long_is_left_out(base: ResidentBase) -> None:
    assert sides_of(pair("ls", "pwd"), 0, base, 8) is None


def test_what_was_chosen_becomes_likelier_and_the_base_stays_as_it_was(base: ResidentBase) -> None:
    made = [
        sides_of(pair("zzz yyy xxx", "ls"), 0, base, 512),
        sides_of(pair("b", "a"), 1, base, 512),
    ]
    pairs = [each for each in made if each is not None]
    steps = list(prefer(base, "policy", pairs, lr=2e-2, batch=2, epochs=12))
    assert len(steps) == 12
    assert steps[0][1] == pytest.approx(0.0, abs=1e-4)  # the adapter is its own reference
    assert steps[-1][1] > 1.0
    assert steps[-1][0] < steps[0][0]
    base.prove()
    base.activate("policy")
    assert likelier(base, pairs) >= 1
