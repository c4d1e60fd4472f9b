"""Failure modes 11 to 14: one BOS, a system turn that a template refuses, nothing cut, nothing
empty."""

from __future__ import annotations

import json
from pathlib import Path

import jinja2
import pytest

from sekft_engine.core.errors import BadInput
from sekft_engine.data.recipe import Recipe
from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.render import Dropped, build_row, build_rows
from sekft_engine.render.template.prompt import encode_prompt
from sekft_engine.training.trainer.data import load_data, train_row
from tests.render.conftest import Base, MakeBase
from tests.render.families import APPEND
from tests.render.sessions import PLAIN, session, turns
from tests.render.templates import MISTRAL
from tests.render.test_equals_transformers import messages, row

SYSTEM = Trajectory(
    id="s", turns=(Turn(role="system", content="You are at a shell."), *turns("$", "ls", "$"))
)


@pytest.mark.parametrize(
    "name", [name for name in APPEND if name.startswith(("llama", "gemma", "zephyr"))]
)
def test_11_one_bos_where_tokenising_the_rendered_text_gives_two(
    name: str, families: MakeBase
) -> None:
    one_bos(families(name), "bos" if name != "zephyr" else "")


@pytest.mark.parametrize("version", ["v1", "v2", "v3", "v7", "tekken-v3", "v3/legacy"])
def test_11_one_bos_on_every_mistral(version: str, bases: MakeBase) -> None:
    one_bos(bases(version), "")


def one_bos(base: Base, written: str) -> None:
    built = row(PLAIN, base.ours)
    bos = base.ours.bos_id
    opening = [token for token in built.ids.tolist() if token == bos]
    assert len(opening) == (1 if built.text.startswith(base.ours.tokens["bos_token"]) else 0)
    assert len(opening) == 1 or not written
    # A tokenizer that adds BOS does so once more where the template wrote it already.
    text = base.theirs.apply_chat_template(messages(PLAIN), tokenize=False)
    adds = base.theirs("x")["input_ids"][0] == bos
    assert base.theirs(text)["input_ids"][:2].count(bos) == len(opening) + adds
    assert encode_prompt(base.ours, PLAIN.turns[:1])[:2].count(bos or -1) == len(opening)


def test_11_a_template_that_writes_two_itself_is_refused(families: MakeBase) -> None:
    base = families("llama3")
    doubled = base.ours.with_template("{{ bos_token }}" + base.ours.template.source)
    built = build_row(PLAIN, doubled)
    assert isinstance(built, Dropped)
    assert built.reason == "double_bos"
    assert built.detail.startswith("the template opens with two BOS tokens: '<")


@pytest.mark.parametrize("name", ["v0.1", "v0.2", "v0.3", "nemo", "gemma2"])
def test_12_a_system_turn_that_the_template_refuses_is_folded_on_both_sides(
    name: str, bases: MakeBase, families: MakeBase
) -> None:
    base = families(name) if name == "gemma2" else bases("v3")
    template = base.ours.template.source if name == "gemma2" else MISTRAL[name]
    with pytest.raises(jinja2.TemplateError):
        base.theirs.apply_chat_template(messages(SYSTEM), chat_template=template)
    tokenizer = base.with_template(template)
    folded = session("You are at a shell.\n\n$", "ls", "$")
    assert row(SYSTEM, tokenizer).ids.tolist() == row(folded, tokenizer).ids.tolist()
    assert encode_prompt(tokenizer, SYSTEM.turns[:2]) == encode_prompt(tokenizer, folded.turns[:1])


@pytest.mark.parametrize("name", ["smollm2", "v3", "tekken-v3"])
def test_13_a_session_over_the_limit_is_dropped_by_name_and_never_cut(
    name: str, bases: MakeBase
) -> None:
    base = bases(name)
    whole = row(PLAIN, base.ours)
    cut = base.theirs.apply_chat_template(
        messages(PLAIN), truncation=True, max_length=len(whole) - 4, return_dict=False
    )
    assert cut[-1] not in base.ours.end_of_turn_ids  # what others would train to stop at
    for limit in range(1, len(whole)):
        built = build_row(PLAIN, base.ours, max_length=limit)
        assert built == Dropped("s", "too_long", f"{len(whole)} tokens, the limit is {limit}")
    kept = build_row(PLAIN, base.ours, max_length=len(whole))
    assert not isinstance(kept, Dropped)
    trained = train_row(kept)
    assert trained.ids[-1] in base.ours.end_of_turn_ids
    assert trained.ids.tolist() == whole.ids[: whole.spans[-1].end].tolist()


def test_14_a_session_without_a_command_is_dropped_by_name(smol: Base) -> None:
    silent = (session("motd\n$"), Trajectory(id="s", turns=(Turn(role="system", content="x"),)))
    for built in build_rows(silent, smol.ours):
        assert isinstance(built, Dropped)
        assert built.reason == "no_command"


def test_14_data_in_which_nothing_can_be_trained_stops_the_run_with_the_reasons(
    smol: Base, tmp_path: Path
) -> None:
    for number, one in enumerate((session("$"), session("$", "ls " * 3000))):
        path = tmp_path / f"{number}.json"
        kept = {"id": f"{number}", "keep": True, "verified": True, "outcome": "exit"}
        path.write_text(
            json.dumps(kept | {"turns": messages(one), "meta": {"clean": True}}), encoding="utf-8"
        )
    with pytest.raises(BadInput, match=r"nothing|no trajectory can be trained on") as caught:
        load_data(str(tmp_path), "", smol.ours, Recipe(max_length=512))
    assert "1 no_command" in str(caught.value)
    assert "1 too_long" in str(caught.value)
