"""What we render and tokenise is what transformers, and so a server, renders and tokenises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.render import ChatTokenizer, Row, build_row, normalize_for_template
from sekft_engine.render.template.prompt import encode_prompt
from tests.render.conftest import MISTRAL_FILES, Base, MakeBase
from tests.render.reference import as_ids, template_ids
from tests.render.sessions import PLAIN, session
from tests.render.templates import MISTRAL

BENIGN = (
    PLAIN,
    session("$", "exit"),
    session("", "ls", "", "panic 'the disk is full'"),
    session("a  b\n\n\tc\n$", "printf '%s\\n' \"a b\" | sort -u > /tmp/x; cat <<E\n  x\nE", "$"),
    session("日本語 ▁ é e\u0301 \u202e\x07 \r\n$", "echo ünïcode 👩‍💻", "👋\n$", "exit"),
)


def messages(trajectory: Trajectory) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in trajectory.turns]


def row(trajectory: Trajectory, tokenizer: ChatTokenizer) -> Row:
    built = build_row(trajectory, tokenizer)
    assert isinstance(built, Row), built
    return built


@pytest.mark.parametrize("trajectory", BENIGN, ids=range(len(BENIGN)))
def test_rows_are_the_ids_of_apply_chat_template(any_base: Base, trajectory: Trajectory) -> None:
    theirs = any_base.theirs
    chat = messages(trajectory)
    whole = theirs.apply_chat_template(chat, return_dict=False)
    assert row(trajectory, any_base.ours).ids.tolist() == whole
    assert any_base.ours.render_text(trajectory.turns) == theirs.apply_chat_template(
        chat, tokenize=False
    )
    for turn in range(1, len(chat), 2):
        prompt = theirs.apply_chat_template(
            chat[:turn], add_generation_prompt=True, return_dict=False
        )
        assert encode_prompt(any_base.ours, trajectory.turns[:turn]) == prompt


@pytest.mark.parametrize("name", MISTRAL)
@pytest.mark.parametrize("version", MISTRAL_FILES)
def test_every_public_mistral_template_on_every_mistral_tokenizer(
    version: str, name: str, bases: MakeBase
) -> None:
    base = bases(version)
    tokenizer = base.with_template(MISTRAL[name])
    whole = base.theirs.apply_chat_template(
        messages(PLAIN), chat_template=MISTRAL[name], return_dict=False
    )
    assert row(PLAIN, tokenizer).ids.tolist() == whole


@pytest.mark.parametrize("version", MISTRAL_FILES)
@pytest.mark.parametrize("trajectory", BENIGN[:2] + BENIGN[3:4], ids=("plain", "short", "spaces"))
def test_mistral_ids_are_the_vendors_own_id_by_id(
    version: str, trajectory: Trajectory, bases: MakeBase
) -> None:
    from mistral_common.protocol.instruct.messages import AssistantMessage, UserMessage
    from mistral_common.protocol.instruct.request import ChatCompletionRequest
    from mistral_common.protocol.instruct.validator import ValidationMode
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    base = bases(f"{version}/own")
    assert base.vendor is not None
    vendor = MistralTokenizer.from_file(str(base.vendor), mode=ValidationMode.finetuning)
    turns = normalize_for_template(trajectory.turns)
    if not turns[-1].is_command:
        turns = turns[:-1]  # the vendor's encoder for training data wants a command at the end
    kinds = {"user": UserMessage, "assistant": AssistantMessage}
    chat = [kinds[turn.role](content=turn.content) for turn in turns]
    expected = vendor.encode_chat_completion(ChatCompletionRequest(messages=chat)).tokens
    short = Trajectory(id="s", turns=turns)
    assert row(short, base.ours).ids.tolist() == expected


def test_both_return_kinds_of_apply_chat_template_are_understood(smol: Base) -> None:
    """transformers 4 returns a list, 5 a BatchEncoding whose len() is 2: the trap of sekft 1.0."""
    expected = row(PLAIN, smol.ours).ids.tolist()
    for return_dict in (True, False):

        class Given:
            """The real tokenizer, returning the one or the other kind as its default."""

            def __getattr__(self, name: str) -> Any:
                return getattr(smol.theirs, name)

            def apply_chat_template(self, chat: Any, **options: Any) -> Any:
                options.setdefault("return_dict", return_dict)  # noqa: B023
                return smol.theirs.apply_chat_template(chat, **options)

        assert template_ids(Given(), PLAIN.turns) == expected


@pytest.mark.parametrize(
    "returned",
    [[1, 2], {"input_ids": [1, 2]}, {"input_ids": [[1, 2]]}, [[1, 2]], np.array([[1, 2]])],
)
def test_ids_are_taken_out_of_any_wrapping(returned: object) -> None:
    assert as_ids(returned) == [1, 2]


def test_what_is_no_ids_is_refused() -> None:
    with pytest.raises(BadInput, match="instead of ids"):
        as_ids(["a", "b"])


def test_the_special_ids_are_those_of_transformers(any_base: Base) -> None:
    assert any_base.ours.eos_id == any_base.theirs.eos_token_id
    assert any_base.ours.bos_id == any_base.theirs.bos_token_id


def test_the_default_system_prompt_of_a_template_is_its_own_business(smol: Base) -> None:
    assert "named SmolLM" in row(PLAIN, smol.ours).text
