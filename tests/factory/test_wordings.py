"""Training has many wordings of each directive, and shares none of them with held-out worlds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from string import Formatter

import pytest

from sekft_engine.factory.archetypes import HELD_OUT, TRAINING, VALIDATION
from sekft_engine.factory.archetypes.filters import STAGES
from sekft_engine.factory.archetypes.stages import Filter
from sekft_engine.factory.archetypes.wordings import more_wordings
from sekft_engine.factory.words import Share, wordings

_MORE = more_wordings()


def _fields(wording: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in Formatter().parse(wording) if name)


def _five_in_a_row(wording: str) -> Iterator[tuple[str, ...]]:
    """Five words in a row, of which all but one are words and no fields."""
    found = re.findall(r"\{|[a-z0-9]+", re.sub(r"\{\w+\}", "{", wording.lower()))
    for at in range(len(found) - 4):
        words = tuple(found[at : at + 5])
        if words.count("{") <= 1:
            yield words


def _of(shares: Iterable[Share]) -> list[str]:
    """The wordings of training's kinds that worlds of these shares have."""
    lists = [each.wordings for each in TRAINING.values() if each.wordings]
    lists += [each.clause for each in STAGES]
    return [wording for share in shares for each in lists for wording in wordings(each, share)]


@pytest.mark.parametrize("name", sorted(_MORE.kinds))
def test_a_further_wording_of_a_kind_says_all_that_its_first_ones_say(name: str) -> None:
    known = {_fields(wording) for wording in wordings(TRAINING[name].wordings, "train")}
    for wording in _MORE.kinds[name]:
        assert _fields(wording) in known, wording


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_further_phrase_of_a_stage_says_all_that_its_first_ones_say(stage: Filter) -> None:
    known = {_fields(phrase) for phrase in wordings(stage.clause, "train")}
    for phrase in _MORE.clauses[stage.name]:
        assert _fields(phrase) in known, phrase


def test_a_pipeline_s_directive_names_both_files_and_both_steps() -> None:
    for wording in _MORE.chains:
        assert _fields(wording) == {"source", "target", "one", "two"}, wording


def test_no_wording_stands_for_two_kinds_of_work() -> None:
    seen: dict[str, str] = {}
    for name, each in TRAINING.items():
        for wording in (*each.wordings, *each.more):
            assert seen.setdefault(wording.lower(), name) == name, wording


def test_no_further_wording_is_like_one_that_training_must_not_see() -> None:
    hidden = [*_of(("valid", "holdout"))]
    hidden += [w for each in (*HELD_OUT.values(), *VALIDATION.values()) for w in each.wordings]
    rows = {words for wording in hidden for words in _five_in_a_row(wording)}
    for wordings_ in (*_MORE.kinds.values(), *_MORE.clauses.values(), _MORE.chains):
        for wording in wordings_:
            assert wording not in hidden
            assert not rows & {*_five_in_a_row(wording)}, wording
