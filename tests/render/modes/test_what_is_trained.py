"""Failure modes 1 to 4 and 16: what is trained, in every family: each command with the token that
ends its turn, and nothing else."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from trl.chat_template_utils import (
    get_training_chat_template,
    is_chat_template_stop_token_trained,
)

from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.render import Row
from tests.render.conftest import MISTRAL_FILES, Base, MakeBase
from tests.render.families import APPEND, FAMILIES
from tests.render.reference import template_ids
from tests.render.sessions import PLAIN, session
from tests.render.templates import chatml
from tests.render.test_equals_transformers import messages, row

COMMANDS = [turn.content for turn in PLAIN.turns if turn.is_command]


def trained(built: Row, base: Base) -> list[str]:
    """What each trained span says, without the token that ends it."""
    assert all(int(built.ids[span.end - 1]) in base.ours.end_of_turn_ids for span in built.spans)
    return [
        base.ours.decode(built.labels[span.start : span.end - 1]).strip() for span in built.spans
    ]


def transformers_mask(theirs: Any, chat: list[dict[str, str]], template: str) -> list[int]:
    out = theirs.apply_chat_template(
        chat, chat_template=template, return_dict=True, return_assistant_tokens_mask=True
    )
    return list(out["assistant_masks"])


@pytest.mark.parametrize("name", FAMILIES)
def test_1_a_template_without_generation_markers_trains_every_command(
    name: str, families: MakeBase
) -> None:
    base = families(name)
    if "{% generation" not in FAMILIES[name].template:
        assert not any(transformers_mask(base.theirs, messages(PLAIN), FAMILIES[name].template))
    if name in APPEND:
        assert trained(row(PLAIN, base.ours), base) == COMMANDS


@pytest.mark.parametrize("version", MISTRAL_FILES)
def test_2_a_family_without_a_patched_template_is_trained_all_the_same(
    version: str, bases: MakeBase
) -> None:
    base = bases(version)
    with pytest.raises(ValueError, match="not training-compatible"):
        get_training_chat_template(base.theirs)
    assert trained(row(PLAIN, base.ours), base) == COMMANDS


def test_2_a_template_that_nobody_has_seen_before_is_trained_too(smol: Base) -> None:
    unseen = smol.ours.with_template(
        "{% for m in messages %}{{ '<jupyter_start>' if m.role == 'user' else '<jupyter_code>' }}"
        "{{ m.content }}{{ '<|endoftext|>' }}{% endfor %}"
        "{{ '<jupyter_code>' if add_generation_prompt }}"
    )
    built = row(PLAIN, unseen)
    assert built.text.count("<jupyter_code>") == 3
    assert [unseen.decode(built.ids[s.start : s.end]) for s in built.spans] == [
        f"{command}<|endoftext|>" for command in COMMANDS
    ]


@pytest.mark.parametrize("name", APPEND)
def test_3_the_token_that_ends_the_turn_is_trained_in_every_turn(
    name: str, families: MakeBase
) -> None:
    base = families(name)
    built = row(PLAIN, base.ours)
    ends = [int(built.labels[span.end - 1]) for span in built.spans]
    assert len(set(ends)) == 1
    assert set(ends) == base.ours.end_of_turn_ids


def test_3_markers_that_leave_the_end_out_do_not_matter(smol: Base) -> None:
    """TRL's probe finds that such a template never teaches to stop; here it does."""
    inside = (
        "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}"
        "{% endgeneration %}{% else %}{{ message['content'] }}{% endif %}"
    )
    template = (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
        + inside
        + "{{ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    assert not is_chat_template_stop_token_trained(smol.theirs, template)
    base = smol.ours.with_template(template)
    built = row(PLAIN, base)
    assert built.ids.tolist() == row(PLAIN, smol.ours.with_template(chatml())).ids.tolist()
    assert [base.decode(built.ids[s.start : s.end]) for s in built.spans] == [
        f"{command}<|im_end|>" for command in COMMANDS
    ]


@pytest.mark.parametrize("name", APPEND)
def test_4_the_header_of_a_command_is_not_trained(name: str, families: MakeBase) -> None:
    """Growing the conversation without a generation prompt, and training what is new, trains it."""
    base = families(name)
    built = row(PLAIN, base.ours)
    for span in built.spans:
        grown = template_ids(base.theirs, PLAIN.turns[: span.turn])
        # Phi 3 ends what is no prompt with EOS, so not all of it is how the row goes on.
        same = itertools.takewhile(
            lambda pair: pair[0] == pair[1], zip(grown, built.ids, strict=False)
        )
        new = len(list(same))
        header = base.ours.decode(built.ids[new : span.start])
        assert any(word in header for word in ("assistant", "model"))
        assert not built.trained[new : span.start].any()


@pytest.mark.parametrize("name", [*APPEND, "mistral"])
def test_16_what_another_role_says_between_two_turns_is_not_trained(
    name: str, families: MakeBase, bases: MakeBase
) -> None:
    base = bases("v3") if name == "mistral" else families(name)
    plain = session("$", "ls", "You have mail.\n\nout\n$", "exit", "logout")
    turns = (
        Turn(role="user", content="$"),
        Turn(role="assistant", content="ls"),
        Turn(role="system", content="You have mail."),
        Turn(role="user", content="out\n$"),
        Turn(role="assistant", content="exit"),
        Turn(role="system", content="logout"),
    )
    built = row(Trajectory(id="x", turns=turns), base.ours)
    assert trained(built, base) == ["ls", "exit"]
    assert built.ids.tolist() == row(plain, base.ours).ids.tolist()
