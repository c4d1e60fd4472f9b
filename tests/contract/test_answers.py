"""One table says of every answer of a server whether it is the model's act, and the page that
documents it is that table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.contract.answers import ANSWERS, JudgedAnswer, invalid_name, judge
from sekft_engine.contract.http.client import Answer, passes
from sekft_engine.contract.http.fault import Fault
from sekft_engine.contract.http.words import blamed, message, too_long

ROOM = 64
DOCS = Path(__file__).parents[2] / "docs" / "contract.md"


def said(message: Any, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}]} | more


def usage(prompt: int, completion: int = 3, **more: Any) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": prompt, "completion_tokens": completion} | more}


def ok(body: Any) -> Answer:
    return Answer(status=200, body=body, words=message(body))


def failed(status: int, words: str = "") -> Answer:
    return Answer(status=status, body={"error": {"message": words}}, words=words)


LS = {"role": "assistant", "content": "ls"}
NULL = {"role": "assistant", "content": None}
CONTEXT = "This model's maximum context length is 2048 tokens. However, you requested 2100."

#: Row -> answers that fall into it, with the least size of the prompt where that matters.
EXAMPLES: dict[str, list[Any]] = {
    "timed_out": [Fault("timed out", "late", where="x", mend="", again=False)],
    "too_large": [Fault("too large", "long", where="x", mend="", again=False)],
    "lost": [Fault("lost", "it hung up", where="x", mend="", again=True)],
    "unreachable": [Fault("unreachable", "nothing listens", where="x", mend="", again=True)],
    "no_server": [Fault("no server", "no such host", where="x", mend="", again=False)],
    "context_full": [
        ok({"choices": [{"error": {"message": "no", "code": "context_length_exceeded"}}]}),
        failed(400, CONTEXT),
        failed(413, "prompt is too long"),
        failed(422, "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4300"),
        failed(500, "the request exceeds the available context size"),
        ok({"error": {"message": CONTEXT, "code": 400}}),
        ok({"error": {"message": "no", "code": "context_length_exceeded", "status": 400}}),
        Answer(status=400, body={"error": {"type": "exceed_context_size_error", "message": "no"}}),
        ok(said(LS, "model_length")),
    ],
    "wrong_key": [failed(401), failed(403), ok({"error": {"message": "no", "code": 401}})],
    "busy": [
        failed(429, "Rate limit reached: 100000 tokens per min, context length"),
        failed(408),
        ok({"error": {"message": "Rate limit exceeded", "code": 429}}),
        ok({"error": {"message": "Rate limit exceeded", "code": "429"}}),
        ok({"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}, "choices": []}),
    ],
    "server_error": [
        failed(500),
        failed(529),
        ok({"error": {"code": 502, "message": "upstream"}}),
        ok({"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "x"}}]}),
    ],
    "refused": [failed(400, "roles must alternate"), failed(413, "Payload Too Large")],
    "not_there": [
        failed(404, "The model `x` does not exist: context length"),
        failed(501),
        Answer(status=307, fault="a redirect to http://x"),
        Answer(status=101),
        Answer(status=999),
    ],
    "error_inside": [
        ok({"error": "something"}),
        ok({"error": {"message": "overloaded", "type": "overloaded_error"}}),
        ok({"object": "error", "message": "no"}),
        ok(said(LS) | {"error": {"message": "half way"}}),
    ],
    "no_choices": [ok({"choices": []}), ok({"choices": None}), ok({"choices": {}})],
    "no_completion": [
        ok({}),
        ok([1]),
        ok(None),
        ok("ls"),
        ok({"choices": "ls"}),
        ok({"choices": ["ls"]}),
        ok({"choices": [{"finish_reason": "stop"}]}),
        Answer(status=200, fault="HTML instead of JSON"),
        Answer(status=204, fault="an empty answer"),
        Fault("packed", "cannot be unpacked (br)", where="x", mend="", again=False),
    ],
    "finish_error": [
        ok(said({"content": ""}, "error")),
        ok(said(LS, "abort")),
        ok({"choices": [{"message": LS, "finish_reason": "stop", "error": {"message": "x"}}]}),
        ok({"choices": [{"error": "died"}]}),
    ],
    "content_filter": [
        ok(said({"content": ""}, "content_filter")),
        ok(said(LS, "SAFETY")),
        failed(400, "The response was filtered by the provider's content management policy"),
        Answer(status=400, body={"error": {"code": "content_filter", "message": "no"}}),
    ],
    "tool_calls": [
        ok(said({"content": None, "tool_calls": [{"function": {"name": "ls"}}]}, "tool_calls")),
        ok(said({"content": "ls", "tool_calls": [{}]})),
        ok(said({"content": None, "function_call": {"name": "ls"}})),
        ok(said(NULL, "tool_calls")),
    ],
    "other_parts": [
        ok(said({"content": [{"type": "image_url", "image_url": {}}]})),
        ok(said({"content": [{"type": "text", "text": "ls"}, {"type": "audio"}]})),
        ok(said({"content": {"text": "ls"}})),
        ok(said({"content": 7})),
        ok(said({"content": [["ls"]]})),
    ],
    "unknown_finish": [ok(said(LS, "banana")), ok(said(LS, 3)), ok(said(LS, ["stop"]))],
    "prompt_cut": [
        (ok(said(LS) | usage(300)), 412),
        (ok(said({"content": None, "reasoning": "hm"}, "length") | usage(300, 64)), 301),
        (ok(said(LS) | usage(38, prompt_tokens_details={"cached_tokens": 20})), 412),
    ],
    "room_cut": [ok(said(LS, "length") | usage(2000, 20)), ok(said(NULL, "length") | usage(9, 1))],
    "thinking": [
        ok(said({"content": None, "reasoning_content": "Let me see."}, "length")),
        ok(said({"content": " \n", "reasoning": "hm"}, "stop")),
        ok(said({"content": [{"type": "thinking", "thinking": []}]}, "length")),
        ok(said({"content": "", "reasoning_details": [{"text": "x"}]})),
        ok(said(NULL, "length") | usage(9, 64, completion_tokens_details={"reasoning_tokens": 64})),
    ],
    "refusal": [ok(said({"content": None, "refusal": "I cannot help."}))],
    "blank": [
        ok(said({"content": ""})),
        ok(said(NULL)),
        ok(said({})),
        ok(said({"content": []})),
        ok(said({"content": "\n", "reasoning_content": "", "tool_calls": []}, None)),
    ],
    "cut_turn": [
        ok(said({"content": "echo aaaa"}, "length") | usage(9, ROOM)),
        ok(said({"content": "echo aaaa"}, "length")),
        ok(said({"content": "echo"}, "max_tokens") | usage(9, ROOM - 1)),
        ok(said({"content": ""}, "length") | usage(9, ROOM)),
    ],
    "words": [
        ok(said(LS)),
        ok(said(LS, None)),
        ok(said(LS, "eos_token")),
        ok(said({"content": [{"type": "text", "text": "l"}, {"type": "text", "text": "s"}]})),
        ok(said({"content": ["l", {"text": "s"}]})),
        ok({"choices": [{"text": "ls", "finish_reason": "stop"}]}),
        ok({"choices": [{"delta": LS, "finish_reason": "stop"}]}),
        ok(said(LS) | {"error": None, "object": "chat.completion"}),
        ok(said({"content": "ls", "reasoning_content": "I list."}) | usage(9)),
        ok(said({"content": "ls", "refusal": None, "tool_calls": None, "audio": None})),
        (ok(said(LS) | usage(412)), 412),
        (ok(said(LS) | usage(0)), 412),
        (ok(said(LS) | usage(40, prompt_tokens_details={"cached_tokens": 372})), 412),
        (ok(said(LS) | {"usage": {"prompt_tokens": "3"}}), 412),
    ],
}
FLAT = [
    pytest.param(row, answer, id=f"{row}-{number}")
    for row, answers in EXAMPLES.items()
    for number, answer in enumerate(answers)
]
#: Rows that need to know what was sent; shown in test_fields.
BY_FIELDS = {"field_dropped", "field_needed"}


def judged(example: Any) -> JudgedAnswer:
    answer, least = example if isinstance(example, tuple) else (example, 0)
    return judge(answer, room=ROOM, least=least)


@pytest.mark.parametrize(("row", "example"), FLAT)
def test_each_answer_falls_into_its_row(row: str, example: Any) -> None:
    found = judged(example)
    assert found.kind == row
    if ANSWERS[row].decision == "act":
        assert not found.why
    else:
        assert found.text == "", "what is not the model's act is never typed"
        assert found.why, "it is told what was wrong"


def test_every_row_has_an_example() -> None:
    assert EXAMPLES.keys() | BY_FIELDS == ANSWERS.keys()


def test_what_is_typed_is_what_the_model_said() -> None:
    assert {judged(example).text for example in EXAMPLES["words"]} == {"ls"}
    assert judged(EXAMPLES["refusal"][0]).text == "I cannot help."
    assert [judged(example).text.strip() for example in EXAMPLES["blank"]] == [""] * 5
    cut = judged(EXAMPLES["cut_turn"][0])
    assert (cut.text, cut.cut) == ("echo aaaa", True)
    thinks = "<think>I list.</think>\nls"
    assert judged(ok(said({"content": thinks}))).text == thinks


def test_the_servers_own_words_are_kept() -> None:
    for body, words in (
        ({"error": {"message": "Rate limit exceeded", "code": 429}}, "Rate limit exceeded"),
        ({"error": "plain"}, "plain"),
        ({"errors": [{"message": "one"}, {"message": "two"}]}, "one; two"),
        ({"detail": [{"loc": ["body", "top_k"], "msg": "not permitted"}]}, "body.top_k: not"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"object": "error", "message": "no such thing"}, "no such thing"),
        (
            {"error": {"message": "Provider returned error", "metadata": {"raw": "busy there"}}},
            "Provider returned error: busy there",
        ),
        ([{"error": {"message": "in a list"}}], "in a list"),
        ({"choices": [{"error": {"code": 502, "message": "in a choice"}}]}, "in a choice"),
    ):
        assert words in message(body)
    assert "Rate limit exceeded" in judged(EXAMPLES["busy"][2]).why
    assert "502 inside HTTP 200: x" in judged(EXAMPLES["server_error"][3]).why
    assert "finish_reason 'banana'" in judged(EXAMPLES["unknown_finish"][0]).why
    assert "fed 300 tokens of a session that has 412" in judged(EXAMPLES["prompt_cut"][0]).why


@pytest.mark.parametrize(
    "words",
    [
        CONTEXT,
        "the request exceeds the available context size, try increasing it",
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
        "Requested token count exceeds the model's maximum context length of 4096 tokens.",
        "Input length (5000) exceeds model's maximum context length (4096).",
        "`inputs` must have less than 1024 tokens. Given: 2000",
        "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "input length exceeds maximum context length",
        "Please reduce the length of the messages or completion.",
        "The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).",
        "Prompt length 5000 is greater than max_seq_len 4096",
        "context_length_exceeded",
        "exceed_context_size_error",
        "Input is too long for requested model.",
    ],
)
def test_servers_say_in_many_words_that_a_session_does_not_fit(words: str) -> None:
    assert too_long(words)


@pytest.mark.parametrize(
    "words",
    [
        "Rate limit reached for requests: 30000 tokens per minute, requested 31000 (TPM)",
        "Request too large for gpt-x on tokens per min (TPM): Limit 30000",
        "roles must alternate",
        "the API key is too long",
        "max_tokens is too large: 99. This model supports at most 64 completion tokens",
        "",
    ],
)
def test_what_says_something_else_is_no_full_context(words: str) -> None:
    assert not too_long(words)


def test_the_fields_that_a_refusal_names() -> None:
    sent = ("max_tokens", "temperature", "seed", "top_p", "top_k", "min_p")
    for body, names in (
        ({"error": {"message": "Unknown top_p and top_k", "param": "top_k"}}, ["top_k"]),
        ({"detail": [{"loc": ["body", "min_p"], "msg": "Extra inputs"}]}, ["min_p"]),
        ({"detail": [{"loc": ["body", "chat", "min_p"], "msg": "min_p: no"}]}, ["min_p"]),
        ({"error": {"message": "top_k must be -1 or at least 1, got `top_p`"}}, ["top_k", "top_p"]),
        ({"error": {"message": "stop_k and xtop_k are fine"}}, []),
        ({"message": "got an unexpected keyword argument 'seed'"}, ["seed"]),
        ("top_k", []),
        (None, []),
    ):
        assert blamed(body, sent) == names


def test_an_invalid_episode_names_its_row() -> None:
    assert invalid_name("prompt_cut: http://x: it was fed 3") == "prompt_cut"
    assert invalid_name("RuntimeError: boom") == ""
    assert invalid_name("") == ""


def test_a_status_that_passes_is_asked_again() -> None:
    assert all(passes(status) for status in (408, 425, 429, 500, 502, 503, 504, 520, 529))
    assert not any(passes(status) for status in (200, 301, 400, 401, 404, 409, 422, 501, 505, 600))


def test_the_page_has_the_table() -> None:
    """``docs/contract.md`` says what the code does, row by row and in its order."""
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (\w+) \|$", DOCS.read_text(), re.MULTILINE)
    assert rows == [(name, row.when, row.decision) for name, row in ANSWERS.items()]
