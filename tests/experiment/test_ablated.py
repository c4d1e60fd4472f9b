"""What is left out of training is left out, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sekft_engine.data.recipe import Ablation
from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.experiment.ablated_data import is_look, without_verifying
from sekft_engine.render import ChatTokenizer, Row, build_row
from sekft_engine.training.trainer.ablation import ablated
from sekft_engine.training.trainer.train_row import train_row
from tests.training.sessions import session


@pytest.fixture(scope="module")
def tokenizer(smollm2: Path) -> ChatTokenizer:
    return ChatTokenizer.load(smollm2)


@pytest.fixture(scope="module")
def row(tokenizer: ChatTokenizer) -> Row:
    built = build_row(Trajectory.from_json(session(1), "session"), tokenizer)
    assert isinstance(built, Row)
    return built


def trained(row: Row, ablation: Ablation, tokenizer: ChatTokenizer) -> str:
    """The text of the tokens that are trained."""
    found = ablated(row, ablation, tokenizer)
    return tokenizer.decode(found.ids[found.at + 1])


def test_without_the_mask_every_token_is_trained(row: Row, tokenizer: ChatTokenizer) -> None:
    found = ablated(row, "mask", tokenizer)
    assert found.trained == len(found) - 1
    assert np.array_equal(found.ids, train_row(row).ids)


def test_without_the_end_of_turn_only_the_commands_are_trained(
    row: Row, tokenizer: ChatTokenizer
) -> None:
    commands = [turn.content for turn in row.turns if turn.is_command]
    assert trained(row, "none", tokenizer) == "".join(f"{each}<|im_end|>" for each in commands)
    assert trained(row, "end-of-turn", tokenizer) == "".join(commands)


def test_without_the_normaliser_the_login_is_a_system_turn_and_the_commands_are_the_same(
    row: Row, tokenizer: ChatTokenizer
) -> None:
    found = ablated(row, "normaliser", tokenizer)
    text = tokenizer.decode(found.ids)
    login, _, prompt = row.turns[0].content.rpartition("\n")
    assert text.startswith(
        f"<|im_start|>system\n{login}<|im_end|>\n<|im_start|>user\n{prompt}<|im_end|>"
    )
    assert trained(row, "normaliser", tokenizer) == trained(row, "none", tokenizer)
    # The rest is what it was, token for token.
    rest = train_row(row).ids[-40:]
    assert np.array_equal(found.ids[-40:], rest)


def test_a_session_whose_login_is_a_bare_prompt_has_nothing_to_fold(
    tokenizer: ChatTokenizer,
) -> None:
    turns = (Turn(role="user", content="user@box:~$"), Turn(role="assistant", content="exit"))
    built = build_row(Trajectory(id="bare", turns=turns), tokenizer)
    assert isinstance(built, Row)
    found = ablated(built, "normaliser", tokenizer)
    assert np.array_equal(found.ids, train_row(built).ids)


def test_a_look_after_acting_is_left_out_with_its_answer() -> None:
    lines = [
        ("motd\n$", "ls"),
        ("a.txt\n$", "cat a.txt"),  # a look before acting stays
        ("x\n$", "sort a.txt > out.txt"),
        ("$", "cat out.txt"),
        ("x\n$", "exit"),
    ]
    turns = tuple(
        turn
        for shown, command in lines
        for turn in (Turn(role="user", content=shown), Turn(role="assistant", content=command))
    )
    (found,) = without_verifying([Trajectory(id="s", turns=turns, steps=5)])
    assert found.commands == ("ls", "cat a.txt", "sort a.txt > out.txt", "exit")
    assert [turn.role for turn in found.turns] == ["user", "assistant"] * 4
    assert found.steps == 4


@pytest.mark.parametrize(
    ("command", "looks"),
    [
        ("cat out.txt", True),
        ("ls -l out", True),
        ("cat a > b", False),
        ("grep x a | sort", False),
        ("rm out.txt", False),
        ("", False),
    ],
)
def test_a_look_is_a_command_that_only_reads(command: str, looks: bool) -> None:
    assert is_look(command) is looks
