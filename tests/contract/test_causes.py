"""Each cause by itself: small pure functions over what both sides feed."""

from __future__ import annotations

import pytest

from sekft_engine.contract import causes, faults
from sekft_engine.contract.causes import CAUSES

BOS, EOS = 1, 2
OURS = [BOS, 10, 11, 12, 13]


def test_every_cause_has_a_title_a_meaning_and_a_way_out() -> None:
    for name, cause in CAUSES.items():
        assert name.replace("_", "").isalpha()
        assert 0 < len(cause.title) <= 24
        assert cause.meaning.endswith(".")
        assert cause.mend
        assert not cause.mend.endswith(".")


def test_every_simulated_fault_has_a_cause() -> None:
    assert {cause for cause, _ in faults.REWRITES} | causes.EVERYWHERE <= set(CAUSES)


def test_two_bos() -> None:
    assert causes.two_bos(OURS, [BOS, *OURS], BOS)
    assert causes.two_bos(OURS, [BOS, BOS, 99], BOS)
    assert not causes.two_bos(OURS, OURS, BOS)
    assert not causes.two_bos([BOS, *OURS], [BOS, *OURS], BOS)
    assert not causes.two_bos(OURS, [BOS, *OURS], None)


def test_lost_bos() -> None:
    assert causes.lost_bos(OURS, OURS[1:], BOS)
    assert causes.lost_bos(OURS, [10, 11, 12, 99], BOS)
    assert not causes.lost_bos(OURS, OURS, BOS)
    assert not causes.lost_bos(OURS[1:], OURS[2:], BOS)
    assert not causes.lost_bos([BOS], [], BOS)
    assert not causes.lost_bos(OURS, OURS[1:], None)


def test_goes_on_and_stops_early() -> None:
    assert causes.goes_on(OURS, [*OURS, 7])
    assert not causes.goes_on(OURS, OURS)
    assert causes.stops_early(OURS, OURS[:-2], [12, 13])
    assert not causes.stops_early(OURS, OURS[:-1], [12, 13])
    assert not causes.stops_early(OURS, OURS, [])


@pytest.mark.parametrize(
    ("faulty", "expected"),
    [
        (faults.double_bos(OURS, BOS), [BOS, *OURS]),
        (faults.double_bos(OURS[1:], BOS), None),
        (faults.double_bos(OURS, None), None),
        (faults.missing_bos(OURS, BOS), OURS[1:]),
        (faults.missing_bos(OURS[1:], BOS), None),
        (faults.added_bos(OURS[1:], BOS), OURS),
        (faults.added_bos(OURS, BOS), None),
        (faults.added_eos(OURS, EOS), [*OURS, EOS]),
        (faults.added_eos(OURS, None), None),
    ],
)
def test_what_faulty_servers_feed(faulty: list[int] | None, expected: list[int] | None) -> None:
    assert faulty == expected


def test_thoughts() -> None:
    assert faults.cut_thoughts("<think>a\nb</think>\n\nls") == "ls"
    assert faults.cut_thoughts("echo '<think>'") == "echo '<think>'"
    assert faults.after_thoughts("<think>a</think>\n\nls </think>\n x") == " x"
    assert faults.after_thoughts("ls") == "ls"


def test_forged() -> None:
    literals = {2: "</s>", 3: "[INST]"}
    quoting = ["cat", "ends with </s>"]
    ours = [1, 10, 11, 12, 13, 14]
    assert causes.forged(ours, [1, 10, 2, 14], 2, literals, quoting)
    # White space before it may be cut otherwise, too.
    assert causes.forged(ours, [1, 10, 99, 2, 14], 2, literals, quoting)
    assert not causes.forged(ours, [1, 10, 3, 14], 2, literals, quoting), "nobody quotes it"
    assert not causes.forged(ours, [1, 10, 98, 99, 100, 2], 2, literals, quoting), "too far"
    assert not causes.forged([1, 10, 2], [1, 10, 9, 2], 2, literals, quoting), "ours has it too"


def test_other_vocabulary() -> None:
    ours = {1: "<s>", 2: "▁ls", 3: "x"}
    assert not causes.other_vocabulary([1, 2], None, ours)
    assert not causes.other_vocabulary([1, 2], ("<s>", "▁ls"), ours)
    assert causes.other_vocabulary([1, 2, 3], ("<s>", "Ġfoo", "y"), ours)
    assert causes.other_vocabulary([1, 99], None, ours), "an id that we do not have"
    assert not causes.other_vocabulary([1, 2, 3], ("<s>", "▁ls", "0x78"), ours), "one spelling"


@pytest.mark.parametrize(
    ("ours", "theirs", "holds"),
    [
        ("Today Date: 26 Jul 2024\nls", "Today Date: 03 May 2026\nls", True),
        ("It is 2024-07-26.", "It is 2026-05-03.", True),
        ("July 26, 2024", "May 3, 2026", True),
        ("26.07.2024", "3/5/26", True),
        ("26 Jul 2024", "26 Jul 2024", False),
        ("26 Jul 2024 a", "3 May 2026 b", False),
        ("a", "b", False),
    ],
)
def test_another_day(ours: str, theirs: str, holds: bool) -> None:
    assert causes.other_day(ours, theirs) is holds


@pytest.mark.parametrize(
    ("ours", "theirs", "cause"),
    [
        ("<s>[INST] $[/INST]", "<s>[INST] You are kind.\n\n$[/INST]", "default_system_prompt"),
        ("<s>[INST] You are kind.\n\n$[/INST]", "<s>[INST] $[/INST]", "missing_system_prompt"),
        ("<s>[INST] Be kind. $[/INST]", "<s>[INST] Go on. $[/INST]", "other_system_prompt"),
        ("<s>[INST] $[/INST]", "<s> [INST]  $[/INST]", ""),
        ("<s>[INST] $[/INST]", "<s><s>[INST] $[/INST]", ""),
        ("<s>[INST] $[/INST]", "<s>You are kind.[INST] $ [/INST]", ""),
    ],
)
def test_preambles(ours: str, theirs: str, cause: str) -> None:
    literals = ("<s>", "[INST]", "[/INST]")
    assert causes.preamble_cause(ours, theirs, ours.index("$"), literals) == cause


def test_words_are_compared_without_the_spaces_that_decoders_make() -> None:
    assert causes.same_words("<s>[INST] ls -la", "<s> [INST]▁ls  -la")
    assert not causes.same_words("ls -la", "ls -al")
    assert causes.holds_all("<user>\nls -la\n<bot>ok", ["ls  -la", "ok"])
    assert not causes.holds_all("ok ls", ["ls", "ok"])
    assert causes.holds_all("", [])


@pytest.mark.parametrize(
    ("message", "roles", "cause"),
    [
        ("Conversation roles must alternate user/assistant", ["system", "user"], "system_refused"),
        ("System role not supported", ["system", "user"], "system_refused"),
        ("Conversation roles must alternate user/assistant", ["user"], "roles_refused"),
        ("maximum context length is 4096 tokens", ["system", "user"], "too_long"),
        ("the request exceeds the available context size", ["user"], "too_long"),
        ("boom", ["system", "user"], "refused"),
        ("", ["user"], "refused"),
    ],
)
def test_refusals(message: str, roles: list[str], cause: str) -> None:
    assert causes.refusal_cause(message, roles) == cause


def test_the_cause_that_explains_most_prompts_wins() -> None:
    candidates = [{"trimmed_content", "double_bos"}, {"trimmed_content"}, {"trimmed_content"}]
    assert causes.common_cause(candidates, [-1, -2, -3], False) == ["trimmed_content"] * 3


def test_a_fault_that_shows_everywhere_is_none_when_some_prompts_are_equal() -> None:
    candidates = [{"missing_bos", "forged_control_token"}]
    assert causes.common_cause(candidates, [-1], False) == ["missing_bos"]
    assert causes.common_cause(candidates, [-1], True) == ["forged_control_token"]


def test_a_steady_surplus_is_a_system_prompt() -> None:
    none: list[set[str]] = [set(), set(), set()]
    assert causes.common_cause(none, [20, 20, 20], False) == ["default_system_prompt"] * 3
    assert causes.common_cause(none, [-20, -20, -20], False) == ["missing_system_prompt"] * 3
    assert causes.common_cause(none, [20, 20, 7], False) == [
        "default_system_prompt",
        "default_system_prompt",
        "unknown",
    ]
    assert causes.common_cause(none, [5, 9, 13], False) == ["unknown"] * 3
    assert causes.common_cause(none, [2, 2, 2], False) == ["unknown"] * 3
    assert causes.common_cause([], [], True) == []
