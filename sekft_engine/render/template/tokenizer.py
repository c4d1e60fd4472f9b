"""The chat tokenizer: a base's tokenizer and chat template, without transformers and torch."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken

from sekft_engine.bases.embedding import embedding_rows
from sekft_engine.data.clock import Clock
from sekft_engine.data.trajectory import Turn
from sekft_engine.data.workspace import Workspace
from sekft_engine.render.template import files
from sekft_engine.render.template.endings import closing_of, open_ended, openers
from sekft_engine.render.template.guard import GUARD_VERSION, Guard
from sekft_engine.render.template.layout import SpanLayouts
from sekft_engine.render.template.normalise import (
    NORMALISER_VERSION,
    Refused,
    normalize_for_template,
    valid_unicode,
)
from sekft_engine.render.template.remarks.dating import Dating, dating_of
from sekft_engine.render.template.remarks.vocabulary import refuse_rowless
from sekft_engine.render.template.scaffold import Scaffolds, messages
from sekft_engine.render.template.streaming import TemplateAnalysis
from sekft_engine.render.template.template import ChatTemplate
from sekft_engine.render.template.vocabulary import vocabulary_of


class RenderDigest(msgspec.Struct, frozen=True, kw_only=True):
    """Digests of what a row depends on besides its trajectory; 16 hexadecimal digits each."""

    tokenizer: str
    template: str
    normaliser: str

    @property
    def by_name(self) -> dict[str, str]:
        """The three, as adapters record them."""
        return {key: str(value) for key, value in msgspec.to_builtins(self).items()}

    @property
    def combined(self) -> str:
        """One digest of all three."""
        return _digest(msgspec.json.encode(self))


class ChatTokenizer:
    """Tokenises sessions in the same way for training, eval and serving.

    Content cannot forge control tokens on any path: see :mod:`sekft_engine.render.template.guard`.

    Args:
        spec: a parsed ``tokenizer.json``.
        template: the source of the chat template.
        tokens: named special tokens (``bos_token``, ``eos_token``, ...) as the template sees them.
        added, extra: more tokens of the configuration that ``spec`` may lack; they get the ids that
            transformers would give them: first the added, then the named, then the extra ones.
        where: what errors name.
        clock: what the template prints as now; None = the time at which this object is made.
        stops: ids at which generation stops, as the base's configuration says.

    Raises:
        BadInput: a broken ``tokenizer.json``.
        Refused: a broken template.
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        template: str,
        tokens: Mapping[str, str],
        *,
        added: Iterable[AddedToken] = (),
        extra: Iterable[AddedToken] = (),
        where: str = "tokenizer",
        clock: Clock | None = None,
        stops: Iterable[int] = (),
    ) -> None:
        self.where = where
        self.stops = frozenset(stops)
        self.tokens = dict(tokens)
        vocabulary = vocabulary_of(spec, added, self.tokens, extra, where)
        self._vocabulary = vocabulary
        self._decoder, self.guard = vocabulary.decoder, vocabulary.guard
        #: The highest id.
        self.top_id = vocabulary.top_id
        self.wrong_pattern = vocabulary.wrong_pattern
        self._tail_cache: dict[tuple[int, str], list[int]] = {}
        #: The parsed ``tokenizer.json`` as JSON, with the tokens that the configuration adds.
        self.description = vocabulary.description
        self._spec_digest = vocabulary.digest
        self._set_template(template, clock)

    def _set_template(self, template: str, clock: Clock | None) -> None:
        self.template = ChatTemplate(template, self.tokens, self.where, clock)
        self.scaffolds = Scaffolds(self.template)
        self.analysis = TemplateAnalysis(self.template, self.scaffolds)
        self.layouts = SpanLayouts(self.analysis, self.stops, self._served_end, self._printed_clock)
        self.digest = RenderDigest(
            tokenizer=self._spec_digest,
            template=_digest(msgspec.json.encode([template, self.tokens], order="sorted")),
            normaliser=f"{NORMALISER_VERSION}.{GUARD_VERSION}",
        )

    def with_template(self, template: str) -> ChatTokenizer:
        """The same tokenizer with another chat template."""
        return self._with(template, self.clock)

    def with_clock(self, clock: Clock) -> ChatTokenizer:
        """The same tokenizer with a template that prints ``clock`` as now. A template that does not
        read the clock stays as it is, with all that is known of it."""
        if clock == self.clock or not self.template.may_read_clock:
            return self
        return self._with(self.template.source, clock)

    def _with(self, template: str, clock: Clock) -> ChatTokenizer:
        other = copy.copy(self)
        for name in ("end_of_turn_id", "end_of_turn_ids", "dating", "notes"):
            other.__dict__.pop(name, None)
        other._set_template(template, clock)  # noqa: SLF001  # our own
        return other

    @property
    def clock(self) -> Clock:
        """What the template prints as now."""
        return self.template.clock

    @property
    def recorded_clock(self) -> Clock | None:
        """The clock where the template may read it, so that a render can be made again; else
        None."""
        return self.clock if self.template.may_read_clock else None

    def _printed_clock(self) -> Clock | None:
        return self.clock if self.dating is not None else None

    @cached_property
    def dating(self) -> Dating | None:
        """What the template prints of the clock; None if it prints nothing of it."""
        return dating_of(self.template)

    @classmethod
    def load(cls, folder: str | Path, clock: Clock | None = None) -> ChatTokenizer:
        """Read a base's folder: ``tokenizer.json``, ``tokenizer_config.json`` and the template.

        Args:
            folder: the base's.
            clock: what the template prints as now; None = the time of the call.

        Raises:
            BadInput: a file is missing or broken, or there is no chat template.
        """
        read = files.read_tokenizer_files(Path(folder))
        loaded = cls(
            read.spec,
            read.template,
            read.tokens,
            added=read.added,
            extra=read.extra,
            where=str(folder),
            clock=clock,
            stops=read.stops,
        )
        if rows := embedding_rows(Path(folder)):
            refuse_rowless(loaded, rows)
        return loaded

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of this tokenizer and its template, each with the way out."""
        fault, dating = self.wrong_pattern, self.dating
        return tuple(
            note
            for note in (
                fault.sentence(self.where) if fault is not None else "",
                dating.sentence if dating is not None else "",
            )
            if note
        )

    # --- digests and ids ----------------------------------------------------------------------

    @property
    def spec(self) -> dict[str, Any]:
        """The parsed ``tokenizer.json``, with the tokens that the configuration adds."""
        whole: dict[str, Any] = msgspec.json.decode(self.description)
        return whole

    @property
    def render_digest(self) -> str:
        """The digest under which rows are cached and adapters recorded."""
        return self.digest.combined

    @property
    def vocab_size(self) -> int:
        """One more than the highest id."""
        return self.top_id + 1

    def _named_id(self, name: str) -> int | None:
        literal = self.tokens.get(name)
        return None if literal is None else self._decoder.token_to_id(literal)

    @cached_property
    def bos_id(self) -> int | None:
        return self._named_id("bos_token")

    @cached_property
    def eos_id(self) -> int | None:
        return self._named_id("eos_token")

    @cached_property
    def unk_id(self) -> int | None:
        return self._named_id("unk_token")

    @cached_property
    def control_ids(self) -> frozenset[int]:
        """Ids that only a template may write."""
        return frozenset(self.guard.literals)

    @cached_property
    def is_control(self) -> npt.NDArray[np.bool_]:
        """``(vocabulary,)`` bool: whether only a template may write the id."""
        found = np.zeros(max(self.vocab_size, max(self.control_ids, default=0) + 1), np.bool_)
        found[list(self.control_ids)] = True
        return found

    @cached_property
    def end_of_turn_ids(self) -> frozenset[int]:
        """Ids that close a command turn in this template; generation stops at any of them."""
        marked = (self.guard.mark(self.scaffolds.get(turns).parts[-1]) for turns in (2, 4))
        found = {ids[0] for part in marked if (ids := self.guard.control_ids(part))}
        if (served := self._served_end()) is not None:
            found.add(served)
        if not found:
            raise open_ended(self.guard, self.where)
        return frozenset(found)

    @cached_property
    def end_of_turn_id(self) -> int:
        """The id that closes a command turn once another follows, and is trained with it."""
        ids = self.end_of_turn_ids
        served = self._served_end()
        return min(ids) if served is None else served

    def _served_end(self) -> int | None:
        """The id that ends a command before the next environment turn; None if none is certain."""
        try:
            parts = self.scaffolds.get(3, prompt=True).parts
        except Refused:
            return None
        opening = openers(parts[:3], self.guard)
        closing = closing_of(parts[2], opening, self.guard, self.stops)
        return None if closing is None else self.guard.control_ids(closing)[0]

    # --- text and ids ---------------------------------------------------------------------------

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``; control tokens appear as their literals."""
        return self._decoder.decode([int(token) for token in ids], skip_special_tokens=False)

    def decode_all(self, sequences: list[list[int]]) -> list[str]:
        """:meth:`decode` of each. In one thread: the tokenizer's threads cut the next sessions
        meanwhile, and waiting for them takes longer than a few commands do."""
        return [self._decoder.decode(ids, skip_special_tokens=False) for ids in sequences]

    def encode_text(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """The ids of raw ``text``, in which control tokens may be written as their literals.

        Args:
            add_special_tokens: let the tokenizer add those that it adds by itself, such as a BOS.
        """
        text = valid_unicode(text, self.where)
        encoding = self._vocabulary.plain.encode(text, add_special_tokens=add_special_tokens)
        return [int(token) for token in encoding.ids]

    def distrust(self) -> None:
        """Give up all proofs about the template, and compare every prompt from now on."""
        self.analysis.distrust()
        self.layouts.clear()

    def token_text(self, token: int) -> str:
        """One token as text; for a piece of a character, its name in the vocabulary."""
        text, name = self.decode([token]), self._decoder.id_to_token(int(token)) or ""
        if name.startswith("\u2581") and not text.startswith(" "):
            return f" {text}"  # a SentencePiece decoder drops the first space of what it decodes
        return text if text and "\ufffd" not in text else name

    def token_name(self, token: int) -> str:
        """The name of a token in the vocabulary; empty = there is none."""
        return self._decoder.id_to_token(int(token)) or ""

    def render_text(self, turns: Sequence[Turn], add_generation_prompt: bool = False) -> str:
        """The template's own text of the normalised turns."""
        contents = [turn.content for turn in normalize_for_template(turns)]
        return self.template.render(messages(contents), add_generation_prompt=add_generation_prompt)

    # --- marked text and ids --------------------------------------------------------------------

    def tails(self, guard: Guard, marked: Sequence[str]) -> list[list[int]]:
        """The ids of pieces of marked text that begin with a control token or with the text.

        Pieces of pure scaffold, such as a generation prompt, recur at every turn and are cached.
        """
        cache = self._tail_cache
        missing = [text for text in dict.fromkeys(marked) if (guard.nonce, text) not in cache]
        found = {
            text: cut.ids.tolist() for text, cut in zip(missing, guard.cut(missing), strict=True)
        }
        for text, ids in found.items():
            if len(text) < 256 and len(cache) < 4096:
                cache[guard.nonce, text] = ids
        return [found[text] if text in found else cache[guard.nonce, text] for text in marked]

    def tail_ids(self, guard: Guard, marked: str) -> list[int]:
        """:meth:`tails` of one piece."""
        return self.tails(guard, [marked])[0]

    def guard_for(self, contents: Sequence[str]) -> Guard:
        """A guard whose sentinels occur in none of ``contents``; it becomes the current one."""
        guard = self.guard
        while guard.collides(contents):
            guard = Guard(self.spec, guard.nonce + 1)
        # So that a hostile session costs one rebuild and not one per call.
        self.guard = guard
        return guard


def load_tokenizer(
    base: str, workspace: Workspace | None = None, clock: Clock | None = None
) -> ChatTokenizer:
    """The tokenizer of ``base``. A folder needs no weights for it: masks can be shown on a machine
    that could never hold the model.

    Args:
        base: its name.
        workspace: where else it may lie.
        clock: what the template prints as now; None = the time of the call.

    Raises:
        BadInput, Unavailable: as :func:`sekft_engine.bases.resolve_base` and
            :meth:`ChatTokenizer.load`.
    """
    folder = Path(base).expanduser()
    if base and (folder / "tokenizer.json").is_file():
        return ChatTokenizer.load(folder, clock)
    from sekft_engine.bases import resolve_base

    return ChatTokenizer.load(resolve_base(base, workspace), clock)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
