"""What a person sees: exactly, at 80 columns, and nothing that a terminal would obey."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from sekft_engine.contract.causes import CAUSES
from tests.contract.conftest import Base, Check, Checked, write
from tests.contract.servers import Reply, error, models, transformers_feed, vllm
from tests.contract.test_differs import SMOLLM2


def page(done: Checked) -> str:
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8000", done.out)


def test_all_is_equal(check: Check, smol: Base) -> None:
    done = check(vllm(transformers_feed(smol.theirs), smol.theirs), as_json=False)
    assert (done.status, done.err) == (0, "")
    assert page(done) == EQUAL


def test_a_double_bos(check: Check, smol: Base) -> None:
    feed = SMOLLM2["double BOS"][0](smol.theirs)
    done = check(vllm(feed, smol.theirs), as_json=False)
    assert (done.status, done.err) == (1, "")
    assert page(done) == DOUBLE_BOS


def test_trimmed_and_forged_each_told_once(check: Check, smol: Base) -> None:
    feed = SMOLLM2["trimmed"][0](smol.theirs)
    done = check(vllm(feed, smol.theirs), as_json=False, hostile=True)
    assert done.status == 1
    assert page(done) == TRIMMED


def test_the_manual_shows_this_very_page_and_explains_every_cause() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "contract.md").read_text(encoding="utf-8")
    assert TRIMMED in manual
    for name, cause in CAUSES.items():
        assert f"| `{name}` | {cause.title} |" in manual


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(
    columns: int, check: Check, smol: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    wide = write(
        tmp_path / "wide.jsonl",
        {"a-very-long-name-of-a-session-日本語-" * 3: ("日本語 " * 30, "ls", "出力 " * 9, "exit")},
    )
    for wrong in ("double BOS", "trimmed", "its own default system prompt"):
        feed = SMOLLM2[wrong][0](smol.theirs)
        done = check(vllm(feed, smol.theirs), as_json=False, sessions=wide)
        assert done.status == 1
        assert max(map(cell_len, done.out.splitlines())) <= max(columns, 60)


def test_nothing_that_a_terminal_would_obey_comes_through(
    check: Check, smol: Base, tmp_path: Path
) -> None:
    evil = write(
        tmp_path / "evil.jsonl",
        {"\x1b[2Jevil\u202e": ("\x1b]0;owned\x07\x1b[31m$", "ls", "\x1b[2J\u200b\r\n$", "exit")},
    )
    refusal = error(400, "\x1b[2Jroles must alternate\r\n[bold]no[/bold] \u202e")
    for routes in (
        vllm(lambda ids: [5, 6, 7], smol.theirs),
        vllm(transformers_feed(smol.theirs, add_generation_prompt=False), smol.theirs),
        vllm(transformers_feed(smol.theirs), smol.theirs) | models("\x1b[31mred\u202e"),
        {"POST /v1/chat/completions": lambda _: refusal},
        {"POST /v1/chat/completions": lambda _: Reply(302, b"", {"Location": "http://x/\x9b2J"})},
    ):
        done = check(routes, as_json=False, sessions=evil)
        for text in (done.out, done.err):
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202e]", text), repr(text)
    (said,) = re.findall(
        r"HTTP 400 (.*?);", check(routes | {"POST /tokenize": lambda _: refusal}).err
    )
    assert said == "␛[2Jroles must alternate [bold]no[/bold] <202e>"


EQUAL = """\
endpoint  http://127.0.0.1:8000
model     base
route     POST /tokenize: every token is compared

  session           command    ours  theirs
✓ disk-full-0007     1 of 3      35      35
✓                    2 of 3      63      63
✓                    3 of 3      78      78
✓ notes-0001         1 of 2      37      37
✓                    2 of 2      54      54

· its chat route feeds as many tokens as POST /tokenize shows (35)
✓ all 5 prompts are equal in every token
"""

DOUBLE_BOS = """\
endpoint  http://127.0.0.1:8000
model     base
route     POST /tokenize: every token is compared

  session           command    ours  theirs
✗ disk-full-0007     1 of 3      35      36  double BOS
✗                    2 of 3      63      64  double BOS
✗                    3 of 3      78      79  double BOS
✗ notes-0001         1 of 2      37      38  double BOS
✗                    2 of 2      54      55  double BOS

double BOS  in 5 of 5 prompts
  first in disk-full-0007, before command 1, at token 1:
    both    '<|im_start|>'
    ours    'system' '⏎' 'You' ' are'
    theirs  '<|im_start|>' 'system' '⏎' 'You'
  The server puts a BOS before the one that the template writes.
  → switch off add_special_tokens (or add_bos_token): the template does it

· its chat route feeds as many tokens as POST /tokenize shows (36)
✗ 5 of 5 prompts differ: double BOS
"""

TRIMMED = """\
endpoint  http://127.0.0.1:8000
model     base
route     POST /tokenize: every token is compared

  session                          command    ours  theirs
✗ disk-full-0007                    1 of 3      35      34  trimmed content
✗                                   2 of 3      63      61  trimmed content
✗                                   3 of 3      78      75  trimmed content
✓ notes-0001                        1 of 2      37      37
✓                                   2 of 2      54      54
✓ built-in: plain                   2 of 2      58      58
✓ built-in: system turn             2 of 2      56      56
✗ built-in: spaces at the edges     2 of 2      60      55  trimmed content
✓ built-in: empty output            4 of 4      68      68
✓ built-in: CRLF and escapes        2 of 2      67      67
✗ built-in: control tokens          2 of 2      78      60  forged control token
✓ built-in: emoji and scripts       2 of 2      88      88
✓ built-in: lines in a command      2 of 2      55      55
✓ built-in: thoughts                2 of 2      66      66
✓ built-in: template code           2 of 2      62      62

trimmed content  in 4 of 15 prompts
  first in disk-full-0007, before command 1, at token 28:
    both    'Welcome' '.' '⏎' '$'
    ours    ' ' '<|im_end|>' '⏎' '<|im_start|>'
    theirs  '<|im_end|>' '⏎' '<|im_start|>' 'ass'
  White space at the edges of turns is lost on the way to the model.
  → take the base's own template; look for trim or strip in the server's

forged control token  in 1 of 15 prompts
  first in built-in: control tokens, before command 2, at token 43:
    both    '⏎' 'E' 'nds' ' with'
    ours    ' <' '|' 'im' '_'
    theirs  ' ' '<|im_start|>' ' ' '<|im_end|>'
  A control token that a turn merely quotes reaches the model as a real one.
  → send token ids to /v1/completions instead of messages, or let content be
    encoded apart (vLLM, Mistral: --tokenizer-mode mistral)

· turns as recorded, with a system turn for example (1 tried): the server makes
  something else of them; normalise them first
· its chat route feeds as many tokens as POST /tokenize shows (34)
✗ 5 of 15 prompts differ: trimmed content, forged control token
"""
