"""Chat templates that only append, for families whose own templates do not.

docs/refusals.md shows them. Each writes what the family's models were trained on, in the way in
which a session without thoughts and tools is continued.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class FamilyTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A template for one family.

    Attributes:
        title: the family, as a person knows it.
        marks: control tokens by which its tokenizers are known.
        source: of the template.
    """

    title: str
    marks: frozenset[str]
    source: str


#: The more particular ones first.
FAMILY_TEMPLATES = (
    FamilyTemplate(
        title="Harmony (gpt-oss)",
        marks=frozenset(("<|start|>", "<|channel|>", "<|message|>", "<|end|>")),
        source="{% for message in messages %}{{ '<|start|>' + message['role'] "
        "+ ('<|channel|>final' if message['role'] == 'assistant' else '') "
        "+ '<|message|>' + message['content'] + '<|end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}"
        "{{ '<|start|>assistant<|channel|>final<|message|>' }}{% endif %}",
    ),
    FamilyTemplate(
        title="GLM",
        marks=frozenset(("[gMASK]", "<sop>", "<|user|>", "<|assistant|>")),
        source="{{ '[gMASK]<sop><|user|>' }}{% for message in messages %}"
        "{{ '<|assistant|>\\n' + message['content'] + '<|user|>' "
        "if message['role'] == 'assistant' else '\\n' + message['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}",
    ),
    FamilyTemplate(
        title="ChatML (Qwen, Olmo, SmolLM)",
        marks=frozenset(("<|im_start|>", "<|im_end|>")),
        source="{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' "
        "+ message['content'] + '<|im_end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    ),
)


def append_only(literals: Iterable[str]) -> str:
    """The way out for a base whose template does not only append.

    Args:
        literals: the texts of its control tokens.
    """
    there = set(literals)
    way = "put a chat_template.jinja that only appends into the base's folder"
    for family in FAMILY_TEMPLATES:
        if family.marks <= there:
            return f"{way}: docs/refusals.md has one for {family.title}"
    return way
