"""Where the contents stand in a scaffold, and where each command's trained span begins and ends."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sekft_engine.render.guard import Guard
from sekft_engine.render.normalise import Refused
from sekft_engine.render.scaffold import Scaffolds

#: The way out of a template that renders a session anew at every turn.
APPEND = "put a chat_template.jinja that only appends into the base's folder"


class Seam(msgspec.Struct, frozen=True, kw_only=True):
    """The scaffold around one command turn.

    ``header`` counts the characters of the marked part before it that a generation prompt
    supplies; what the template writes after them (``lead``) the model has to write, and so it is
    trained. ``tail`` stands between the command and its end-of-turn token, whose ordinal among
    the scaffold's control tokens is ``closing``.
    """

    turn: int
    header: int
    lead: str
    tail: str
    closing: int


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """A scaffold of some number of turns, marked for one guard.

    ``markers`` are boundaries that the template writes as plain text (``[/INST]`` in the first
    Mistral template): content that holds one cannot be told from the scaffold.
    """

    parts: tuple[str, ...]
    seams: tuple[Seam, ...]
    control_ids: tuple[int, ...]
    markers: tuple[str, ...]

    def fill(self, contents: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
        """The marked text, and where in it each content stands."""
        out, places, at = [self.parts[0]], [], len(self.parts[0])
        for content, part in zip(contents, self.parts[1:], strict=True):
            out += (content, part)
            places.append((at, at + len(content)))
            at += len(content) + len(part)
        return "".join(out), places


class Layouts:
    """The layouts of one tokenizer, kept per number of turns."""

    def __init__(self, scaffolds: Scaffolds) -> None:
        self._scaffolds = scaffolds
        self._known: dict[tuple[int, int], Layout] = {}

    def get(self, turns: int, guard: Guard) -> Layout:
        """The layout of ``turns`` turns.

        Raises:
            Refused: the template is not additive, or leaves a command turn open.
        """
        key = (turns, guard.nonce)
        if key not in self._known:
            self._known[key] = self._make(turns, guard)
        return self._known[key]

    def _make(self, turns: int, guard: Guard) -> Layout:
        plain = self._scaffolds.get(turns).parts
        marked = tuple(map(guard.mark, plain))
        seams = tuple(self._seam(turn, plain, marked, guard) for turn in range(1, turns, 2))
        bare = (part.strip() for part in plain[1:-1] if not guard.control_ids(guard.mark(part)))
        return Layout(
            parts=marked,
            seams=seams,
            control_ids=tuple(token for part in marked for token in guard.control_ids(part)),
            markers=tuple(sorted({part for part in bare if part})),
        )

    def _seam(
        self, turn: int, plain: tuple[str, ...], marked: tuple[str, ...], guard: Guard
    ) -> Seam:
        prompt = self._scaffolds.get(turn, prompt=True).parts
        header = guard.mark(prompt[turn])
        if plain[:turn] != prompt[:turn]:
            raise Refused(
                "not_additive",
                f"the chat template renders the turns before command turn {turn} in another way "
                "once more turns follow",
                mend=APPEND,
            )
        if not marked[turn].startswith(header):
            raise Refused(
                "not_additive",
                f"the chat template asks for command turn {turn} with {prompt[turn]!r}, but shows "
                f"{plain[turn]!r} before it once it is said",
                mend=APPEND,
            )
        # As the last turn: what follows there closes the command and is no next turn's header.
        closed = guard.mark(self._scaffolds.get(turn + 1).parts[turn + 1])
        closing = guard.sentinel.search(closed)
        lead = marked[turn][len(header) :]
        if closing is None:
            raise Refused(
                "no_end_of_turn",
                f"no control token closes command turn {turn}",
                mend="use an instruct base whose template ends turns",
            )
        if guard.control_ids(lead) or lead.strip():
            raise Refused(
                "writes_before_command",
                f"the chat template writes {guard.unmark(lead)!r} before command turn {turn}, "
                "which its generation prompt does not ask with",
                mend=APPEND,
            )
        if not marked[turn + 1].startswith(closed[: closing.end()]):
            raise Refused(
                "not_additive",
                f"the chat template closes command turn {turn} in another way once more follow",
                mend=APPEND,
            )
        return Seam(
            turn=turn,
            header=len(header),
            lead=lead,
            tail=closed[: closing.start()],
            closing=sum(len(guard.control_ids(part)) for part in marked[: turn + 1]),
        )
