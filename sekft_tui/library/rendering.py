"""Trajectories as tokens: rendered when they are looked at, kept as long as there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from sekft_engine.errors import SekftError
from sekft_engine.importing import import_module
from sekft_engine.maskview.document import Document
from sekft_engine.trajectory import Trajectory, Turn

if TYPE_CHECKING:
    from sekft_engine.maskview.document import Losses
    from sekft_engine.render import ChatTokenizer, Row
    from sekft_engine.workspace import Workspace

#: Rendered rows are kept up to so many, and up to so many tokens all together.
KEPT = 256
KEPT_TOKENS = 2_000_000
#: Characters of a trajectory that are shown before the whole of a longer one is rendered.
BEGINNING = 24_000
#: Trajectories of more characters have their beginning shown first.
LONG = 120_000


class Rendered(NamedTuple):
    """A trajectory as tokens.

    ``dropped`` says why it is not trained on, ``trouble`` why it cannot be rendered at all;
    ``whole`` is False where only the beginning is here.
    """

    doc: Document
    dropped: str = ""
    row: Row | None = None
    whole: bool = True
    trouble: str = ""

    @property
    def tokens(self) -> int:
        """As many as its row has; without a row, about as many as its text would have."""
        return len(self.row) if self.row is not None else len(self.doc.text) // 4


def load_engine() -> None:
    """Import what rendering needs, once and whole, whichever thread comes first."""
    for name in (
        "sekft_engine.bases.resolve",
        "sekft_engine.render.load",
        "sekft_engine.render.cache",
    ):
        import_module(name)


class NotReady(Exception):
    """The base has to be fetched or converted before it has a tokenizer."""


class Renderer:
    """Renders with one base's tokenizer; each method may be called from any thread.

    Args:
        base: as the user names it; '' = none, so nothing can be rendered.
        workspace: where a base's name is looked for.
        max_length: rows of more tokens are not trained on; they are shown all the same.
    """

    def __init__(self, base: str, workspace: Workspace | None, max_length: int) -> None:
        self.base = base
        self.max_length = max_length
        #: Gives the losses of a row's tokens where they are known.
        self.losses: Callable[[Row], Losses | None] = lambda _: None
        self._workspace = workspace
        self._tokenizer: ChatTokenizer | None = None
        self._loading = threading.Lock()
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, Rendered] = OrderedDict()
        self._tokens = 0

    # --- the tokenizer ----------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        return self._tokenizer is not None

    def use(self, folder: Path) -> None:
        """The base now lies ready in ``folder``."""
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
                from sekft_engine.render.load import load_tokenizer

                folder = ready_base(self.base, self._workspace)
                if folder is None:
                    raise NotReady
                self._tokenizer = load_tokenizer(str(folder))
            return self._tokenizer

    # --- rows -------------------------------------------------------------------------------

    def known(self, number: int) -> Rendered | None:
        """What was rendered of trajectory ``number`` before."""
        with self._lock:
            found = self._kept.get(number)
            if found is not None:
                self._kept.move_to_end(number)
            return found

    def forget(self) -> None:
        with self._lock:
            self._kept.clear()
            self._tokens = 0

    @property
    def kept_tokens(self) -> int:
        """Tokens of all rows that are kept."""
        return self._tokens

    def render(self, number: int, read: Callable[[int], Trajectory]) -> Rendered:
        """Trajectory ``number`` whole; what is wrong with it or the base becomes its message.

        Raises:
            NotReady: as :meth:`tokenizer`.
        """
        found = self.known(number)
        if found is not None:
            return found
        found = self._render(number, read)
        with self._lock:
            before = self._kept.pop(number, None)
            self._tokens += found.tokens - (before.tokens if before else 0)
            self._kept[number] = found
            while len(self._kept) > 1 and (len(self._kept) > KEPT or self._tokens > KEPT_TOKENS):
                self._tokens -= self._kept.popitem(last=False)[1].tokens
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
        """The first turns of a long trajectory, which takes no time worth speaking of.

        None where that cannot be: then there is nothing to see before the whole is there.
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
    """A trajectory without a row: its turns as they stand, nothing of them trained."""
    doc = Document.from_turns(trajectory.id, trajectory.turns, reason=reason, detail=detail)
    return Rendered(doc, f"{reason}: {detail}".rstrip(": "))


def first_turns(turns: tuple[Turn, ...], characters: int = BEGINNING) -> tuple[Turn, ...]:
    """As many turns as have together ``characters``; the last one is cut."""
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
