"""The scaffolds of a session and of every prompt in it, in time linear in the number of turns.

For a session of *n* turns the build needs the scaffold of the whole, of the turns before each
command with the generation prompt, and of each command as the last turn. Rendered one by one, that
is quadratic. If :mod:`sekft_engine.render.template.taint_trace` finds that the template streams,
all of them come from three runs, which serve all shorter sessions too. If it does not stream (it
counts the messages, or loops over them twice), each scaffold is rendered, once per number of turns
and not per session; of each only a digest and the last part stay in memory.

What this proves for real contents is in :class:`SessionScaffold`; docs/render.md has an example.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Sequence

import msgspec

from sekft_engine.render.template.normalise import Refused
from sekft_engine.render.template.scaffold import (
    PLACEHOLDER,
    Scaffolds,
    fill,
    placeholders,
)
from sekft_engine.render.template.taint_string import Condition, ContentInspected, all_hold
from sekft_engine.render.template.taint_trace import StreamedRender, Tracer
from sekft_engine.render.template.template import ChatTemplate

#: The number of turns that is traced first; longer sessions double it.
_FIRST_TRACE = 32


class SessionScaffold(msgspec.Struct, frozen=True, kw_only=True):
    """The scaffolds of a session of *n* turns: of the whole, and of the prompt for each command.

    Attributes:
        parts: *n* + 1 texts; ``parts[k]`` precedes the content of turn *k*, the last one ends the
            render.
        headers: per command turn, what the prompt for it writes after the turn before; None where
            that prompt does not begin with the same parts as the whole.
        closings: per command turn, what follows it if the session ends with it.
        blind: whether the template is proven to write the same text around all contents that meet
            ``conditions``, in the whole and in each prompt. For such contents the scaffolds are
            the template's renders, and no prompt has to be rendered and compared.
        conditions: what the proof assumes of the contents.
    """

    parts: tuple[str, ...]
    headers: tuple[str | None, ...]
    closings: tuple[str, ...]
    blind: bool
    conditions: frozenset[Condition]

    def covers(self, contents: Sequence[str]) -> bool:
        """Whether the template is proven to render ``contents`` and each prompt like this."""
        return self.blind and all_hold(self.conditions, contents)


class _Prompt(msgspec.Struct, frozen=True):
    """The scaffold of a generation prompt: its last part, and a digest of the parts before it."""

    digest: bytes
    header: str


class TemplateAnalysis:
    """What is known of one chat template, and the session scaffolds that follow from it.

    Args:
        template: the compiled template.
        scaffolds: renders its scaffolds one by one.
    """

    def __init__(self, template: ChatTemplate, scaffolds: Scaffolds) -> None:
        self._template = template
        self._scaffolds = scaffolds
        self._tracer = Tracer(template)
        self._lock = threading.RLock()
        self._blind = True
        self._streams = True
        self._traced = 0
        self._compared: set[int] = set()
        # Whole sessions by the parity of their number of turns (a run knows the role of the last
        # one), and sessions with the generation prompt.
        self._whole: dict[int, StreamedRender] = {}
        self._prompted = StreamedRender(preamble="", heads=[], tails=[], ending="")
        self._prompts: dict[int, _Prompt] = {}
        self._closings: dict[int, str] = {}

    def session(self, turns: int) -> SessionScaffold:
        """The scaffolds of a session of ``turns`` turns.

        Raises:
            Refused: the template refuses such a session, or moves or repeats its contents.
        """
        with self._lock:
            if self._streams and self._blind and turns > self._traced:
                step = max(_FIRST_TRACE, 1 << max(0, turns.bit_length() - 3))
                self._trace(-(-turns // step) * step)
            if self._streams and self._blind:
                return self._streamed(turns)
            return self._rendered(turns)

    def was_compared(self, turns: int) -> bool:
        """Whether a proven session of ``turns`` turns was compared prompt by prompt, too."""
        return turns in self._compared

    def note_compared(self, turns: int) -> None:
        """Remember that a proven session of ``turns`` turns was compared and is as proven."""
        self._compared.add(turns)

    def distrust(self) -> None:
        """Give up all proofs: the template did what :class:`SessionScaffold` rules out."""
        self._blind = False

    @property
    def streams(self) -> bool:
        """Whether the template streams, as far as it has been traced."""
        return self._streams and self._blind

    # --- from three runs ------------------------------------------------------------------------

    def _trace(self, turns: int) -> None:
        """Trace sessions of up to ``turns`` (an even number) turns."""
        self._refuse_endless()
        try:
            prompted = self._tracer.stream(turns - 1, prompt=True)
            whole = {parity: self._tracer.stream(turns - parity, prompt=False) for parity in (0, 1)}
        except ContentInspected:
            self._blind = False
            return
        except Exception:  # noqa: BLE001 - not streamable, or the template's own error
            self._streams = False
            return
        self._prompted, self._whole, self._traced = prompted, whole, turns
        # The hooks must not have changed what the template does.
        self._streams = all(map(self._same, (1, 2, 3, 4, 7, 8, turns - 1, turns)))

    def _refuse_endless(self) -> None:
        """Raise :class:`Refused` if a plain render of the shortest session does not end: a traced
        one, which takes longer, would not either."""
        for turns, prompt in ((2, False), (1, True)):
            try:
                self._scaffolds.get(turns, prompt=prompt)
            except Refused:
                if self._template.reached_limit:
                    raise

    def _same(self, turns: int) -> bool:
        """Whether the runs give what a plain render of ``turns`` turns gives."""
        try:
            if self._scaffolds.get(turns).parts != _parts(self._whole[turns % 2], turns):
                return False
            if turns % 2 == 0:
                return True
            return self._scaffolds.get(turns, prompt=True).parts == _parts(self._prompted, turns)
        except Refused:
            return False

    def _streamed(self, turns: int) -> SessionScaffold:
        prompted, closed = self._prompted, self._whole[0]
        parts = _parts(self._whole[turns % 2], turns)
        # How many parts are the same in a render with the generation prompt.
        joints = _joints(prompted, min(turns, self._traced - 1))
        pairs = zip(parts, joints, strict=False)
        same = next((n for n, (plain, asked) in enumerate(pairs) if plain != asked), len(joints))
        return SessionScaffold(
            parts=parts,
            headers=tuple(
                sys.intern(prompted.tails[turn - 1] + prompted.ending) if turn <= same else None
                for turn in range(1, turns, 2)
            ),
            closings=tuple(
                sys.intern(closed.tails[turn] + closed.ending) for turn in range(1, turns, 2)
            ),
            blind=True,
            conditions=frozenset(self._tracer.conditions),
        )

    # --- one by one -----------------------------------------------------------------------------

    def _rendered(self, turns: int) -> SessionScaffold:
        parts = self._scaffolds.get(turns).parts
        self._check_blind(turns, prompt=False, parts=parts)
        digest = digests(parts)
        headers: list[str | None] = []
        closings: list[str] = []
        for turn in range(1, turns, 2):
            prompt = self._prompt(turn)
            headers.append(prompt.header if prompt.digest == digest[turn] else None)
            closings.append(self._closing(turn + 1))
        return SessionScaffold(
            parts=parts,
            headers=tuple(headers),
            closings=tuple(closings),
            blind=self._blind,
            conditions=frozenset(self._tracer.conditions),
        )

    def _prompt(self, turns: int) -> _Prompt:
        found = self._prompts.get(turns)
        if found is None:
            parts = self._traced_prompt(turns)
            if parts is None:
                parts = self._scaffolds.make(turns, prompt=True).parts
                self._check_blind(turns, prompt=True, parts=parts)
            found = self._prompts[turns] = _Prompt(digests(parts)[turns], parts[turns])
        return found

    def _traced_prompt(self, turns: int) -> tuple[str, ...] | None:
        """The scaffold of a long prompt by a traced run (those of short ones were compared with
        plain renders); None where such a run proves nothing."""
        if not self._blind or turns < _FIRST_TRACE:
            return None
        try:
            split = PLACEHOLDER.split(self._tracer.render(turns, prompt=True))
        except Exception:  # noqa: BLE001 - a template may raise any
            return None
        in_order = split[1::2] == [str(number) for number in range(turns)]
        return tuple(split[::2]) if in_order else None

    def _closing(self, turns: int) -> str:
        found = self._closings.get(turns)
        if found is None:
            found = self._closings[turns] = self._scaffolds.make(turns).parts[turns]
        return found

    def _check_blind(self, turns: int, *, prompt: bool, parts: tuple[str, ...]) -> None:
        """Clear ``blind`` unless a traced run of such a session gives the same parts."""
        if not self._blind:
            return
        try:
            text = self._tracer.render(turns, prompt=prompt)
        except Exception:  # noqa: BLE001 - a template may raise any
            self._blind = False
        else:
            self._blind = text == fill(parts, placeholders(turns))


def _joints(run: StreamedRender, turns: int) -> list[str]:
    """The first ``turns`` parts; interned, since only few of them differ."""
    between = (tail + head for tail, head in zip(run.tails, run.heads[1:turns], strict=False))
    return list(map(sys.intern, (run.preamble + run.heads[0], *between)))


def _parts(run: StreamedRender, turns: int) -> tuple[str, ...]:
    """The parts of a session of ``turns`` turns."""
    return (*_joints(run, turns), sys.intern(run.tails[turns - 1] + run.ending))


def digests(parts: Sequence[str]) -> list[bytes]:
    """A digest of the first *k* parts, for each *k* from 0 on."""
    total = hashlib.blake2b(digest_size=16)
    out = [total.digest()]
    for part in parts:
        data = part.encode(errors="surrogatepass")
        total.update(len(data).to_bytes(8, "little") + data)
        out.append(total.digest())
    return out
