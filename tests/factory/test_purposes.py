"""What invented programs do: their filters, and that no share borrows from another."""

from __future__ import annotations

import re
import string
import subprocess
from collections import Counter
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekft_engine.factory.archetypes import held_out
from sekft_engine.factory.archetypes.purposes import HELD_OUT, VALIDATION, Core
from sekft_engine.factory.archetypes.purposes_usual import USUAL
from sekft_engine.factory.archetypes.tools import TRAINING_PURPOSES
from tests.fuzzing import examples

_EVERY = (*TRAINING_PURPOSES, *VALIDATION, *HELD_OUT)
_WORD = st.text(string.ascii_lowercase, min_size=1, max_size=12)
#: Of what held-out and validation worlds do; no text of training may have such a word.
_FOREIGN = re.compile(
    r"\b(permissions?|mode|(sym)?link(ed)?|symbolic|checksum|fingerprint|sum|compress(ed)?|gzip|pack"
    r"|wrap(ped)?|fold|fill|split|divide|pieces?|break|characters|bytes|stamp|mirror|backwards"
    r"|reversed?|stars?|archived?|year|encrypt|alphabet|turn|quoted?|mail|rate|points"
    r"|dedicated?|gift)\b"
)


def _ids(core: Core) -> str:
    return core.purpose


def _filtered(core: Core, rows: list[str], p: str) -> list[str]:
    """What the program's filter in sh makes of ``rows``."""
    done = subprocess.run(
        ["sh", "-c", core.shell],
        input="".join(f"{row}\n" for row in rows),
        env={"PATH": "/usr/bin:/bin", "P": p},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.endswith("\n")
    return done.stdout.split("\n")[:-1]


def _params(core: Core, rows: list[str]) -> list[str]:
    match core.param:
        case "n":
            return [str(n) for n in range(1, len(rows))]
        case "w":
            return ["maple", "x"]
        case _:
            return [""]


@pytest.mark.parametrize("core", _EVERY, ids=_ids)
def test_a_filter_does_what_its_world_expects(core: Core) -> None:
    words = ["oak", "lantern", "a", "zebra", "quartz", "eel", "ivory", "sky", "umbrella"]
    for count, width in product((2, 3, 4), {1, 2, core.width}):
        if width < core.width:
            continue
        rows = [" ".join(words[at : at + width]) for at in range(count)]
        for p in _params(core, rows):
            assert _filtered(core, rows, p) == core.apply(rows, p)


@given(
    core=st.sampled_from(_EVERY),
    words=st.lists(_WORD, min_size=6, max_size=12, unique=True),
    word=_WORD,
    data=st.data(),
)
@settings(max_examples=examples(150), deadline=None)
def test_a_filter_does_it_with_any_words(
    core: Core, words: list[str], word: str, data: st.DataObject
) -> None:
    width = core.width
    rows = [" ".join(words[at : at + width]) for at in range(0, len(words) - width + 1, width)]
    p = str(data.draw(st.integers(1, len(rows) - 1))) if core.param == "n" else word
    assert _filtered(core, rows, p) == core.apply(rows, p)


@pytest.mark.parametrize("core", [each for each in _EVERY if each.changes], ids=_ids)
def test_a_file_to_change_is_not_right_from_the_start(core: Core) -> None:
    """A program that changes a file leaves another text, and no empty line at its end."""
    for rows in (["oak", "lantern"], ["a", "eel", "sky"], ["zebra", "ivory", "oak", "sun"]):
        for p in _params(core, rows):
            made = core.apply(rows, p)
            assert made != rows
            assert made[-1]


def test_a_directive_names_what_its_program_needs() -> None:
    for core in _EVERY:
        fields = {"source"} | ({"p"} if core.param else set())
        if not core.changes:
            fields.add("target")
        for text in core.texts:
            assert Counter(re.findall(r"{(\w+)}", text)) == Counter(fields), text


def test_no_two_purposes_and_no_two_texts_are_the_same() -> None:
    assert len({core.purpose for core in _EVERY}) == len(_EVERY)
    texts = [text for core in _EVERY for text in core.texts]
    assert len({_plain(text) for text in texts}) == len(texts)
    assert all(len(set(core.verbs)) == 3 for core in _EVERY)


def test_training_has_many_purposes_and_says_each_in_several_ways() -> None:
    assert len(TRAINING_PURPOSES) >= 63
    assert all(3 <= len(core.texts) <= 4 for core in TRAINING_PURPOSES)


def test_held_out_and_validation_purposes_have_one_text_each() -> None:
    assert all(len(core.texts) == 1 for core in (*VALIDATION, *HELD_OUT))


def test_training_borrows_no_wording_from_held_out_and_validation_worlds() -> None:
    """No four words in a row of a new text, a field counted as one, are in a text of theirs.

    The first texts of the usual purposes are older: worlds of held-out pairs have them too.
    """
    theirs = [text for core in (*HELD_OUT, *VALIDATION) for text in core.texts]
    for kind in (*held_out.ARCHETYPES, *held_out.VALIDATION):
        theirs += kind.wordings
    known = {gram: text for text in theirs for gram in _grams(text)}
    older = {core.texts[0] for core in USUAL}
    texts = [text for core in TRAINING_PURPOSES for text in core.texts if text not in older]
    shared = {text: known[gram] for text in texts for gram in _grams(text) if gram in known}
    assert shared == {}
    named = [core.purpose for core in TRAINING_PURPOSES]
    assert [each for each in (*texts, *named) if _FOREIGN.search(_plain(each))] == []


def _plain(text: str) -> str:
    """``text`` in lower case, its fields as one word, no signs."""
    return " ".join(re.findall(r"\w+", re.sub(r"{\w+}", "FIELD", text.lower())))


def _grams(text: str) -> set[str]:
    words = _plain(text).split()
    return {" ".join(words[at : at + 4]) for at in range(len(words) - 3)}
