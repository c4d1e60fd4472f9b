"""Failure modes 5 to 7: tokens that cross from the prompt into a command, sampled ids that are not
the tokenizer's own, and one tokenizer in two conversions."""

from __future__ import annotations

import pytest

from sekft_engine.data.reasons import WAYS
from sekft_engine.render import Dropped, build_row
from sekft_engine.render.rows.audit import audit
from sekft_engine.render.rows.difference import first_difference
from sekft_engine.render.template.prompt import encode_prompt
from tests.render.conftest import Base, MakeBase
from tests.render.families import APPEND, trl_template
from tests.render.reference import template_ids
from tests.render.sessions import PLAIN, session
from tests.render.test_equals_transformers import messages, row

_LEADING = {"  ls", "\tls", "\nls"}
#: Beginnings of a command that melt into the header of their family, where others than two spaces.
MELT = {
    "llama3": _LEADING,  # trims
    "llama3.1": _LEADING,
    "llama3.2": _LEADING,
    "gemma2": _LEADING,
    "gemma3": _LEADING,
    "phi3": _LEADING,  # its control tokens swallow white space
    "qwen2.5": {"\nls"},
    "qwen3-2507": {"\nls"},
}


def test_5_a_header_whose_end_is_cut_otherwise_once_a_command_follows_is_refused(
    families: MakeBase,
) -> None:
    """Llama 3 opens a command with two line breaks. Its own tokenizer and Tekken keep them one
    token; SmolLM2's cuts them as one before nothing and as two before a word. What TRL trains there
    follows tokens that no prompt ever ends with."""
    smol = families("chatml")
    base = smol.ours.with_template(trl_template("llama3"))
    refused = build_row(PLAIN, base)
    assert isinstance(refused, Dropped)
    assert refused.reason == "boundary_merge"
    assert refused.detail.startswith(
        "command turn 1 melts into the prompt before it: the prompt ends in the tokens '\\n\\n', "
        "and with the command after it there are '\\n' '\\n' 'ls'"
    )
    assert refused.detail.endswith(WAYS["boundary_merge"])
    theirs = smol.theirs.apply_chat_template(
        messages(PLAIN),
        chat_template=trl_template("llama3_training"),
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    trained = theirs["assistant_masks"].index(1)
    found = first_difference(encode_prompt(base, PLAIN.turns[:1]), theirs["input_ids"], base)
    assert found is not None
    assert found.index == trained - 2
    assert (found.ours[0], found.theirs[:2]) == ("\n\n", ("\n", "\n"))
    assert row(PLAIN, families("llama3").ours).certificate.ok


@pytest.mark.parametrize("name", APPEND)
def test_5_each_session_is_refused_only_where_its_own_commands_melt(
    name: str, families: MakeBase
) -> None:
    """A tokenizer joins the header's line break with one that follows, or a space with the next:
    in each family another beginning of a command melts, and only that one is refused."""
    base = families(name)
    refused = set()
    for command in ("ls", "./x", "/bin/ls", "  ls", "\tls", "\nls", ". x", "'a b'", "exit"):
        one = session("$", command, "$", "exit")
        built = build_row(one, base.ours)
        prompt = template_ids(base.theirs, one.turns[:1], add_generation_prompt=True)
        whole = template_ids(base.theirs, one.turns)
        if isinstance(built, Dropped):
            refused.add(command)
            assert built.reason in (
                "boundary_merge",
                "decode_mismatch",
                "template_rewrites_content",
            )
            if built.reason == "boundary_merge":
                assert (
                    whole[: len(prompt)] != prompt
                    or base.ours.decode(whole[len(prompt) :]).split("<")[0] != command
                )
        else:
            assert built.ids.tolist() == whole
            assert whole[: len(prompt)] == prompt
            assert audit(built, base.ours).ok
    assert refused == MELT.get(name, {"  ls"})


def test_5_turns_tokenised_one_by_one_are_other_tokens(bases: MakeBase) -> None:
    """Tools that encode each turn by itself train what the model is never served with."""
    base = bases("v1")
    built = row(PLAIN, base.ours)
    apart = base.theirs.encode("ls -la", add_special_tokens=False)
    together = built.ids[built.spans[0].start : built.spans[0].end - 1].tolist()
    assert base.ours.decode(apart) == base.ours.decode(together) == "ls -la"
    found = first_difference(apart, together, base.ours)
    assert found is not None
    assert (found.ours[0], found.theirs[0]) == (" l", "ls")
    assert built.ids.tolist() == template_ids(base.theirs, PLAIN.turns)


def test_6_ids_that_a_model_samples_survive_where_a_second_render_changes_them(
    bases: MakeBase,
) -> None:
    """`▁` + `ls` for what the tokenizer writes as `▁l` + `s`: decode and render again, and the
    first token of the turn is another one. The first difference is named; an eval keeps the ids
    that were sampled, as test_round_trip shows."""
    base = bases("v3")
    prompt = encode_prompt(base.ours, PLAIN.turns[:1])
    end = base.ours.end_of_turn_id
    sampled = [*base.theirs.convert_tokens_to_ids(["▁", "ls", "▁-", "la"]), end]
    said = base.ours.decode(sampled[:-1]).strip()
    assert said == "ls -la"
    again = row(session(PLAIN.turns[0].content, said), base.ours).ids.tolist()
    found = first_difference([*prompt, *sampled], again, base.ours)
    assert found is not None
    assert found.index == len(prompt)
    assert found.same_text
    assert found.sentence("was sampled", "would be trained").startswith(
        f"token {len(prompt)}: ' ' was sampled, ' l' would be trained"
    )


@pytest.mark.parametrize("version", ["v1", "v3"])
def test_7_two_conversions_of_one_tokenizer_are_told_apart(version: str, bases: MakeBase) -> None:
    """The same SentencePiece model with the legacy flag on and off gives other ids; an adapter
    records which one it learnt with, and rows are what the given files make of the text."""
    plain, legacy = bases(version), bases(f"{version}/legacy")
    one, other = row(PLAIN, plain.ours), row(PLAIN, legacy.ours)
    assert one.text == other.text
    found = first_difference(one.ids.tolist(), other.ids.tolist(), plain.ours)
    assert found is not None
    for base, built in ((plain, one), (legacy, other)):
        assert built.ids.tolist() == template_ids(base.theirs, PLAIN.turns)
    digests = plain.ours.digest.by_name, legacy.ours.digest.by_name
    assert digests[0]["template"] == digests[1]["template"]
    assert digests[0]["tokenizer"] != digests[1]["tokenizer"]
    assert one.render_digest != other.render_digest


def test_7_the_order_in_which_merges_were_written_counts_too(smol: Base) -> None:
    spec = smol.ours.spec | {"model": dict(smol.ours.spec["model"])}
    spec["model"]["merges"] = spec["model"]["merges"][::-1]
    other = type(smol.ours)(spec, smol.ours.template.source, smol.ours.tokens)
    assert other.digest.tokenizer != smol.ours.digest.tokenizer
