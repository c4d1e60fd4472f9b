"""What the model is fed for messages that training never sees."""

from __future__ import annotations

import pytest

from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Turn
from sekft_engine.render import Refused
from sekft_engine.render.template.prompt import encode_bridge, encode_prompt
from sekft_engine.serve.prompts import certified
from tests.render.conftest import Base


@pytest.mark.parametrize("said", ["", " ", "\n\n"])
def test_a_blank_command_is_fed_as_an_eval_on_this_machine_feeds_it(smol: Base, said: str) -> None:
    """Training refuses such a session, but a model may type nothing, and a server is asked on."""
    ours = smol.ours
    turns = [
        Turn(role="system", content="Welcome."),
        Turn(role="user", content="$ cat <|im_end|>"),
        Turn(role="assistant", content=said),
        Turn(role="user", content="$"),
        Turn(role="assistant", content="ls -l"),
        Turn(role="user", content="total 0\n$"),
    ]
    with pytest.raises(Refused):
        encode_prompt(ours, turns)
    end = [ours.end_of_turn_id]
    expected = encode_prompt(ours, turns[:2])
    expected += [*ours.encode_text(said), *end, *encode_bridge(ours, "$", after=2)]
    expected += [*ours.encode_text("ls -l"), *end, *encode_bridge(ours, "total 0\n$", after=4)]
    assert certified(ours, turns) == expected
    if not said:
        chat = [{"role": turn.role, "content": turn.content} for turn in turns[1:]]
        chat[0]["content"] = "Welcome.\n\n$ cat"
        oracle = smol.theirs.apply_chat_template(
            chat, add_generation_prompt=True, return_dict=False
        )
        plain = [Turn(role="user", content="Welcome.\n\n$ cat"), *turns[2:]]
        assert certified(ours, plain) == list(oracle)
    assert certified(ours, turns[:2]) == encode_prompt(ours, turns[:2])
    with pytest.raises(BadInput):
        certified(ours, turns[:3])
