"""The serve side continues exactly what the train side learnt from."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.render import ChatTokenizer, Refused, Row, build_row
from sekft_engine.render.template.prompt import encode_bridge, encode_prompt
from tests.fuzzing import examples
from tests.render import templates
from tests.render.conftest import Base, MakeBase
from tests.render.sessions import PLAIN, environments, sessions, turns
from tests.render.test_equals_transformers import row

SOME = ("smollm2", "v1", "v3", "v3/legacy", "tekken-v3")


def replayed(built: Row, tokenizer: ChatTokenizer) -> list[int]:
    """What an eval would have fed and sampled, had the model typed the row's own commands."""
    ids = encode_prompt(tokenizer, built.turns[:1])
    for span in built.spans:
        ids += built.ids[span.start : span.end].tolist()
        after = span.turn + 1
        if after < len(built.turns):
            ids += encode_bridge(tokenizer, built.turns[after].content, after=after)
    return ids


def test_prompt_sampled_ids_and_bridges_are_the_training_row(any_base: Base) -> None:
    built = row(PLAIN, any_base.ours)
    ids = replayed(built, any_base.ours)
    assert ids == built.ids[: len(ids)].tolist()
    assert len(ids) == built.spans[-1].end


@pytest.mark.parametrize("name", SOME)
def test_the_same_for_any_session(name: str, bases: MakeBase) -> None:
    tokenizer = bases(name).ours

    @settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
    @given(sessions())
    def check(trajectory: Trajectory) -> None:
        built = build_row(trajectory, tokenizer)
        if isinstance(built, Row):
            ids = replayed(built, tokenizer)
            # A trailing environment turn was bridged with a prompt for one more command.
            same = min(len(ids), len(built))
            assert ids[:same] == built.ids[:same].tolist()
            assert same >= built.spans[-1].end

    check()


@pytest.mark.parametrize("name", SOME)
def test_a_bridge_forges_nothing(name: str, bases: MakeBase) -> None:
    tokenizer = bases(name).ours
    expected = [token for token in encode_bridge(tokenizer, "$") if token in tokenizer.control_ids]

    @settings(max_examples=examples(60), deadline=None)
    @given(environments)
    def check(environment: str) -> None:
        ids = encode_bridge(tokenizer, environment)
        assert [token for token in ids if token in tokenizer.control_ids] == expected

    check()


def test_a_prompt_follows_a_template_that_trims(smol: Base) -> None:
    """A server sends what the template prints, so that is what an eval must feed."""
    trimming = smol.ours.with_template(templates.TRIMS)
    plain = smol.ours.with_template(templates.CHATML)
    assert encode_prompt(trimming, turns(" motd\n$ ")) == encode_prompt(plain, turns("motd\n$"))
    assert encode_bridge(trimming, "\nout\n$ ") == encode_bridge(plain, "out\n$")
    assert encode_prompt(trimming, turns(" a", "ls ", "\n$")) == encode_prompt(
        plain, turns("a", "ls", "$")
    )


def test_a_prompt_that_a_template_rewrites_beyond_that_is_refused(smol: Base) -> None:
    twice = smol.ours.with_template(
        templates.chatml("(message['content'] | replace('a', messages | length | string))")
    )
    swapping = smol.ours.with_template(
        templates.chatml(
            "(messages[0]['content'] if 'z' in messages[-1]['content'] else message['content'])"
        )
    )
    with pytest.raises(Refused, match="rewrites"):
        encode_prompt(swapping, turns("a", "ls", "z"))
    assert "2" not in twice.decode(encode_prompt(twice, turns("b")))


def test_the_prompt_is_normalised_like_the_training_data(bases: MakeBase) -> None:
    """Mistral's template knows no system role; the serving side must fold as training did."""
    raw = (Turn(role="system", content="You are at a shell."), Turn(role="user", content="$"))
    tokenizer = bases("v3").ours
    folded = turns("You are at a shell.\n\n$")
    assert encode_prompt(tokenizer, raw) == encode_prompt(tokenizer, folded)


def test_there_is_nothing_to_answer_after_a_command(smol: Base) -> None:
    with pytest.raises(BadInput, match="ends with a command"):
        encode_prompt(smol.ours, turns("$", "ls"))


def test_half_a_surrogate_pair_is_an_error_and_no_crash(smol: Base) -> None:
    with pytest.raises(Refused, match="surrogate"):
        encode_prompt(smol.ours, turns("\ud83d"))
    with pytest.raises(Refused, match="surrogate"):
        encode_bridge(smol.ours, "\ud83d")


def test_the_ids_that_stop_a_generation(smol: Base, bases: MakeBase) -> None:
    assert smol.ours.end_of_turn_ids == {smol.ours.end_of_turn_id}
    assert smol.ours.token_text(smol.ours.end_of_turn_id) == "<|im_end|>"
    assert bases("v3").ours.token_text(bases("v3").ours.end_of_turn_id) == "</s>"
    open_ended = smol.ours.with_template(templates.LEAVES_OPEN)
    with pytest.raises(Refused, match="closes a command turn with no control token"):
        _ = open_ended.end_of_turn_ids
    with pytest.raises(Refused, match="closes a command turn with no control token"):
        encode_bridge(open_ended, "$")


def test_a_token_that_is_half_a_character_has_a_name(smol: Base, bases: MakeBase) -> None:
    half = row(PLAIN, smol.ours).ids[
        [piece == "" for piece in row(PLAIN, smol.ours).pieces()].index(True)
    ]
    assert smol.ours.token_text(int(half))
    fallback = encode_prompt(bases("v3").ours, turns("👋"))
    assert any(bases("v3").ours.token_text(token) == "<0xF0>" for token in fallback)


def test_a_token_keeps_the_space_that_it_begins_with(bases: MakeBase) -> None:
    for name in ("v1", "v3", "v3/legacy", "tekken-v3"):
        tokenizer = bases(name).ours
        built = row(PLAIN, tokenizer)
        shown = [tokenizer.token_text(int(token)) for token in built.ids]
        assert " notes" in shown
        assert "notes" not in shown
        assert " " in shown
