"""Lines as they stand in real files: good ones in all their variety, and broken ones."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

_words = st.sampled_from(["count", "disk", "", "é", "x" * 40, "motd"])
_text = st.text(max_size=12) | st.sampled_from(
    ["$ ", "ls -la\n", "\ud83d", "\x1b[1m", "</s>", "İK", "日本", 'a"b\\c/d', "exit"]
)
_role = st.sampled_from(["user", "assistant", "system"])
_turns = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"role": _role, "content": _text},
            optional={
                "ids": st.none() | st.lists(st.integers(0, 9), max_size=3),
                "logprobs": st.none() | st.lists(st.floats(-9, 0), max_size=3),
                "t": st.none() | st.floats(0, 9) | st.integers(0, 9),
                "exit_status": st.none() | st.integers(0, 255),
                "note": st.none() | st.lists(st.text(max_size=3)),
            },
        ),
        st.fixed_dictionaries(
            {"from": st.sampled_from(["human", "gpt", "system"]), "value": _text}
        ),
    ),
    min_size=1,
    max_size=4,
)
_whole = st.fixed_dictionaries({"name": _words}, optional={"script": _text, "channel": _words})
_good = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["a", "b", "", None, 7, "count-0017", "é"]) | st.text(max_size=4),
        "scenario": _words | st.none(),
        "archetype": _words,
        "provider": _words | _whole,
        "announcement": _words | _whole | st.none(),
        "steps": st.integers(-3, 60) | st.sampled_from([2**40, 10**30]),
        "outcome": st.sampled_from(["exit", "panic", "cap", "error"]),
        "verified": st.booleans(),
        "keep": st.booleans(),
        "meta": st.none()
        | st.fixed_dictionaries({}, optional={"clean": st.booleans() | st.none() | _words}),
        "checker": st.just("true"),
        "else": st.lists(_text, max_size=2) | st.none() | st.floats(allow_nan=True),
    },
).flatmap(
    lambda fields: st.tuples(
        st.sampled_from(["turns", "turns", "messages", "conversations"]), _turns
    ).map(lambda named: fields | {named[0]: named[1]})
)

_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=8,
)
_turn = st.fixed_dictionaries(
    {},
    optional={
        "role": _json | st.just("user"),
        "from": _json | st.just("gpt"),
        "content": _json | st.just("x"),
        "value": _json | st.just("x"),
        "ids": _json,
        "t": _json,
    },
)
_nearly = st.fixed_dictionaries(
    {},
    optional={
        "turns": _json | st.lists(_turn, max_size=3),
        "messages": _json | st.lists(_turn, max_size=3),
        "reference_solution": _json,
        "checker": _json,
    }
    | dict.fromkeys(("id", "keep", "meta", "outcome", "provider", "steps"), _json),
)


def _dumped(value: Any, escaped: bool, spaced: bool) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=escaped, indent=None)
        return (text if not spaced else f"  {text} \t").encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


_good_line = st.builds(_dumped, _good, st.booleans(), st.booleans())
_any_line = st.builds(_dumped, _good | _nearly | _json, st.booleans(), st.booleans())
_torn = st.tuples(_good_line, st.integers(0, 200), st.binary(max_size=4)).map(
    lambda parts: parts[0][: parts[1]] + parts[2].replace(b"\n", b"")
)
_blank = st.sampled_from([b"", b" ", b"\t \r", b"\x0c"])
_bom = _good_line.map(lambda line: b"\xef\xbb\xbf" + line)
_latin = _good_line.map(lambda line: line.replace(b"$", b"\xff"))
_control = _good_line.map(lambda line: line.replace(b"l", b"\x01", 1))

#: One line without its end, most of them good.
LINES = st.one_of(
    _good_line, _good_line, _good_line, _any_line, _torn, _blank, _bom, _latin, _control
)
ENDS = st.sampled_from([b"\n", b"\n", b"\r\n"])
#: A file of them; its last line may have no end.
FILES = st.tuples(st.lists(st.tuples(LINES, ENDS).map(b"".join), max_size=9), LINES).map(
    lambda parts: b"".join(parts[0]) + parts[1]
)
