"""What is trained: every command with the token that ends its turn, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from sekft_engine.render import MASKED, Row, build_row, build_rows
from tests.render.conftest import Base, MakeBase
from tests.render.reference import template_ids
from tests.render.sessions import PLAIN, session
from tests.render.test_equals_transformers import row


def trained_texts(built: Row) -> list[str]:
    return ["".join(built.pieces()[span.start : span.end]) for span in built.spans]


def test_chatml_by_hand(smol: Base) -> None:
    built = row(session("motd\n$", "ls -la", "x\n$", "exit", "bye"), smol.ours)
    assert trained_texts(built) == ["ls -la<|im_end|>", "exit<|im_end|>"]
    shown = "".join(
        f"[{piece}]" if trained else piece
        for piece, trained in zip(built.pieces(), built.trained, strict=True)
    )
    assert shown.endswith(
        "<|im_start|>user\nmotd\n$<|im_end|>\n<|im_start|>assistant\n"
        "[ls][ -][la][<|im_end|>]\n<|im_start|>user\nx\n$<|im_end|>\n"
        "<|im_start|>assistant\n[exit][<|im_end|>]\n<|im_start|>user\nbye<|im_end|>\n"
    )
    assert shown.count("[") == 6


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("v1", ["ls -la</s>", "exit</s>"]),
        ("v3", [" ls -la</s>", " exit</s>"]),  # the space between [/INST] and the command
        ("v3/legacy", [" ls -la</s>", " exit</s>"]),
        ("tekken-v3", ["ls -la</s>", "exit</s>"]),
    ],
)
def test_mistral_by_hand(name: str, expected: list[str], bases: MakeBase) -> None:
    built = row(session("motd\n$", "ls -la", "x\n$", "exit"), bases(name).ours)
    assert trained_texts(built) == expected
    assert built.spans[-1].end == len(built)
    first = built.spans[0]
    decoded = bases(name).ours.decode(built.ids[first.start : first.end - 1])
    assert decoded.strip() == "ls -la"


def test_the_span_starts_where_transformers_prompt_ends(any_base: Base) -> None:
    """Prefix differencing with the real thing: slow, and the definition of right."""
    built = row(PLAIN, any_base.ours)
    for span in built.spans:
        prompt = template_ids(any_base.theirs, PLAIN.turns[: span.turn], add_generation_prompt=True)
        assert built.ids[: span.start].tolist() == prompt
        closed = template_ids(any_base.theirs, PLAIN.turns[: span.turn + 1])
        assert closed[: span.end] == built.ids[: span.end].tolist()
        assert closed[span.end - 1] in any_base.ours.end_of_turn_ids
        assert any_base.theirs.decode(closed[span.end :]).strip() == ""


def test_labels_are_the_ids_where_trained_and_minus_100_elsewhere(smol: Base) -> None:
    built = row(PLAIN, smol.ours)
    assert built.labels.dtype == built.ids.dtype == np.int32
    assert (built.labels[built.trained] == built.ids[built.trained]).all()
    assert set(built.labels[~built.trained].tolist()) == {MASKED}
    assert built.trained_tokens == built.trained.sum() == built.certificate.trained_tokens


def test_the_end_token_is_trained_also_where_it_pads(smol: Base) -> None:
    """SmolLM2 pads with its end-of-turn token; masking by id would unlearn to stop."""
    built = row(PLAIN, smol.ours)
    ends = [int(built.labels[span.end - 1]) for span in built.spans]
    assert ends == [smol.ours.end_of_turn_id] * 3


def test_each_token_knows_its_turn_and_its_text(any_base: Base) -> None:
    built = row(PLAIN, any_base.ours)
    assert "".join(built.pieces()) == built.text[: built.ends[-1]]
    assert built.text[built.ends[-1] :].strip() == ""
    assert sorted(set(built.turn_of.tolist())) == list(range(len(PLAIN.turns)))
    assert (np.diff(built.turn_of) >= 0).all()
    for span in built.spans:
        assert set(built.turn_of[span.start : span.end].tolist()) == {span.turn}
    for number, turn in enumerate(built.turns):
        mine = np.flatnonzero(built.content & (built.turn_of == number))
        said = "".join(built.piece(int(token)) for token in mine)
        assert said.strip() == turn.content.strip()
    assert not (built.content & built.control).any()
    literals = {built.piece(int(token)) for token in np.flatnonzero(built.control)}
    assert literals <= set(any_base.ours.guard.literals.values())


def test_rows_cannot_be_changed_by_who_shows_them(smol: Base) -> None:
    built = row(PLAIN, smol.ours)
    with pytest.raises(ValueError, match="read-only"):
        built.ids[0] = 7


def test_many_rows_are_the_same_rows_in_order(any_base: Base) -> None:
    many = [
        session("$", f"echo {number}", "x" * number, "exit", name=f"s{number}")
        for number in range(150)
    ]
    many.insert(7, session("$", "", name="broken"))
    for built, one in zip(build_rows(many, any_base.ours), many, strict=True):
        alone = build_row(one, any_base.ours)
        assert type(built) is type(alone)
        assert built.id == one.id
        if isinstance(built, Row) and isinstance(alone, Row):
            assert built.ids.tolist() == alone.ids.tolist()
            assert built.spans == alone.spans


def test_a_row_names_what_it_was_rendered_with(smol: Base, bases: MakeBase) -> None:
    built = row(PLAIN, smol.ours)
    assert built.render_digest == smol.ours.render_digest
    other = smol.ours.with_template(smol.ours.template.source + " ")
    assert other.render_digest != smol.ours.render_digest
    assert other.digest.tokenizer == smol.ours.digest.tokenizer
    assert bases("v3").ours.digest.tokenizer != smol.ours.digest.tokenizer
