"""Trajectories as tokens: rendered on demand, and cached."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from sekft_engine.core.errors import SekftError
from sekft_engine.core.imports import import_module
from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.maskview.document import Document

if TYPE_CHECKING:
    from sekft_engine.data.workspace import Workspace
    from sekft_engine.maskview.document import Losses
    from sekft_engine.render import ChatTokenizer, Row

#: The cache holds at most this many rows, and this many tokens in all.
CACHED_ROWS = 256
CACHED_TOKENS = 2_000_000
#: Characters of a trajectory that are shown before the whole of a longer one is rendered.
BEGINNING = 24_000
#: Trajectories of more characters have their beginning shown first.
LONG = 120_000


class Rendered(NamedTuple):
    """A trajectory as tokens.

    ``dropped`` says why it is not trained on, ``trouble`` why it cannot be rendered at all;
    ``whole`` is False if this is only the beginning.
    """

    doc: Document
    dropped: str = ""
    row: Row | None = None
    whole: bool = True
    trouble: str = ""

    @property
    def tokens(self) -> int:
        """The length of its row; without a row, an estimate from its text."""
        return len(self.row) if self.row is not None else len(self.doc.text) // 4


def load_engine() -> None:
    """Import what rendering needs; two threads may do so at once."""
    for name in (
        "sekft_engine.bases.resolve",
        "sekft_engine.render.template.tokenizer",
        "sekft_engine.render.bulk.cache",
    ):
        import_module(name)


class NotReady(Exception):
    """The base has to be fetched or converted before it has a tokenizer."""


class Renderer:
    """Renders with one base's tokenizer; each method may be called from any thread.

    Args:
        base: as the user names it; "" = none, so nothing can be rendered.
        workspace: where a base of that name is looked up.
        max_length: rows of more tokens are shown, but not trained on.
    """

    def __init__(self, base: str, workspace: Workspace | None, max_length: int) -> None:
        self.base = base
        self.max_length = max_length
        #: Returns the losses of a row's tokens, if they were measured.
        self.losses: Callable[[Row], Losses | None] = lambda _: None
        self._workspace = workspace
        self._tokenizer: ChatTokenizer | None = None
        self._loading = threading.Lock()
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, Rendered] = OrderedDict()
        self._tokens = 0

    # --- the tokenizer ----------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        return self._tokenizer is not None

    def use(self, folder: Path) -> None:
        """The base is ready in ``folder``."""
        self.base = str(folder)

    def tokenizer(self) -> ChatTokenizer:
        """The base's tokenizer, loaded at the first call.

        Raises:
            NotReady: the engine has to fetch or convert the base first.
            SekftError: there is no such base, or its tokenizer cannot be used.
        """
        with self._loading:
            if self._tokenizer is None:
                load_engine()
                from sekft_engine.bases.resolve import ready_base
                from sekft_engine.render.template.tokenizer import load_tokenizer

                folder = ready_base(self.base, self._workspace)
                if folder is None:
                    raise NotReady
                self._tokenizer = load_tokenizer(str(folder))
            return self._tokenizer

    # --- rows -------------------------------------------------------------------------------

    def known(self, number: int) -> Rendered | None:
        """Trajectory ``number`` from the cache; None = it is not there."""
        with self._lock:
            found = self._cache.get(number)
            if found is not None:
                self._cache.move_to_end(number)
            return found

    def forget(self) -> None:
        with self._lock:
            self._cache.clear()
            self._tokens = 0

    @property
    def cached_tokens(self) -> int:
        """Tokens of all rows in the cache."""
        return self._tokens

    def render(self, number: int, read: Callable[[int], Trajectory]) -> Rendered:
        """The whole of trajectory ``number``; a problem with it or the base becomes its message.

        Raises:
            NotReady: as :meth:`tokenizer`.
        """
        found = self.known(number)
        if found is not None:
            return found
        found = self._render(number, read)
        with self._lock:
            before = self._cache.pop(number, None)
            self._tokens += found.tokens - (before.tokens if before else 0)
            self._cache[number] = found
            while len(self._cache) > 1 and (
                len(self._cache) > CACHED_ROWS or self._tokens > CACHED_TOKENS
            ):
                self._tokens -= self._cache.popitem(last=False)[1].tokens
        return found

    def _render(self, number: int, read: Callable[[int], Trajectory]) -> Rendered:
        try:
            trajectory = read(number)
        except SekftError as error:
            return Rendered(Document.from_turns("", ()), trouble=f"cannot be read: {error}")
        if not self.base:
            why = "not rendered: no base in this workspace, so no tokenizer"
            return _plain(trajectory)._replace(trouble=why)
        try:
            return self._row(trajectory, self.tokenizer())
        except SekftError as error:
            return _plain(trajectory)._replace(trouble=f"not rendered: {error}")

    def _row(self, trajectory: Trajectory, tokenizer: ChatTokenizer) -> Rendered:
        load_engine()
        from sekft_engine.render import Dropped, build_row

        row = build_row(trajectory, tokenizer)
        if isinstance(row, Dropped):
            return _plain(trajectory, row.reason, row.detail)
        limit = self.max_length
        dropped = ""
        if limit and len(row) > limit:
            dropped = f"too_long: {len(row):,} tokens, the limit is {limit:,}"
        return Rendered(self._doc(row, tokenizer), dropped, row)

    def _doc(self, row: Row, tokenizer: ChatTokenizer) -> Document:
        return Document.from_row(
            row, losses=self.losses(row), digest=tokenizer.digest, limit=self.max_length
        )

    def beginning(self, number: int, read: Callable[[int], Trajectory]) -> Rendered | None:
        """The first turns of a long trajectory, which takes little time.

        None if they cannot be rendered: then nothing is shown before the whole is ready.
        """
        load_engine()
        from sekft_engine.render import Dropped, build_row

        try:
            whole = read(number)
            cut = msgspec.structs.replace(whole, turns=first_turns(whole.turns))
            if not self.base:
                return _plain(cut)._replace(whole=False)
            tokenizer = self.tokenizer()
            row = build_row(cut, tokenizer)
        except SekftError:
            return None
        if isinstance(row, Dropped):
            return _plain(cut)._replace(whole=False)
        doc = self._doc(row, tokenizer)
        doc.certificate = None  # it would be that of the beginning
        return Rendered(doc, "", row, whole=False)


def _plain(trajectory: Trajectory, reason: str = "", detail: str = "") -> Rendered:
    """A trajectory without a row: its turns as plain text, none of them trained."""
    doc = Document.from_turns(trajectory.id, trajectory.turns, reason=reason, detail=detail)
    return Rendered(doc, f"{reason}: {detail}".rstrip(": "))


def first_turns(turns: tuple[Turn, ...], characters: int = BEGINNING) -> tuple[Turn, ...]:
    """The first turns, of ``characters`` characters in all; the last one is cut."""
    out: list[Turn] = []
    for turn in turns:
        if characters <= 0:
            break
        if len(turn.content) > characters:
            if turn.is_command and len(out) > 1:  # half a command is no command
                break
            turn = msgspec.structs.replace(turn, content=turn.content[:characters])
        out.append(turn)
        characters -= len(turn.content)
    return tuple(out)
