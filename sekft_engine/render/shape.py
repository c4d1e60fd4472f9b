"""What a chat template writes around the turns of a session, in time linear in their number.

For a session of *n* turns the build has to know the scaffold of the whole, of what precedes each
command with the generation prompt, and of each command as the last turn. Rendered one by one that
is quadratic. Where :mod:`sekft_engine.render.trace` finds that the template streams, all of them
are read off three runs, which serve all shorter sessions too. Where it does not stream (it counts
the messages, or goes through them twice), each is rendered, once per number of turns and not per
session; of each only a digest and its last part are kept.

``blind`` says what that is worth for real contents, see :class:`Shape`.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Sequence

import jinja2
import msgspec

from sekft_engine.render.normalise import Refused
from sekft_engine.render.opaque import Condition, Inspected, unmet
from sekft_engine.render.scaffold import PLACEHOLDER, Scaffolds, fill, placeholders
from sekft_engine.render.stream import Unstreamable
from sekft_engine.render.template import ChatTemplate
from sekft_engine.render.trace import Streamed, Tracer

#: The first number of turns that is traced; it doubles from there.
_FIRST = 32
_REFUSALS = (jinja2.TemplateError, TypeError, ValueError, LookupError)


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The scaffolds of a session of some number of turns.

    ``parts[k]`` stands before the content of turn *k*, the last one after all. For command turn
    *2k + 1*, ``headers[k]`` is what stands between it and the turn before in the prompt that asks
    for it, or None where that prompt does not repeat the parts before; ``closings[k]`` is what
    follows it where the session ends with it.

    ``blind``: the template is known to write the same around all contents that meet
    ``conditions``, in the whole and in each of those prompts; so for such contents the scaffolds
    are its renders, and need not be compared with them one by one.
    """

    parts: tuple[str, ...]
    headers: tuple[str | None, ...]
    closings: tuple[str, ...]
    blind: bool
    conditions: frozenset[Condition]

    def covers(self, contents: Sequence[str]) -> bool:
        """Whether the template is known to render ``contents`` and each prompt as shaped."""
        return self.blind and not unmet(self.conditions, contents)


class _Prompt(msgspec.Struct, frozen=True):
    """A generation prompt's scaffold: digest of the parts before its last one, and that one."""

    before: bytes
    header: str


class Shapes:
    """The shapes of one chat template."""

    def __init__(self, template: ChatTemplate, scaffolds: Scaffolds) -> None:
        self._template = template
        self._scaffolds = scaffolds
        self._tracer = Tracer(template)
        self._lock = threading.RLock()
        self._blind = True
        self._streams = True
        self._traced = 0
        self._seen: set[int] = set()
        # By the parity of the number of turns (the last one's role is known to a run), and what
        # is asked for with a generation prompt.
        self._whole: dict[int, Streamed] = {}
        self._asked = Streamed(preamble="", heads=[], tails=[], ending="")
        self._prompts: dict[int, _Prompt] = {}
        self._closings: dict[int, str] = {}

    def get(self, turns: int) -> Shape:
        """The shape of ``turns`` turns.

        Raises:
            Refused: the template refuses such a session, or moves or repeats its contents.
        """
        with self._lock:
            if self._streams and self._blind and turns > self._traced:
                step = max(_FIRST, 1 << max(0, turns.bit_length() - 3))
                self._trace(-(-turns // step) * step)
            if self._streams and self._blind:
                return self._streamed(turns)
            return self._rendered(turns)

    def is_first(self, turns: int, most: int) -> bool:
        """Whether this is the first session of ``turns`` turns, up to ``most``."""
        if turns > most or turns in self._seen:
            return False
        self._seen.add(turns)
        return True

    def distrust(self) -> None:
        """The template was caught at what :class:`Shape` rules out."""
        self._blind = False

    @property
    def streams(self) -> bool:
        """Whether the template streams, as far as it has been traced."""
        return self._streams and self._blind

    # --- from three runs ------------------------------------------------------------------------

    def _trace(self, turns: int) -> None:
        """Trace sessions of up to ``turns`` (an even number) turns."""
        try:
            asked = self._tracer.stream(turns - 1, prompt=True)
            whole = {parity: self._tracer.stream(turns - parity, prompt=False) for parity in (0, 1)}
        except Inspected:
            self._blind = False
            return
        except (Unstreamable, *_REFUSALS):
            self._streams = False
            return
        self._asked, self._whole, self._traced = asked, whole, turns
        # The hooks must not have changed what the template does.
        self._streams = all(map(self._same, (1, 2, 3, 4, 7, 8, turns - 1, turns)))

    def _same(self, turns: int) -> bool:
        """Whether the runs tell what a plain render of ``turns`` turns shows."""
        try:
            if self._scaffolds.get(turns).parts != _shown(self._whole[turns % 2], turns):
                return False
            if turns % 2 == 0:
                return True
            return self._scaffolds.get(turns, prompt=True).parts == _shown(self._asked, turns)
        except Refused:
            return False

    def _streamed(self, turns: int) -> Shape:
        asked, closed = self._asked, self._whole[0]
        parts = _shown(self._whole[turns % 2], turns)
        # How many parts are the same where the generation prompt is asked for.
        joints = _joints(asked, min(turns, self._traced - 1))
        pairs = zip(parts, joints, strict=False)
        same = next((n for n, (one, other) in enumerate(pairs) if one != other), len(joints))
        return Shape(
            parts=parts,
            headers=tuple(
                sys.intern(asked.tails[turn - 1] + asked.ending) if turn <= same else None
                for turn in range(1, turns, 2)
            ),
            closings=tuple(
                sys.intern(closed.tails[turn] + closed.ending) for turn in range(1, turns, 2)
            ),
            blind=True,
            conditions=frozenset(self._tracer.conditions),
        )

    # --- one by one -----------------------------------------------------------------------------

    def _rendered(self, turns: int) -> Shape:
        parts = self._scaffolds.get(turns).parts
        self._watch(turns, prompt=False, parts=parts)
        before = digests(parts)
        headers: list[str | None] = []
        closings: list[str] = []
        for turn in range(1, turns, 2):
            prompt = self._prompt(turn)
            headers.append(prompt.header if prompt.before == before[turn] else None)
            closings.append(self._closing(turn + 1))
        return Shape(
            parts=parts,
            headers=tuple(headers),
            closings=tuple(closings),
            blind=self._blind,
            conditions=frozenset(self._tracer.conditions),
        )

    def _prompt(self, turns: int) -> _Prompt:
        found = self._prompts.get(turns)
        if found is None:
            parts = self._watched(turns)
            if parts is None:
                parts = self._scaffolds.make(turns, prompt=True).parts
                self._watch(turns, prompt=True, parts=parts)
            found = self._prompts[turns] = _Prompt(digests(parts)[turns], parts[turns])
        return found

    def _watched(self, turns: int) -> tuple[str, ...] | None:
        """A long prompt's scaffold as the watched run shows it, which short ones were held
        against; None where that says nothing."""
        if not self._blind or turns < _FIRST:
            return None
        try:
            shown = PLACEHOLDER.split(self._tracer.render(turns, prompt=True))
        except (Inspected, *_REFUSALS):
            return None
        in_order = shown[1::2] == [str(number) for number in range(turns)]
        return tuple(shown[::2]) if in_order else None

    def _closing(self, turns: int) -> str:
        found = self._closings.get(turns)
        if found is None:
            found = self._closings[turns] = self._scaffolds.make(turns).parts[turns]
        return found

    def _watch(self, turns: int, *, prompt: bool, parts: tuple[str, ...]) -> None:
        """See whether the template is blind to the contents of such a session too."""
        if not self._blind:
            return
        try:
            text = self._tracer.render(turns, prompt=prompt)
        except (Inspected, *_REFUSALS):
            self._blind = False
        else:
            self._blind = text == fill(parts, placeholders(turns))


def _joints(run: Streamed, turns: int) -> list[str]:
    """The first ``turns`` parts. They are few different ones, whatever their number."""
    between = (tail + head for tail, head in zip(run.tails, run.heads[1:turns], strict=False))
    return list(map(sys.intern, (run.preamble + run.heads[0], *between)))


def _shown(run: Streamed, turns: int) -> tuple[str, ...]:
    """The parts of a session of ``turns`` turns."""
    return (*_joints(run, turns), sys.intern(run.tails[turns - 1] + run.ending))


def digests(parts: Sequence[str]) -> list[bytes]:
    """For each number of parts from 0, a digest of so many of them."""
    total = hashlib.blake2b(digest_size=16)
    out = [total.digest()]
    for part in parts:
        data = part.encode(errors="surrogatepass")
        total.update(len(data).to_bytes(8, "little") + data)
        out.append(total.digest())
    return out
