"""Simulates servers with known faults, so that a fault is recognised by its prompts.

Each fault is a pure function from training's prompt to that of such a server. Where a server's ids
are exactly those, the cause is certain; where only a count is known, it is likely.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from tokenizers import Tokenizer

from sekft_engine.data.trajectory import Turn
from sekft_engine.render.template.normalise import Refused
from sekft_engine.render.template.prompt import encode_prompt
from sekft_engine.render.template.scaffold import messages
from sekft_engine.render.template.tokenizer import ChatTokenizer

#: Rewrites content as a template or a gateway may; also gets whether it is a command, and whether
#: it is the last turn.
Rewrite = Callable[[str, bool, bool], str]

_THOUGHT = re.compile(r"<think>.*?</think>\s*", re.DOTALL)

REWRITES: tuple[tuple[str, Rewrite], ...] = (
    ("trimmed_content", lambda text, *_: text.strip()),
    ("trimmed_content", lambda text, command, _: text if command else text.strip()),
    ("trimmed_content", lambda text, command, _: text.strip() if command else text),
    ("trimmed_content", lambda text, *_: text.rstrip()),
    ("trimmed_content", lambda text, *_: text.lstrip()),
    ("newlines_rewritten", lambda text, *_: text.replace("\r\n", "\n")),
    ("newlines_rewritten", lambda text, *_: "\n".join(re.split("\r\n?", text))),
    ("characters_rewritten", lambda text, *_: unicodedata.normalize("NFC", text)),
    ("characters_rewritten", lambda text, *_: unicodedata.normalize("NFKC", text)),
    ("thoughts_cut", lambda text, command, _: cut_thoughts(text) if command else text),
    ("thoughts_cut", lambda text, command, _: after_thoughts(text) if command else text),
    ("thoughts_cut", lambda text, command, _: after_thoughts(text, "") if command else text),
    ("thoughts_cut", lambda text, _, last: text if last else after_thoughts(text, "")),
    ("thoughts_cut", lambda text, *_: cut_thoughts(text)),
)


def cut_thoughts(text: str) -> str:
    """``text`` without the contents of think tags."""
    return _THOUGHT.sub("", text)


def after_thoughts(text: str, trimmed: str = "\n") -> str:
    """The text after the last think tag, as templates of reasoning models use it."""
    return text.rsplit("</think>", 1)[-1].lstrip(trimmed)


def double_bos(ids: Sequence[int], bos: int | None) -> list[int] | None:
    """With a BOS before that of the template; None where that is impossible."""
    return [bos, *ids] if bos is not None and ids[:1] == [bos] else None


def missing_bos(ids: Sequence[int], bos: int | None) -> list[int] | None:
    """Without the template's BOS."""
    return list(ids[1:]) if bos is not None and ids[:1] == [bos] else None


def added_bos(ids: Sequence[int], bos: int | None) -> list[int] | None:
    """With a BOS where the template writes none."""
    return [bos, *ids] if bos is not None and ids[:1] != [bos] else None


def added_eos(ids: Sequence[int], eos: int | None) -> list[int] | None:
    """With an EOS after the prompt, so that to the model the conversation is over."""
    return [*ids, eos] if eos is not None else None


class Simulator:
    """Makes the prompts of faulty servers, with ``tokenizer`` and its chat template."""

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self.tokenizer = tokenizer

    @cached_property
    def _plain(self) -> Tokenizer:
        """The tokenizer as servers use it: it parses control tokens everywhere, also in content."""
        return Tokenizer.from_str(self.tokenizer.description.decode())

    @cached_property
    def names(self) -> dict[int, str]:
        """id -> its name in the vocabulary."""
        vocabulary = self._plain.get_vocab(with_added_tokens=True)
        return {token: name for name, token in vocabulary.items()}

    def naive(self, text: str) -> list[int]:
        """The ids of a whole rendered text, content and control tokens alike."""
        return [int(token) for token in self._plain.encode(text, add_special_tokens=False).ids]

    def generation_prompt(self, turns: int) -> str:
        """The generation prompt after ``turns`` turns."""
        closed, asked = (
            self.tokenizer.scaffolds.get(turns, prompt=p).parts[-1] for p in (False, True)
        )
        return asked[len(closed) :] if asked.startswith(closed) else ""

    def feeds(self, turns: Sequence[Turn], ours: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
        """The cause and the ids of each fault that would show in this prompt.

        Args:
            turns: normalised.
            ours: what training feeds for them.
        """
        right = list(ours)
        bos, eos = self.tokenizer.bos_id, self.tokenizer.eos_id
        for cause, faulty in (
            ("double_bos", double_bos(right, bos)),
            ("missing_bos", missing_bos(right, bos)),
            ("added_bos", added_bos(right, bos)),
            ("added_eos", added_eos(right, eos)),
            *self._texts(turns),
        ):
            if faulty is not None and faulty != right:
                yield cause, faulty

    def texts(self, turns: Sequence[Turn]) -> Iterator[tuple[str, str]]:
        """The cause and the text of each fault that shows in the text."""
        for cause, _, text in self._changed(turns):
            yield cause, text

    def _texts(self, turns: Sequence[Turn]) -> Iterator[tuple[str, list[int] | None]]:
        whole = self._render([turn.content for turn in turns])
        if whole is not None:
            forged = self.naive(whole)
            yield "forged_control_token", forged
            # Servers that parse control tokens in content may have a fault of the BOS as well.
            yield "double_bos", double_bos(forged, self.tokenizer.bos_id)
            yield "missing_bos", missing_bos(forged, self.tokenizer.bos_id)
        for cause, contents, text in self._changed(turns):
            yield cause, self.naive(text)
            if contents is not None:
                yield cause, self._guarded(turns, contents)

    def _changed(self, turns: Sequence[Turn]) -> Iterator[tuple[str, list[str] | None, str]]:
        """(cause, the contents if it changes them, text) of each fault that changes the text."""
        contents = [turn.content for turn in turns]
        whole = self._render(contents)
        if whole is None:
            return
        asked = self.generation_prompt(len(turns))
        if asked and whole.endswith(asked):
            yield "no_generation_prompt", None, whole[: -len(asked)]
        for cause, rewrite in REWRITES:
            other = [rewrite(turn.content, turn.is_command, turn is turns[-1]) for turn in turns]
            text = self._render(other) if other != contents else None
            if text is not None and text != whole:
                yield cause, other, text

    def _render(self, contents: Sequence[str]) -> str | None:
        try:
            return self.tokenizer.template.render(messages(contents), add_generation_prompt=True)
        except Refused:
            return None

    def _guarded(self, turns: Sequence[Turn], contents: Sequence[str]) -> list[int] | None:
        """The ids where control tokens in content are not parsed."""
        changed = [
            Turn(role=turn.role, content=text) for turn, text in zip(turns, contents, strict=True)
        ]
        try:
            return encode_prompt(self.tokenizer, changed)
        except Refused:
            return None
