"""Mistral's public templates on each conversion of its tokenizers, and the vendor's own encoder:
equal id by id, or the first token that differs and why.

We render what the template and the tokenizer in a base's folder say, as every server does that
applies them; where those two are not what the vendor's encoder writes, no renderer can be both.
"""

from __future__ import annotations

import msgspec
import pytest

from sekft_engine.render.rows.difference import first_difference
from sekft_engine.render.template.prompt import encode_prompt
from tests.render.conftest import MISTRAL_FILES, MakeBase
from tests.render.golden.test_vendor import assert_same, vendor_ids
from tests.render.sessions import PLAIN, SHELL
from tests.render.templates import MISTRAL
from tests.render.test_equals_transformers import row


class Differs(msgspec.Struct, frozen=True):
    """The first token of :data:`PLAIN` that differs, on our side and on the vendor's."""

    index: int
    ours: str
    theirs: str
    why: str


_PARTED = Differs(
    1, "[", " [", "[INST] is plain text in v1, and this conversion puts no space before the text"
)
_GLUED = Differs(18, "ls", " l", "the template writes no space between [/INST] and a command")
_CLOSED = Differs(14, "[", " [", "the template writes no space before [/INST]")
_BARE = Differs(4, "W", " Welcome", "the template writes no space after [INST]")
_SPACED = Differs(12, " ", "[/INST]", "the template writes a space before [/INST], a token here")
_TWICE = Differs(2, " ", " Welcome", "the template writes a space and the normaliser another")
_OPEN = Differs(2, "W", " Welcome", "neither template nor normaliser puts a space after [INST]")
_TEKKEN = Differs(2, " Welcome", "Welcome", "the template writes a space, Tekken's encoder none")

#: What every form of ``tokenizer.json`` comes to under every public template; None = equal.
_CONVERTED = dict.fromkeys(("v0.1", "v0.2", "v0.2-spaced"), _SPACED) | {"v0.3": None, "nemo": _OPEN}
_LEGACY = dict.fromkeys(MISTRAL, _TWICE) | {"nemo": None}
_NEMO = dict.fromkeys(MISTRAL, _TEKKEN) | {"nemo": None}
EXPECTED: dict[str, dict[str, Differs | None]] = {
    "v1": dict.fromkeys(MISTRAL, _PARTED),
    "v1/legacy": {
        "v0.1": _GLUED, "v0.2": _GLUED, "v0.2-spaced": None, "v0.3": _CLOSED, "nemo": _BARE,
    },
    "v2": _CONVERTED, "v3": _CONVERTED, "v7": _CONVERTED,
    "v2/legacy": _LEGACY, "v3/legacy": _LEGACY, "v7/legacy": _LEGACY,
    "tekken-v3": _NEMO, "tekken-v7": _NEMO,
}  # fmt: skip


def test_every_version_is_in_the_table_under_every_template() -> None:
    assert {name.partition("/")[0] for name in EXPECTED} == set(MISTRAL_FILES)
    assert all(set(table) == set(MISTRAL) for table in EXPECTED.values())


@pytest.mark.parametrize("name", EXPECTED)
def test_a_public_template_is_the_vendors_encoding_or_says_where_not(
    name: str, bases: MakeBase
) -> None:
    base = bases(name)
    for template, expected in EXPECTED[name].items():
        tokenizer = base.with_template(MISTRAL[template])
        for one in (PLAIN, SHELL):
            built = row(one, tokenizer)
            theirs = vendor_ids(base, one.turns)
            found = first_difference(built.ids.tolist(), theirs, tokenizer)
            assert (found is None) == (expected is None), (template, found)
            if found is None:
                for span in built.spans:
                    prompt = vendor_ids(base, one.turns[: span.turn])
                    assert_same(encode_prompt(tokenizer, one.turns[: span.turn]), prompt, tokenizer)
            elif expected is not None and one is PLAIN:
                shown = (found.index, found.ours[0], found.theirs[0])
                assert shown == (expected.index, expected.ours, expected.theirs), template
