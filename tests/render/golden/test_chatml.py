"""Plain ChatML: labels are the assistant mask of transformers, which TRL trains by, and the token
that ends each turn."""

from __future__ import annotations

import pytest

from tests.render.conftest import MakeBase
from tests.render.families import FAMILIES
from tests.render.golden.test_trl import SESSIONS, spans_of
from tests.render.modes.test_what_is_trained import transformers_mask
from tests.render.test_equals_transformers import messages, row

_SAID = " + message['content'] + "
_MARKED = (
    " }}{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }}{% endgeneration %}"
    "{% else %}{{ message['content'] }}{% endif %}{{ "
)


@pytest.mark.parametrize("name", ["smollm2", "eurollm"])
def test_labels_are_the_assistant_mask_and_the_end_of_each_turn(
    name: str, bases: MakeBase, families: MakeBase
) -> None:
    """SmolLM2 under its own template, EuroLLM's on a Mistral tokenizer."""
    base = families(name) if name in FAMILIES else bases(name)
    template = base.theirs.chat_template
    assert template.count(_SAID) == 1
    marked = template.replace(_SAID, _MARKED)
    for one in SESSIONS:
        built = row(one, base.ours)
        assert built.ids.tolist() == base.theirs.apply_chat_template(
            messages(one), chat_template=marked, return_dict=False
        )
        mask = transformers_mask(base.theirs, messages(one), marked)
        runs = spans_of(mask)
        assert len(runs) == sum(turn.is_command for turn in one.turns)
        for _, end in runs:
            assert base.ours.decode([built.ids[end]]) == "<|im_end|>"
            mask[end] = 1
        labels = [
            token if trained else -100
            for token, trained in zip(built.ids.tolist(), mask, strict=True)
        ]
        assert built.labels.tolist() == labels
