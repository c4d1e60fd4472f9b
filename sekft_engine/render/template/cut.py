"""Cut marked texts into tokens: in batches, in parallel, and with offsets that need no list.

The tokenizer can tell where in the text each token stands, but as a Python list of pairs, which
takes longer than the tokenising. Where the vocabulary's entries, spelled out as bytes, join to
exactly the text, each token's place follows from its length; that they do is checked for each
text. Where they do not (a character without a token, a normaliser that writes a space), the
tokenizer's own offsets are used.

A long text is cut at control tokens and its pieces are tokenised side by side. The tokenizer
takes added tokens out of a text first and handles each stretch between two of them by itself, so
that the pieces' tokens are the text's; :func:`separable` says for which tokenizers that holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

#: Texts longer than this are cut into pieces of at least so many characters.
LONG, PIECE = 65_536, 16_384
#: Texts of so many characters are spelled together at most: it takes some 50 bytes for each.
_TOGETHER = 262_144
#: After so many batches in a row in which spelling failed for every text, it is not tried for so
#: many batches.
_MAX_FAILURES, _PAUSE = 16, 64


class Cut(NamedTuple):
    """The tokens of a text.

    Attributes:
        ids: ``(tokens,)`` int32.
        starts: ``(tokens,)`` int64, where each token begins in the text, in characters.
        ends: ``(tokens,)`` int64, where it ends.
    """

    ids: Int32Array
    starts: Int64Array
    ends: Int64Array


class Cutter:
    """Cuts texts into tokens.

    Args:
        tokenizer: the guarded clone.
        spec: the ``tokenizer.json`` that it was made from; vocabulary and merges may be missing.
        control: matches the control tokens.
    """

    def __init__(
        self, tokenizer: Tokenizer, spec: Mapping[str, Any], control: re.Pattern[str]
    ) -> None:
        self._tokenizer = tokenizer
        self._control = control
        self._separable = separable(spec, control)
        spelling = _spelling(tokenizer, spec)
        self._lengths = np.array([len(spelled) for spelled in spelling], dtype=np.int64)
        self._offsets = np.cumsum(self._lengths) - self._lengths
        self._bytes = np.frombuffer(b"".join(spelling), dtype=np.uint8)
        self._failures = self._paused = 0

    def cut(self, texts: Sequence[str]) -> Iterator[Cut]:
        """The tokens of each text, in order; all are tokenised at once, on all cores."""
        if not texts:
            return
        if self._paused:
            self._paused -= 1
            yield from self._by_offsets(texts)
            return
        pieces = [list(self._pieces(text)) for text in texts]
        encodings = iter(
            self._tokenizer.encode_batch_fast(
                [piece for pieces_of_text in pieces for piece in pieces_of_text],
                add_special_tokens=False,
            )
        )
        ids: list[list[int]] = []
        for pieces_of_text in pieces:
            ids.append(next(encodings).ids)
            for _ in pieces_of_text[1:]:
                ids[-1] += next(encodings).ids
        cuts = self._spelled(texts, ids)
        failed = [text for text, cut in zip(texts, cuts, strict=True) if cut is None]
        self._failures = self._failures + len(failed) if len(failed) == len(texts) else 0
        if self._failures >= _MAX_FAILURES:
            self._failures, self._paused = 0, _PAUSE
        recut = self._by_offsets(failed)
        for cut in cuts:
            yield next(recut) if cut is None else cut

    def _pieces(self, text: str) -> Iterator[str]:
        begin = 0
        while self._separable and len(text) - begin > LONG:
            found = self._control.search(text, begin + PIECE)
            if found is None:
                break
            yield text[begin : found.start()]
            begin = found.start()
        yield text[begin:] if begin else text

    def _spelled(self, texts: Sequence[str], ids: Sequence[list[int]]) -> list[Cut | None]:
        """The offsets that follow from the tokens' lengths; None for a text that its tokens do not
        spell. All texts at once: where one fails, the halves are tried."""
        if len(texts) > 1 and sum(map(len, texts)) > _TOGETHER:
            return self._halves(texts, ids)
        data = [text.encode() for text in texts]
        counts = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        sizes = np.fromiter(map(len, data), dtype=np.int64, count=len(data))
        tokens = np.fromiter(chain.from_iterable(ids), dtype=np.int32)
        places = self._places(tokens, b"".join(data), counts, sizes)
        if places is None:
            return self._halves(texts, ids) if len(texts) > 1 else [None]
        starts, ends = places
        last = np.cumsum(counts)
        first = last - counts
        bounds = zip(first.tolist(), last.tolist(), starts[first].tolist(), strict=True)
        return [Cut(tokens[a:b], starts[a:b] - at, ends[a:b] - at) for a, b, at in bounds]

    def _halves(self, texts: Sequence[str], ids: Sequence[list[int]]) -> list[Cut | None]:
        half = len(texts) // 2
        return self._spelled(texts[:half], ids[:half]) + self._spelled(texts[half:], ids[half:])

    def _places(
        self, ids: Int32Array, data: bytes, counts: Int64Array, sizes: Int64Array
    ) -> tuple[Int64Array, Int64Array] | None:
        """Where each token of joined texts begins and ends, in characters of all of them.

        Args:
            ids: ``(tokens,)`` of all texts.
            data: the joined texts.
            counts: ``(texts,)``, the tokens of each text.
            sizes: ``(texts,)``, its bytes.

        Returns:
            Begins and ends, each ``(tokens,)``; None unless the tokens spell every text.
        """
        lengths = self._lengths[ids]
        ends = np.cumsum(lengths)
        starts = ends - lengths
        if not (counts.all() and lengths.all()):
            return None
        if not np.array_equal(ends[np.cumsum(counts) - 1], np.cumsum(sizes)):
            return None
        # Byte k of a token is at the token's offset in the table + k.
        positions = np.repeat(self._offsets[ids] - starts, lengths)
        positions += np.arange(len(data))
        written = np.frombuffer(data, dtype=np.uint8)
        if not np.array_equal(self._bytes[positions], written):
            return None
        heads = written.view(np.int8) >= -64
        if heads.all():
            return starts, ends
        # From bytes to characters; a token that is a part of one stands for all of it.
        number: Int64Array = np.cumsum(heads)
        return number[starts] - 1, number[ends - 1]

    def _by_offsets(self, texts: Sequence[str]) -> Iterator[Cut]:
        """The tokens with the tokenizer's own offsets."""
        if texts:
            yield from map(
                _from_encoding, self._tokenizer.encode_batch(texts, add_special_tokens=False)
            )


def _from_encoding(encoding: Encoding) -> Cut:
    offsets = np.asarray(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    return Cut(np.asarray(encoding.ids, dtype=np.int32), offsets[:, 0], offsets[:, 1])


#: Steps whose result for a stretch of text depends on its characters alone.
_LOCAL = frozenset(("ByteLevel", "Split", "Digits", "Punctuation", "Whitespace", "WhitespaceSplit"))
_LOCAL_NORMALISERS = frozenset(("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Replace", "Prepend"))


def separable(spec: Mapping[str, Any], control: re.Pattern[str]) -> bool:
    """Whether a text's tokens are those of its pieces, cut before control tokens.

    Not so if a token takes white space beside it or depends on it, or if the beginning of the text
    is treated in another way than the beginning of a stretch within it.
    """
    for token in spec["added_tokens"]:
        if token["single_word"]:
            return False
        if control.fullmatch(token["content"]) and (
            token["lstrip"] or token["rstrip"] or token["normalized"]
        ):
            return False
    return (
        spec["model"].get("dropout") in (None, 0)
        and _local(spec.get("normalizer"), "normalizers", _LOCAL_NORMALISERS)
        and _local(spec.get("pre_tokenizer"), "pretokenizers", _LOCAL)
    )


def _local(step: Mapping[str, Any] | None, inner: str, known: frozenset[str]) -> bool:
    if step is None:
        return True
    if step["type"] == "Sequence":
        return all(_local(part, inner, known) for part in step[inner])
    if step["type"] == "Metaspace":
        return step.get("prepend_scheme") in ("always", "never")
    return step["type"] in known


def _spelling(tokenizer: Tokenizer, spec: Mapping[str, Any]) -> list[bytes]:
    """The bytes that each id stands for, as far as its name in the vocabulary says."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    out = [b""] * (max(vocabulary.values(), default=-1) + 1)
    added = {str(token["content"]) for token in spec["added_tokens"]}
    read = _read_bytes if _has(spec.get("pre_tokenizer"), "ByteLevel") else _read_pieces
    for name, number in vocabulary.items():
        out[number] = name.encode(errors="replace") if name in added else read(name)
    return out


def _has(step: Mapping[str, Any] | None, kind: str) -> bool:
    if step is None:
        return False
    inner = step.get("pretokenizers") or ()
    return step["type"] == kind or any(_has(part, kind) for part in inner)


def _alphabet() -> dict[str, int]:
    """The characters that byte-level vocabularies write bytes as."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    out = {chr(byte): byte for byte in shown}
    return out | {chr(256 + number): byte for number, byte in enumerate(hidden)}


_BYTES = _alphabet()
_BYTE = re.compile("<0x[0-9A-Fa-f]{2}>")


def _read_bytes(name: str) -> bytes:
    try:
        return bytes(map(_BYTES.__getitem__, name))
    except KeyError:
        return name.encode(errors="replace")


def _read_pieces(name: str) -> bytes:
    """As SentencePiece writes them: ``▁`` for a space, ``<0x0A>`` for a byte."""
    if _BYTE.fullmatch(name):
        return bytes.fromhex(name[3:5])
    return name.replace("▁", " ").encode(errors="replace")
