"""The vocabulary of a tokenizer: it takes long to build, and tokenizers of one base share it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
from tokenizers import AddedToken, Tokenizer

from sekft_engine.bases.patterns import WrongPattern, wrong_pattern
from sekft_engine.core.errors import SekftError
from sekft_engine.render.template import files
from sekft_engine.render.template.guard import Guard, top_id

#: How many vocabularies are remembered: a run and the pane beside it use the same base. Each takes
#: some ten megabytes.
_MOST = 2
#: Tokens that the configuration adds, names, and has besides.
_More = tuple[list[AddedToken], Mapping[str, str], list[AddedToken]]


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer without its chat template. It is not changed after it is made.

    Attributes:
        guard: the tokenizer's clone in which control tokens cannot be typed.
        decoder: turns ids into text, and cannot tokenise. It is made from the original names of
            the tokens, so that it is a check on the clone.
        top_id: the highest id.
        wrong_pattern: a known fault of its pattern, or None.
        description: the whole ``tokenizer.json``, as JSON with sorted keys; this takes a tenth of
            the memory that its objects take.
        digest: of the description; 16 hexadecimal digits.
        where: what errors name.
    """

    guard: Guard
    decoder: Tokenizer
    top_id: int
    wrong_pattern: WrongPattern | None
    description: bytes
    digest: str
    where: str

    @cached_property
    def plain(self) -> Tokenizer:
        """The tokenizer itself. Made when it is first asked for: rendering does without it, and
        no other thread can run while `tokenizers` reads its merges."""
        return files.build(self.description, self.where)


_known: dict[str, Vocabulary] = {}
_lock = threading.Lock()


def vocabulary_of(
    spec: Mapping[str, Any],
    added: Iterable[AddedToken],
    named: Mapping[str, str],
    extra: Iterable[AddedToken],
    where: str,
) -> Vocabulary:
    """The vocabulary that ``spec`` and the configuration describe. That of the same description is
    made once; the last ones are remembered.

    Args:
        spec: a parsed ``tokenizer.json``.
        added, named, extra: as :func:`.files.complete` takes them.
        where: what errors name.

    Raises:
        BadInput: no tokenizer can be made of ``spec``.
    """
    more = [*added], named, [*extra]
    key = _key(spec, more)
    with _lock:
        found = _known.pop(key, None)
        if found is None:
            found = _build(spec, more, where)
        _known[key] = found
        while len(_known) > _MOST:
            del _known[next(iter(_known))]
    return found


def _key(spec: Mapping[str, Any], more: _More) -> str:
    added, named, extra = more
    flags = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
    tokens = [[[getattr(each, flag) for flag in flags] for each in some] for some in (added, extra)]
    return hashlib.sha256(msgspec.json.encode([spec, tokens, named])).hexdigest()


def _build(spec: Mapping[str, Any], more: _More, where: str) -> Vocabulary:
    try:
        whole = files.complete(spec, more, where)
        description = msgspec.json.encode(whole, order="sorted")
        return Vocabulary(
            guard=Guard(whole),
            decoder=_decoder(whole, where),
            top_id=top_id(whole),
            wrong_pattern=wrong_pattern(whole),
            description=description,
            digest=hashlib.sha256(description).hexdigest()[:16],
            where=where,
        )
    except SekftError:
        raise
    except Exception:  # what is wrong with it is said by `tokenizers` itself
        files.build(msgspec.json.encode(spec), where)
        raise


def _decoder(spec: Mapping[str, Any], where: str) -> Tokenizer:
    """The tokenizer of ``spec`` without merges, which take longest to read and decode nothing."""
    model = spec["model"]
    if model.get("type") == "BPE":
        spec = dict(spec) | {"model": dict(model) | {"merges": []}}
    return files.build(msgspec.json.encode(spec), where)
