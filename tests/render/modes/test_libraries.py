"""Failure modes 17 and 18: what a release of transformers returns, and its assistant mask."""

from __future__ import annotations

from tests.render.conftest import Base, MakeBase
from tests.render.modes.test_what_is_trained import trained, transformers_mask
from tests.render.sessions import PLAIN, session
from tests.render.templates import chatml
from tests.render.test_equals_transformers import messages, row
from tests.render.test_refusals import dropped

_INSIDE = (
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}"
    "{% endgeneration %}{% else %}{{ message['content'] }}{% endif %}"
)
_MARKED = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    + _INSIDE
    + "{{ '<|im_end|>\n' }}{% endfor %}"
)


def test_17_the_length_of_what_transformers_returns_is_no_length_of_ids(bases: MakeBase) -> None:
    """A BatchEncoding has two keys; taken for a list it would mask everything but two tokens."""
    for name in ("smollm2", "v3"):
        returned = bases(name).theirs.apply_chat_template(messages(PLAIN))
        assert len(returned) == 2
        built = row(PLAIN, bases(name).ours)
        assert built.ids.tolist() == returned["input_ids"]
        assert trained(built, bases(name)) == ["ls -la", "cat notes.txt", "exit"]


def test_18_a_mask_that_would_run_to_the_end_of_the_row_does_not(smol: Base) -> None:
    """transformers masks by characters: where the last one of a command has no token (SmolLM2's
    vocabulary lacks Ctrl-V) it trains all that follows, the shell's output included. Here the
    mask ends with the command's own end-of-turn token, and such a command is refused by name."""
    harmless = session("$", "ls x", "out of a file\n$", "exit", "bye")
    hostile = session("$", "ls \x16", "out of a file\n$", "exit", "bye")
    fine = transformers_mask(smol.theirs, messages(harmless), _MARKED)
    broken = transformers_mask(smol.theirs, messages(hostile), _MARKED)
    assert sum(fine) < 6
    assert sum(broken) > 25
    assert broken[-1] == 1
    ours = smol.ours.with_template(chatml())
    built = row(harmless, ours)
    assert built.trained[: len(fine)].sum() == sum(fine) + 2  # the two end-of-turn tokens
    refused = dropped(hostile, ours)
    assert refused.reason == "unknown_token"
    assert refused.detail == r"command turn 1 holds '\x16', which has no token"
    # The same character in what the environment printed spoils nothing.
    printed = row(session("\x16$", "ls x", "out\x16", "exit"), ours)
    assert printed.lost == 2
    assert trained(printed, smol) == ["ls x", "exit"]
