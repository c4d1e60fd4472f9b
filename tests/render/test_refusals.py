"""A row without its certificate is not trained on: dropped under a name that says why."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.render import ChatTokenizer, Dropped, Row, build_row
from sekft_engine.render.rows.audit import audit
from tests.render import templates
from tests.render.conftest import Base, MakeBase
from tests.render.sessions import PLAIN, session
from tests.render.test_equals_transformers import row


def dropped(trajectory: Trajectory, tokenizer: ChatTokenizer, max_length: int = 0) -> Dropped:
    built = build_row(trajectory, tokenizer, max_length=max_length)
    assert isinstance(built, Dropped), "nothing was refused"
    assert built.id == trajectory.id
    assert built.detail
    return built


def test_a_good_row_has_every_line_of_the_certificate(any_base: Base) -> None:
    certificate = row(PLAIN, any_base.ours).certificate
    assert certificate.ok
    assert set(certificate.lines.values()) == {True}
    assert set(certificate.lines) == {
        "additive",
        "decodes",
        "terminal_whole",
        "no_forged_control",
        "single_bos",
        "template_faithful",
        "within_limit",
    }


@pytest.mark.parametrize(
    "line",
    [
        "additive",
        "decodes",
        "terminal_whole",
        "no_forged_control",
        "single_bos",
        "template_faithful",
        "within_limit",
    ],
)
def test_one_false_line_spoils_the_certificate(line: str, smol: Base) -> None:
    certificate = row(PLAIN, smol.ours).certificate
    assert not msgspec.structs.replace(certificate, **{line: False}).ok
    assert not msgspec.structs.replace(certificate, trained_tokens=0).ok


@pytest.mark.parametrize(
    ("template", "contents", "reason", "says"),
    [
        (templates.TRIMS, (" motd\n$", "ls"), "template_rewrites_content", "content of turn 0"),
        (templates.TRIMS, ("$", "ls\n", "$"), "template_rewrites_content", "content of turn 1"),
        (
            templates.CUTS_THOUGHTS,
            ("$", "a</think>ls", "$", "exit"),
            "template_rewrites_content",
            "content of turn 1",
        ),
        (templates.GROWS_A_PREAMBLE, ("$", "ls"), "not_additive", "command turn 1"),
        (templates.MARKS_THE_LAST, ("$", "ls", "$", "exit"), "not_additive", "command turn"),
        (templates.PROMPTS_MORE, ("$", "ls"), "not_additive", "command turn 1"),
        (templates.PROMPTS_MORE, ("$", "ls"), "not_additive", "asks for command turn 1 with"),
        (templates.PROMPTS_MORE, ("$", "ls"), "not_additive", "put a chat_template.jinja"),
        (templates.OPENS_A_CHANNEL, ("$", "ls"), "writes_before_command", "'<file_sep>'"),
        (templates.SIGNS_COMMANDS, ("$", "ls"), "writes_before_command", "'sh: '"),
        (templates.LEAVES_OPEN, ("$", "ls"), "no_end_of_turn", "command turn 1"),
        (templates.LEAVES_OPEN, ("$", "ls", "$"), "no_end_of_turn", "command turn 1"),
        (templates.CLOSES_LAST, ("$", "ls", "$"), "not_additive", "closes command turn 1"),
        (templates.DOUBLE_BOS, ("$", "ls"), "double_bos", "two BOS"),
        (templates.DROPS_A_TURN, ("$", "ls"), "template_rewrites_content", "each of 2 turns"),
        ("{{ raise_exception('no shells') }}", ("$", "ls"), "template_error", "no shells"),
        ("{{ messages[0].nothing.more }}", ("$", "ls"), "template_error", "refuses the session"),
        ("{{ messages.append(1) }}", ("$", "ls"), "template_error", "refuses the session"),
    ],
)
def test_a_template_that_breaks_the_contract(
    template: str, contents: tuple[str, ...], reason: str, says: str, smol: Base
) -> None:
    tokenizer = smol.ours.with_template(template)
    if reason == "double_bos":
        tokenizer = _with_bos(smol, template)
    found = dropped(session(*contents), tokenizer)
    assert found.reason == reason
    assert says in found.detail


def _with_bos(smol: Base, template: str) -> ChatTokenizer:
    tokens = smol.ours.tokens | {"bos_token": "<|endoftext|>"}
    return ChatTokenizer(smol.ours.spec, template, tokens)


def test_trimming_is_no_fault_where_there_is_nothing_to_trim(smol: Base) -> None:
    assert row(PLAIN, smol.ours.with_template(templates.TRIMS)).certificate.ok


@pytest.mark.parametrize("name", ["smollm2", "v3", "tekken-v3"])
def test_white_space_before_a_command_that_melts_into_the_prompt(
    name: str, bases: MakeBase
) -> None:
    """`assistant\\n` + `  ls`: a token would cross into the header, or decode to something else."""
    for command in ("  ls", "\n  ls", "\n\n ls", "\tls", "ls ", "ls\n\n"):
        built = build_row(session("$", command, "$", "exit"), bases(name).ours)
        if isinstance(built, Dropped):
            assert built.reason in ("boundary_merge", "decode_mismatch")
        else:
            first = built.spans[0]
            text = bases(name).ours.decode(built.ids[first.start : first.end - 1])
            assert text in (command, f" {command}")
    assert dropped(session("$", "  ls"), bases("smollm2").ours).reason == "boundary_merge"


def test_too_long_is_dropped_and_never_cut(smol: Base) -> None:
    length = len(row(PLAIN, smol.ours))
    assert isinstance(build_row(PLAIN, smol.ours, max_length=length), Row)
    found = dropped(PLAIN, smol.ours, max_length=length - 1)
    assert found.reason == "too_long"
    assert f"{length} tokens, the limit is {length - 1}" in found.detail


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ((), "empty_session"),
        ((Turn(role="user", content="$"),), "no_command"),
        ((Turn(role="system", content="$"), Turn(role="user", content="$")), "no_command"),
        ((Turn(role="assistant", content="ls"),), "opens_with_command"),
        ((Turn(role="user", content="$"), Turn(role="assistant", content=" ")), "empty_command"),
        (
            (Turn(role="user", content="a\ud83d$"), Turn(role="assistant", content="ls")),
            "lone_surrogate",
        ),
    ],
)
def test_sessions_that_cannot_be_trained_on(
    turns: tuple[Turn, ...], reason: str, smol: Base
) -> None:
    assert dropped(Trajectory(id="x", turns=turns), smol.ours).reason == reason


def test_a_character_that_becomes_the_unknown_token_is_named(bases: MakeBase) -> None:
    spec = msgspec.json.decode(msgspec.json.encode(bases("v3").ours.spec))
    spec["model"] |= {"byte_fallback": False, "unk_token": "<unk>"}
    tokenizer = ChatTokenizer(spec, templates.MISTRAL["v0.3"], bases("v3").ours.tokens)
    assert dropped(session("👩‍💻 $", "ls"), tokenizer).reason == "unknown_token"
    assert dropped(session("$", "echo 👩‍💻"), tokenizer).reason == "unknown_token"
    assert row(session("plain $", "ls"), tokenizer).certificate.ok


def test_a_character_that_vanishes_is_refused_in_a_command_and_counted_elsewhere(
    smol: Base,
) -> None:
    """SmolLM2's vocabulary lacks six bytes and no unknown token tells: Ctrl-V is left out."""
    assert row(session("a\x16b\x16 $", "ls"), smol.ours).lost == 2
    assert row(PLAIN, smol.ours).lost == 0
    found = dropped(session("$", "echo '\x16'"), smol.ours)
    assert found.reason == "unknown_token"
    assert "'\\x16'" in found.detail


def test_the_certificate_is_computed_and_not_assumed(smol: Base) -> None:
    """Damaged ids lose the lines that they break."""
    built = row(PLAIN, smol.ours)
    assert audit(built, smol.ours).ok
    ids = built.ids.copy()
    ids[built.spans[1].start] += 1
    broken = audit(msgspec.structs.replace(built, ids=ids), smol.ours)
    assert not broken.decodes
    assert not broken.ok
    short = msgspec.structs.replace(built, ids=built.ids[: built.spans[-1].end - 1])
    assert not audit(short, smol.ours).terminal_whole


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ({"tokenizer.json": None}, "tokenizer.json: no such file"),
        ({"tokenizer.json": b"{"}, "tokenizer.json: broken JSON"),
        ({"tokenizer.json": b"[]"}, "tokenizer.json: not a JSON object"),
        ({"tokenizer.json": b"{}"}, "tokenizer.json: not a tokenizer.json"),
        ({"tokenizer.json": b'{"model": {}}'}, "broken tokenizer.json"),
        ({"tokenizer.json": b"\xff"}, "not UTF-8"),
        ({"chat_template.jinja": None}, "no chat template"),
        ({"chat_template.jinja": b"{% if %}"}, "broken chat template"),
        ({"tokenizer_config.json": b"nope"}, "tokenizer_config.json: broken JSON"),
    ],
)
def test_a_damaged_base_is_told_with_file_and_cause(
    damage: dict[str, bytes | None], says: str, tiny_base_copy: Path
) -> None:
    folder = tiny_base_copy
    for name, data in damage.items():
        if data is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(data)
    with pytest.raises(BadInput) as caught:
        ChatTokenizer.load(folder)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
