"""Every chat template that TRL ships: our labels are its assistant mask with the end-of-turn rule,
or the template is refused by name; each difference is in the table below.

The rule: trained is what a model has to say after the generation prompt, up to and including the
token that ends its turn. TRL trains what its patched template puts between markers, which may
begin within the generation prompt and mostly goes on with what follows the end of the turn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tokenizers import AddedToken
from trl.chat_template_utils import get_training_chat_template

from sekft_engine.data.trajectory import Trajectory
from sekft_engine.render import Dropped, Row, build_row
from sekft_engine.render.rows.audit import audit
from tests.once import made_once
from tests.render.conftest import Base, MakeBase
from tests.render.families import TRL_TEMPLATES, FamilyBase, trl_template
from tests.render.sessions import PLAIN, SHELL, session
from tests.render.test_equals_transformers import messages, row

ORIGINALS = sorted(
    path.stem for path in TRL_TEMPLATES.glob("*.jinja") if not path.stem.endswith("_training")
)
#: What the vendors' tokenizers hold as control tokens, as the templates write them.
_CONTROL = re.compile(
    r"<\|[^|<>\s'{}]+\|>|<｜[^｜<>']+｜>|<\|?(?:channel|turn|think|tool_call|tool_response)\|?>|"
    r"<(?:start|end)_of_turn>|</think>|<end_of_utterance>|<start_of_image>|<image>|"
    r"\[gMASK\]|<sop>"
)
SESSIONS = (
    PLAIN,
    SHELL,
    session("$", "ls", "$", "exit"),
    session("a  b\n\tc", "cat <<E\n  x\nE", "", "ls"),
)


class Same(msgspec.Struct, frozen=True):
    """Equal but for what TRL trains besides: ``before`` and ``after`` each command (``last``:
    after the last one, where that differs)."""

    before: str = ""
    after: str = ""
    last: str | None = None


class Refused(msgspec.Struct, frozen=True):
    """No row for a session of several commands. ``says`` is in the detail."""

    reason: str
    says: str


class Unmasked(msgspec.Struct, frozen=True):
    """TRL makes no mask for it (no patched template); we make rows."""


_BREAK = Same(after="\n")
_THINKS = Refused("not_additive", "<think>\\n', but shows")
_INSERTS = Refused("writes_before_command", "</think>\\n\\n' before command turn")
_BLOCKS = Refused("template_rewrites_content", "does not show each of")

#: Every original template of TRL 1.16 and how its mask and ours differ.
EXPECTED: dict[str, Same | Refused | Unmasked] = {
    "cohere": Same(),
    # Two control tokens end a turn; the first one is where a command stops, and is trained. What
    # follows it is written for the model, in training and in evals alike.
    "cohere2": Same(after="<|END_OF_TURN_TOKEN|>"),
    # Reasoning models: the generation prompt opens a thought that the history does not show.
    "deepseek_r1_distill": _THINKS,
    "deepseekv3": _THINKS,
    "nemotron_3_5_lightning": _THINKS,
    "nemotron_3_nano": _THINKS,
    "nemotron_3_super": _THINKS,
    "nemotron_3_ultra": _THINKS,
    "qwen3_5_nothink": Refused("not_additive", "</think>\\n\\n', but shows"),
    "qwen3_5_think": _THINKS,
    "qwen3_6": _THINKS,
    # ... or the history shows an empty one that no generation prompt asked with.
    "qwen3": _INSERTS,
    "qwen3_8": _INSERTS,
    # The line break after a closed turn belongs to the template; TRL trains it.
    "diffusion_gemma": _BREAK,
    "gemma": _BREAK,
    "gemma3": _BREAK,
    "lfm2": _BREAK,
    "lfm2_2_5": _BREAK,
    "lfm2_2_5_v2": _BREAK,
    "lfm2_2_5_vl": _BREAK,
    "lfm2_v2": _BREAK,
    "qwen2_5_vl": _BREAK,
    "qwen3_instruct_2507": _BREAK,
    "qwen3_vl": _BREAK,
    # TRL trains the line break of the header too, which every prompt supplies.
    "qwen2_5": Same(before="\n", after="\n"),
    # ... and the EOS that stands after the last turn and never where a session goes on.
    "phi3": Same(after="\n", last="\n</s>"),
    "phi3_5": Same(after="\n", last="\n</s>"),
    "llama3": Same(),
    # The next turn's header is what ends a turn; the last one is left open.
    "glm4moe": Refused("writes_before_command", "</think>\\n' before command turn 1"),
    # The model itself opens a channel or names a recipient before it says anything.
    "gptoss": Refused("writes_before_command", "'<|channel|>final<|message|>'"),
    "muse_glimmer": Refused("writes_before_command", "' to=user<|message|>'"),
    # Templates of vision models show blocks of content only: of plain text nothing is left, and
    # TRL's mask then trains the end of empty turns.
    "idefics3": _BLOCKS,
    "smolvlm": _BLOCKS,
    "llava_next": Refused("template_error", "has no attribute 'text'"),
    "gemma4": Unmasked(),
    "gemma4_v2": Unmasked(),
    "gemma4_v3": Unmasked(),
    "gemma4_v4": Unmasked(),
    "gemma4_v5": Unmasked(),
    "llama3_1": Unmasked(),
    "llama3_2": Unmasked(),
}


@pytest.fixture(scope="module")
def shared(bases: MakeBase, tmp_path_factory: pytest.TempPathFactory) -> Base:
    """Tekken with every control token of every template."""

    def fill(folder: Path) -> None:
        from transformers import AutoTokenizer

        tokenizer: Any = AutoTokenizer.from_pretrained(
            str(bases("tekken-v3").folder), local_files_only=True
        )
        every = {text for name in ORIGINALS for text in _CONTROL.findall(trl_template(name))}
        tokenizer.add_tokens(
            [AddedToken(text, special=True, normalized=False) for text in sorted(every)],
            special_tokens=True,
        )
        tokenizer.save_pretrained(folder)

    return Base(made_once(tmp_path_factory, "trl/tekken", fill))


def patched(base: Base) -> str | None:
    """The template that TRL would train with; None where it has none."""
    try:
        training: str = get_training_chat_template(base.theirs) or base.theirs.chat_template
    except ValueError:
        return None
    return training


def spans_of(mask: Sequence[int]) -> list[tuple[int, int]]:
    """The runs of ones as ``[start, end)``."""
    text = "".join(map(str, mask))
    return [match.span() for match in re.finditer("1+", text)]


def test_every_template_of_trl_is_explained_here_and_no_other() -> None:
    assert set(ORIGINALS) == set(EXPECTED), "say in the table what its mask is"
    for name in ORIGINALS:
        if (TRL_TEMPLATES / f"{name}_training.jinja").exists():
            assert not isinstance(EXPECTED[name], Unmasked)


@pytest.mark.parametrize("name", ORIGINALS)
def test_labels_are_trls_mask_and_the_rule(name: str, shared: Base) -> None:
    base = FamilyBase(shared, trl_template(name))
    expected, training = EXPECTED[name], patched(base)
    assert (training is None) == isinstance(expected, Unmasked)
    for one in SESSIONS:
        built = build_row(one, base.ours)
        if isinstance(expected, Refused):
            assert isinstance(built, Dropped)
            assert built.reason == expected.reason, built.detail
            assert expected.says in built.detail
            continue
        assert isinstance(built, Row), built
        assert audit(built, base.ours).ok
        assert built.ids.tolist() == base.theirs.apply_chat_template(
            messages(one), return_dict=False
        )
        if isinstance(expected, Same):
            assert training is not None
            assert_same(one, built, expected, base, training)


def assert_same(one: Trajectory, built: Row, expected: Same, base: Base, training: str) -> None:
    theirs = base.theirs.apply_chat_template(
        messages(one), chat_template=training, return_dict=True, return_assistant_tokens_mask=True
    )
    ids, runs = theirs["input_ids"], spans_of(theirs["assistant_masks"])
    assert built.ids.tolist() == ids
    assert len(runs) == len(built.spans)
    for (start, end), span in zip(runs, built.spans, strict=True):
        last = span is built.spans[-1] and span.turn == len(built.turns) - 1
        assert start <= span.start < span.end <= end
        assert base.theirs.decode(ids[start : span.start]) == expected.before
        after = expected.after if expected.last is None or not last else expected.last
        assert base.theirs.decode(ids[span.end : end]) == after
    # Under TRL's patched template our row is the same row.
    again = row(one, base.ours.with_template(training))
    assert again.ids.tolist() == ids
    assert again.spans == built.spans


def test_where_only_a_second_command_breaks_it_a_session_of_one_is_trained(shared: Base) -> None:
    """Qwen 3.5 asks with an empty thought and shows it in the last turn only."""
    base = FamilyBase(shared, trl_template("qwen3_5_nothink"))
    one = session("user@box:~$", "panic 'nothing to do'")
    assert isinstance(build_row(session("$", "ls", "x", "exit"), base.ours), Dropped)
    built = build_row(one, base.ours)
    assert isinstance(built, Row)
    assert audit(built, base.ours).ok
    assert base.ours.decode(built.ids[: built.spans[0].start]).endswith("<think>\n\n</think>\n\n")
    # TRL trains the thought that the prompt supplies, too.
    expected = Same(before="<think>\n\n</think>\n\n", after="\n")
    training = patched(base)
    assert training is not None
    assert_same(one, built, expected, base, training)
