"""A tokenizer whose control tokens cannot be typed.

A Hugging Face tokenizer turns the literal text ``</s>`` or ``<|im_end|>`` into a control token
wherever it finds it, so a shell that prints a model card forges the end of a turn. Here the
control tokens are renamed to private sentinels (noncharacters of Unicode, which no text may
carry). Only the template's own control tokens are written as sentinels; the same literal in
content is ordinary text. The text is still tokenised whole and once, so white space and prefix
rules of the tokenizer stay exactly what they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from sekft_engine.render.template.cut import Cut, Cutter

#: Part of every render digest, see
#: :data:`sekft_engine.render.template.normalise.NORMALISER_VERSION`.
GUARD_VERSION = "1"

#: Sentinels open and close with these noncharacters and hold ASCII between them. An opening
#: inside another is impossible, so no content can complete a sentinel that the scaffold began.
OPEN, CLOSE = "\ufdd0", "\ufdef"

_MARKUP = re.compile(r"<[^<>\s]+>|\[/?[A-Z][A-Z0-9_]*\]|<\uff5c[^<>]+\uff5c>")
#: Plain HTML that some vocabularies hold as single pieces: text that a page is made of.
_HTML = frozenset(
    """
    a abbr b blockquote body br caption code col colgroup dd del details div dl dt em figure footer
    h1 h2 h3 h4 h5 h6 head header hr html i img ins kbd li link main mark meta nav ol p pre q s
    samp script section small span strike strong style sub summary sup table tbody td tfoot th
    thead title tr tt u ul var video
    """.split()  # noqa: SIM905
)


def is_control(token: Mapping[str, Any]) -> bool:
    """Whether an added token steers the model: special, or markup that only a template writes.

    Runs of white space and HTML tags are text that a model reads as such.
    """
    content = str(token["content"])
    if not content.strip():
        return False
    if token.get("special"):
        return True
    if _MARKUP.fullmatch(content) is None:
        return False
    return content.strip("</>").lower() not in _HTML


def top_id(spec: Mapping[str, Any]) -> int:
    """The highest id of a tokenizer; -1 = it has none.

    Args:
        spec: a parsed ``tokenizer.json``.
    """
    vocab = spec["model"].get("vocab") or ()
    named = max(vocab.values(), default=-1) if isinstance(vocab, dict) else len(vocab) - 1
    return max(named, max((token["id"] for token in spec["added_tokens"]), default=-1))


class Guard:
    """The guarded clone of the tokenizer described by ``spec`` (a parsed ``tokenizer.json``).

    Args:
        spec: not changed.
        nonce: makes the sentinels others than those of another nonce, for content that holds one.
    """

    def __init__(self, spec: Mapping[str, Any], nonce: int = 0) -> None:
        self.nonce = nonce
        #: control token id -> its literal text
        self.literals: dict[int, str] = {
            token["id"]: token["content"] for token in spec["added_tokens"] if is_control(token)
        }
        self._mark = {
            literal: f"{OPEN}{nonce}.{number}{CLOSE}" for number, literal in self.literals.items()
        }
        # Leftmost and longest, as the added-token matcher of `tokenizers` does.
        longest_first = sorted(map(re.escape, self._mark), key=len, reverse=True)
        self._literal = re.compile("|".join(longest_first) or "(?!)")
        self.sentinel = re.compile(f"{OPEN}{nonce}\\.([0-9]+){CLOSE}")
        edited = _rename(spec, self._mark)
        self._tokenizer = Tokenizer.from_str(msgspec.json.encode(edited).decode())
        self._rules = _without_vocabulary(edited)
        self._back = self._ids_back(spec)

    def _ids_back(self, spec: Mapping[str, Any]) -> npt.NDArray[np.int32]:
        """clone id -> original id; `tokenizers` numbers tokens outside the vocabulary anew."""
        most = top_id(spec) + 1 + len(spec["added_tokens"])
        back = np.arange(most, dtype=np.int32)
        for token in spec["added_tokens"]:
            name = self._mark.get(token["content"], token["content"])
            clone_id = self._tokenizer.token_to_id(name)
            if clone_id is not None:
                back[clone_id] = token["id"]
        return back

    def mark(self, scaffold: str) -> str:
        """``scaffold`` (text that the template wrote) with its control tokens as sentinels."""
        return self._literal.sub(lambda match: self._mark[match[0]], scaffold)

    def unmark(self, text: str) -> str:
        """The text as the template shows it."""
        return self.sentinel.sub(lambda match: self.literals[int(match[1])], text)

    def control_ids(self, marked: str) -> list[int]:
        """The ids of the sentinels in ``marked``, in order."""
        return [int(match[1]) for match in self.sentinel.finditer(marked)]

    def width(self, token: int) -> int:
        """The length of a control token's sentinel."""
        return len(self._mark[self.literals[token]])

    def growth(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """By how much each control token's literal is longer than its sentinel."""
        return self._growth[tokens]

    @cached_property
    def _growth(self) -> npt.NDArray[np.int64]:
        out = np.zeros(max(self.literals, default=0) + 1, dtype=np.int64)
        for token, literal in self.literals.items():
            out[token] = len(literal) - len(self._mark[literal])
        return out

    def collides(self, contents: Iterable[str]) -> bool:
        """Whether some content holds what this guard would read as a control token."""
        return any(OPEN in text and self.sentinel.search(text) for text in contents)

    def encode(self, marked: str) -> Encoding:
        return self._tokenizer.encode(marked, add_special_tokens=False)

    def cut(self, marked: Sequence[str]) -> Iterator[Cut]:
        """The tokens of each text, with the original tokenizer's ids, tokenised side by side."""
        for ids, starts, ends in self._cutter.cut(marked):
            yield Cut(self._back[ids], starts, ends)

    @cached_property
    def _cutter(self) -> Cutter:
        return Cutter(self._tokenizer, self._rules, self.sentinel)

    def ids(self, encoding: Encoding) -> npt.NDArray[np.int32]:
        """The original tokenizer's ids of ``encoding``."""
        return self._back[np.asarray(encoding.ids, dtype=np.int64)]


def _rename(spec: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """``spec`` with tokens renamed in the vocabulary and among the added tokens.

    The vocabulary matters as much: a Unigram model, or a BPE with ``ignore_merges``, finds whole
    pieces in it. A post-processor would add a second BOS and trim the offsets.
    """
    model = dict(spec["model"])
    vocab = model.get("vocab")
    if isinstance(vocab, dict):
        model["vocab"] = {names.get(piece, piece): number for piece, number in vocab.items()}
    elif isinstance(vocab, list):
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocab]
    if isinstance(model.get("unk_token"), str):
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    if model.get("merges"):
        model["merges"] = [merge for merge in model["merges"] if not _makes(merge, names)]
    added = [
        dict(token) | {"content": names.get(token["content"], token["content"])}
        for token in spec["added_tokens"]
    ]
    return dict(spec) | {
        "model": model,
        "added_tokens": added,
        "post_processor": None,
        "truncation": None,
        "padding": None,
    }


def _without_vocabulary(spec: Mapping[str, Any]) -> dict[str, Any]:
    """``spec`` without what makes it large, and what the tokenizer itself knows."""
    model = {key: value for key, value in spec["model"].items() if key not in ("vocab", "merges")}
    return dict(spec) | {"model": model}


def _makes(merge: str | list[str], names: Mapping[str, str]) -> bool:
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left in names or right in names or left + right in names
