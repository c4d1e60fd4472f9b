"""The first token in which two renders differ is named, with what stands before it."""

from __future__ import annotations

from sekft_engine.render.rows.difference import first_difference
from sekft_engine.render.template.prompt import encode_prompt
from tests.render.conftest import Base, MakeBase
from tests.render.sessions import PLAIN
from tests.render.test_equals_transformers import row


def test_equal_ids_do_not_differ(smol: Base) -> None:
    ids = row(PLAIN, smol.ours).ids.tolist()
    assert first_difference(ids, list(ids), smol.ours) is None
    assert first_difference([], [], smol.ours) is None


def test_the_first_difference_has_index_texts_and_context(smol: Base) -> None:
    built = row(PLAIN, smol.ours)
    theirs = built.ids.tolist()
    at = built.spans[0].start
    theirs[at] = smol.ours.guard.encode("cat").ids[0]
    found = first_difference(built.ids.tolist(), theirs, smol.ours)
    assert found is not None
    assert found.index == at
    assert found.before == ("ass", "istant", "\n")
    assert (found.ours[0], found.theirs[0]) == ("ls", "cat")
    assert found.ours[1:] == found.theirs[1:] == (" -", "la")
    assert not found.same_text
    assert found.sentence("in training", "on the server") == (
        f"token {at}: 'ls' in training, 'cat' on the server; after 'ass' 'istant' '⏎'"
    )


def test_one_side_may_end_first(smol: Base) -> None:
    ids = row(PLAIN, smol.ours).ids.tolist()
    found = first_difference(ids, ids[:7], smol.ours, context=1)
    assert found is not None
    assert (found.index, len(found.ours), found.theirs) == (7, 1, ())
    assert "the end there" in found.sentence()
    at_once = first_difference([], ids, smol.ours)
    assert at_once is not None
    assert (at_once.index, at_once.before, at_once.ours) == (0, (), ())


def test_the_same_text_in_other_tokens_is_told_apart_from_another_text(bases: MakeBase) -> None:
    tokenizer = bases("v3").ours
    prompt = encode_prompt(tokenizer, PLAIN.turns[:1])
    canonical = [*prompt, *pieces(bases("v3"), "▁l", "s"), *pieces(bases("v3"), "</s>")]
    sampled = [*prompt, *pieces(bases("v3"), "▁", "ls"), *pieces(bases("v3"), "</s>")]
    found = first_difference(sampled, canonical, tokenizer)
    assert found is not None
    assert found.index == len(prompt)
    assert found.same_text
    assert found.sentence().endswith("the same text in other tokens")


def pieces(base: Base, *names: str) -> list[int]:
    """Ids of pieces of the vocabulary by their names."""
    ids = [base.theirs.convert_tokens_to_ids(name) for name in names]
    assert base.theirs.unk_token_id not in ids
    return ids


def test_ids_that_the_tokenizer_does_not_know_are_shown_by_number(smol: Base) -> None:
    """A server may answer with ids of quite another vocabulary."""
    found = first_difference([1, 2], [1, 10**9, -5], smol.ours)
    assert found is not None
    assert found.theirs == ("<id 1000000000>", "<id -5>")
    assert not found.same_text


def test_nothing_that_a_session_printed_reaches_the_terminal_raw(smol: Base) -> None:
    left, right = (encode_prompt(smol.ours, PLAIN.turns[:1]) for _ in range(2))
    right[-2:] = smol.ours.guard.encode("\x1b[2J\n").ids
    found = first_difference(left, right, smol.ours)
    assert found is not None
    assert found.sentence().isprintable()
    assert "␛" in found.sentence()
