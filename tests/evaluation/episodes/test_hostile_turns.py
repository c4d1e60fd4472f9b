"""Whatever a model or server says, it is bounded before anything reads it, and judged in time that
grows with its length and no faster."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekft_engine.episodes import command_turn
from sekft_engine.episodes.clean import TOO_LONG, is_prose, why_prose
from sekft_engine.episodes.command_turn import KEPT, MAX_BYTES, MAX_LINES, CommandTurn, excess
from sekft_engine.episodes.shelltext import QUOTED, simple_commands
from tests.evaluation.hostile import PIECES, hostile_turns
from tests.fuzzing import LONG, fuzz

fuzzed = settings(fuzz(300), derandomize=not LONG)


# --- bounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("x" * (MAX_BYTES + 1), "65537 bytes, at most 65536"),
        ("é" * (MAX_BYTES // 2 + 1), "65538 bytes, at most 65536"),
        ("ls\n" * MAX_LINES, "1025 lines, at most 1024"),
        ("ls\r" * MAX_LINES, "1025 lines, at most 1024"),
    ],
    ids=["bytes", "bytes of letters", "lines", "lines with CR"],
)
def test_a_turn_over_a_bound_says_by_how_much_and_is_no_command(said: str, told: str) -> None:
    assert excess(said) == told
    assert why_prose(said) == TOO_LONG
    assert why_prose(said, status=0) == TOO_LONG


def test_a_turn_within_the_bounds_is_typed_whatever_its_size() -> None:
    for said in ("x" * MAX_BYTES, "é" * (MAX_BYTES // 2), "\n".join(["ls"] * MAX_LINES), ""):
        assert excess(said) == ""
        assert CommandTurn(text=said).text == said
        assert why_prose(said) != TOO_LONG


def test_what_is_said_too_much_is_cut_with_a_mark_as_soon_as_it_is_said() -> None:
    said = CommandTurn(text="a" * 50_000_000 + "z")
    assert said.too_long == "50000001 bytes, at most 65536"
    assert len(said.text) < KEPT + 100
    assert said.text.startswith("aaa")
    assert said.text.endswith("z")
    assert f"[... {50_000_001 - KEPT} characters left out ...]" in said.text
    again = CommandTurn(text=said.text, too_long=said.too_long)  # from its record
    assert again == said


def test_lone_surrogates_become_replacement_characters_and_all_else_stays() -> None:
    assert CommandTurn(text="echo \udc80\ud83d x").text == "echo \ufffd\ufffd x"
    for text in ("echo \x00\x1b[2J\x02 é 😀 \ufffd", "a\u2028b"):
        assert CommandTurn(text=text).text == text


# --- the judge's time -----------------------------------------------------------------------------

#: Repeated, each made, or could make, some reader work more than in proportion, or run out of
#: stack.
REPEATED = (
    "cat <<A ",
    "cat <<A\n",
    "<<A <<B\nA\n",
    "<<'a ",
    '<<"a\n',
    "<<\\",
    "<<<",
    "a=b ",
    '"',
    'a" ',
    "a' b",
    "`a ",
    "\\",
    '\\" ',
    "\\\n",
    "# x\n",
    "a #",
    "(",
    "$((",
    "$((a<<b",
    "$(a ",
    "`'\"\\<",
    "I'm ",
    "a'm",
    "a.)",
    ')"” ',
    "a-",
    "_a",
    "a.b",
    "1",
    "*",
    "The ",
    "the is you ",
    "我会 ",
    " ```",
    " \t",
    "\r",
    "\x00a",
)
#: Eight times as long takes eight times as long; where the work is quadratic, 64 times.
SMALL, LARGE = MAX_BYTES // 2, 4 * MAX_BYTES
FACTOR = 30


@pytest.mark.parametrize("unit", REPEATED)
def test_the_judge_takes_time_in_proportion_whatever_is_repeated(
    unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_turn, "MAX_BYTES", 10 * LARGE)
    monkeypatch.setattr(command_turn, "MAX_LINES", 10 * LARGE)
    small = min(judging(unit, SMALL) for _ in range(3))
    # Below this, on any machine, nothing but noise is compared.
    assert judging(unit, LARGE) < FACTOR * max(small, 0.01)


def judging(unit: str, size: int) -> float:
    """Seconds of the processor that it takes to judge ``size`` bytes of ``unit``."""
    said = unit * (size // len(unit.encode()))
    began = time.process_time()
    why_prose(f"{said}x", status=1)
    why_prose(f"ls {said}")
    return time.process_time() - began


def test_a_thousand_here_documents_in_a_line_are_one_command() -> None:
    assert why_prose("cat " + "<<A " * 1000) == ""
    assert simple_commands("cat " + "<<A " * 1000) == [["cat"]]
    ends = "I am data.\nA\n" * 1000
    assert simple_commands("cat " + "<<A " * 1000 + "\n" + ends + "ls") == [["cat"], ["ls"]]


# --- fuzzers --------------------------------------------------------------------------------------


@fuzzed
@given(hostile_turns(), st.none() | st.integers(0, 255))
def test_the_judge_judges_everything(said: str, status: int | None) -> None:
    for text in (said, CommandTurn(text=said).text):
        reason = why_prose(text, status=status, known=["quil"])
        assert reason == why_prose(text, status=status, known=["quil"])
        assert is_prose(text, status=status, known=["quil"]) == bool(reason)


@fuzzed
@given(hostile_turns())
def test_the_reader_gives_words_of_what_was_typed_and_of_nothing_else(said: str) -> None:
    commands = simple_commands(said)
    assert all(commands)
    rest = iter(said.replace("\r", "\n"))
    for word in (word for command in commands for word in command):
        assert word
        assert not any(char.isspace() for char in word)
        for part in word.split(QUOTED):
            # In order, and none twice.
            assert all(any(char == other for other in rest) for char in part)


@fuzzed
@given(st.lists(st.tuples(st.sampled_from(["A", "E-O.F", "x y"]), hostile_turns()), max_size=4))
def test_what_a_here_document_holds_is_data(documents: list[tuple[str, str]]) -> None:
    first = "cat " + " - ".join(f"<<'{delimiter}'" for delimiter, _ in documents)
    bodies = []
    for delimiter, body in documents:
        lines = body.replace("\r", "\n").replace("\x00", "").split("\n")
        kept = [line for line in lines if line.strip(" \t") != delimiter]
        bodies += [*kept, delimiter]
    typed = "\n".join([first, *bodies, "ls"])
    assert simple_commands(typed) == [["cat", *["-"] * (len(documents) - 1)], ["ls"]]


@fuzzed
@given(st.randoms(use_true_random=False))
def test_the_reader_finds_the_words_that_a_real_shell_finds(rng: random.Random) -> None:
    typed = plain_shell(rng)
    script = "c() { for word; do printf '%s|' \"$word\"; done; echo; }\n" + typed
    shell = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    words = [line.rstrip("|").split("|") for line in shell.stdout.splitlines()]
    ours = [
        [word.replace(QUOTED, "q q") for word in command[1:]] for command in simple_commands(typed)
    ]
    assert ours == words


def plain_shell(rng: random.Random) -> str:
    """Calls of a function ``c``, with here-documents, quotes and comments around them."""
    out = ""
    for _ in range(rng.randint(1, 5)):
        documents = []
        for number in range(rng.choice([1, 1, 2, 3])):
            out += f"{' && ' if number else ''}c w{number}"
            for _ in range(rng.randint(0, 4)):
                if rng.random() < 0.3:
                    name = rng.choice(["A", "B", "E_1", "x.y", "x-"])
                    dash = rng.choice(["", "-"])
                    quoted = rng.choice(["{0}", "'{0}'", '"{0}"', "\\{0}"]).format(name)
                    out += f" <<{dash}{rng.choice(['', ' '])}{quoted}"
                    documents.append((name, dash))
                else:
                    out += " " + rng.choice(["a", "-b", "'q q'", '"q q"', "d#e", "f'q q'", "\\\n"])
        out += rng.choice(["", " # it's <<X \"so", ";# no"]) + "\n"
        for name, dash in documents:
            for _ in range(rng.randint(0, 2)):
                out += rng.choice(["I am data.", "c no", "it's", '"', "<<A", "# x", ""]) + "\n"
            out += ("\t" if dash else "") + name + "\n"
    return out


def test_the_pieces_of_the_fuzzers_hold_what_was_seen_to_go_wrong() -> None:
    assert {"<<A ", "a=b ", "\ud800", "\x00"} <= set(PIECES)
    assert Path("/bin/sh").exists()
