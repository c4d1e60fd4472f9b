"""Families that close the last turn in another way than the turns before it, or none at all."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from tokenizers import AddedToken

from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.render import ChatTokenizer, Dropped, Refused, Row, build_row, build_rows
from sekft_engine.render.bulk.cache import cached_rows
from sekft_engine.render.rows.audit import audit
from sekft_engine.render.template.prompt import encode_prompt, encode_sampled
from sekft_engine.render.template.remarks.families import FAMILY_TEMPLATES, FamilyTemplate
from tests.render.conftest import Base
from tests.render.sessions import PLAIN, session
from tests.render.speed.same import assert_same
from tests.render.test_equals_transformers import row
from tests.render.test_refusals import dropped

#: Olmo 3's way: the last turn is closed with EOS, the turns before it with ``<|im_end|>``.
OLMO = (
    "{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] }}"
    "{% if message['role'] == 'assistant' and loop.last %}{{ eos_token }}"
    "{% else %}{{ '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
#: GLM 4's way: nothing ends a turn, the next one begins.
GLM = (
    "{{ '[gMASK]<sop>' }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
#: gpt-oss's way: a channel before each command, and ``<|return|>`` after the last one.
HARMONY = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}"
    "{{ '<|start|>assistant<|channel|>final<|message|>' + message['content'] + "
    "('<|return|>' if loop.last else '<|end|>') }}"
    "{% else %}{{ '<|start|>user<|message|>' + message['content'] + '<|end|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"
)
SPECIAL = {
    "Harmony (gpt-oss)": ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>"),
    "GLM": ("[gMASK]", "<sop>", "<|user|>", "<|assistant|>"),
}
OWN = {"Harmony (gpt-oss)": HARMONY, "GLM": GLM}
LONG = session(*("$", "ls", "a.txt\n$", "cat a.txt", "one\n\ntwo\n$", "exit"))


def made(smol: Base, template: str, family: str = "", stops: tuple[int, ...] = ()) -> ChatTokenizer:
    """SmolLM2's tokenizer with the special tokens of a family, under ``template``."""
    return _tokenizer(smol, family, stops).with_template(template)


@cache
def _tokenizer(smol: Base, family: str, stops: tuple[int, ...]) -> ChatTokenizer:
    extra = [AddedToken(text, special=True, normalized=False) for text in SPECIAL.get(family, ())]
    tokens = smol.ours.tokens | {"eos_token": "<|endoftext|>"}
    return ChatTokenizer(smol.ours.spec, GLM, tokens, extra=extra, stops=stops)


def literal(tokenizer: ChatTokenizer, text: str) -> int:
    return next(token for token, name in tokenizer.guard.literals.items() if name == text)


@pytest.mark.parametrize("contents", [("$", "ls"), ("$", "ls", "a\n$"), ("$", "ls", "a\n$", "id")])
def test_a_last_turn_that_ends_otherwise_is_trained_as_serving_shows_it(
    contents: tuple[str, ...], smol: Base
) -> None:
    tokenizer = made(smol, OLMO)
    trajectory = session(*contents)
    built = row(trajectory, tokenizer)
    assert built.certificate.ok
    assert audit(built, tokenizer) == built.certificate
    end = literal(tokenizer, "<|im_end|>")
    assert all(built.ids[span.end - 1] == end for span in built.spans)
    assert literal(tokenizer, "<|endoftext|>") not in built.ids.tolist()
    # What is trained is how the prompt for the next command begins.
    last = built.spans[-1]
    shown = [*built.turns[: last.turn + 1], Turn(role="user", content="and then\n$")]
    assert encode_prompt(tokenizer, shown)[: last.end] == built.ids[: last.end].tolist()


def test_such_rows_are_the_same_from_the_cache_and_other_processes(
    smol: Base, tmp_path: Path
) -> None:
    tokenizer = made(smol, OLMO)
    sessions = [PLAIN, LONG, session("$", "ls")]
    for built in (
        list(cached_rows(sessions, tokenizer, folder=tmp_path)),
        list(cached_rows(sessions, tokenizer, folder=tmp_path)),
        list(build_rows(sessions, tokenizer, processes=1)),
    ):
        for one, found in zip(sessions, built, strict=True):
            assert_same(found, build_row(one, tokenizer))


def test_a_turn_that_was_cut_is_closed_with_the_end_of_turn_and_not_with_eos(smol: Base) -> None:
    tokenizer = made(smol, OLMO)
    end, eos = literal(tokenizer, "<|im_end|>"), literal(tokenizer, "<|endoftext|>")
    assert tokenizer.end_of_turn_id == end
    assert tokenizer.end_of_turn_ids == {end, eos}
    built = row(LONG, tokenizer)
    cut, stopped = list(built.turns), list(built.turns)
    for span in built.spans:
        ids = tuple(built.ids[span.start : span.end - 1].tolist())
        cut[span.turn] = Turn(role="assistant", content=built.turns[span.turn].content, ids=ids)
        stopped[span.turn] = Turn(
            role="assistant", content=built.turns[span.turn].content, ids=(*ids, eos)
        )
    # Either way the next prompt shows what training showed.
    for turns in (cut, stopped):
        assert encode_sampled(tokenizer, turns) == built.ids.tolist()


def test_what_a_template_rewrites_is_still_found_in_such_sessions(smol: Base) -> None:
    tokenizer = made(smol, OLMO.replace("message['content']", "(message['content'] | trim)"))
    assert row(LONG, tokenizer).certificate.ok
    found = dropped(session("$", "ls", " a\n$", "id"), tokenizer)
    assert (found.reason, "turn 2" in found.detail) == ("template_rewrites_content", True)


def test_a_token_that_opens_the_next_turn_ends_this_one_only_if_the_base_says_so(
    smol: Base,
) -> None:
    open_ended = made(smol, GLM, "GLM")
    found = dropped(LONG, open_ended)
    assert found.reason == "no_end_of_turn"
    assert "GLM" in found.detail
    with pytest.raises(Refused, match="closes a command turn with no control token"):
        _ = open_ended.end_of_turn_id
    # Its generation_config.json says that generation stops at <|user|>.
    tokenizer = made(smol, GLM, "GLM", stops=(literal(open_ended, "<|user|>"),))
    built = row(LONG, tokenizer)
    assert audit(built, tokenizer) == built.certificate
    assert [tokenizer.token_text(int(built.ids[span.end - 1])) for span in built.spans] == [
        "<|user|>"
    ] * 3
    assert tokenizer.token_text(tokenizer.end_of_turn_id) == "<|user|>"


def test_what_the_model_would_have_to_write_first_is_refused_with_the_familys_template(
    smol: Base,
) -> None:
    found = dropped(LONG, made(smol, HARMONY, "Harmony (gpt-oss)"))
    assert found.reason == "writes_before_command"
    assert "'<|channel|>final<|message|>'" in found.detail
    assert "docs/refusals.md has one for Harmony (gpt-oss)" in found.detail


@pytest.mark.parametrize("family", FAMILY_TEMPLATES, ids=lambda family: family.title)
def test_the_template_that_is_named_for_a_family_trains_its_sessions(
    family: FamilyTemplate, smol: Base
) -> None:
    tokenizer = made(smol, family.source, family.title)
    for trajectory in (PLAIN, LONG, session("$", "ls", "a\n$")):
        built = row(trajectory, tokenizer)
        assert audit(built, tokenizer) == built.certificate
        # In history, it writes what the family's own template writes.
        own = OWN.get(family.title)
        if own is not None and trajectory is LONG:
            theirs = made(smol, own, family.title).render_text(LONG.turns[:5])
            assert built.text.startswith(theirs)


def test_a_last_turn_that_only_the_end_closes_is_refused(smol: Base) -> None:
    """The token that stands there once more turns follow opens the next turn."""
    template = (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
        "message['content'] }}{% endfor %}{% if messages[-1]['role'] == 'assistant' %}"
        "{{ '<|im_end|>' }}{% endif %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    found = dropped(LONG, made(smol, template))
    assert found.reason == "not_additive"
    assert "closes command turn 1 with" in found.detail


def test_an_ordinary_family_is_as_it_was(smol: Base) -> None:
    built = build_row(Trajectory(id="a", turns=LONG.turns), smol.ours)
    assert isinstance(built, Row)
    assert built.text == smol.ours.render_text(LONG.turns)
    assert not isinstance(built, Dropped)
