"""The operator protocol, and a model on this machine as operator.

A model's episode is kept as token ids: what was sampled is never rendered again from text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from sekft_engine.data.trajectory import Turn
from sekft_engine.episodes.command_turn import CommandTurn
from sekft_engine.episodes.episode import described
from sekft_engine.operators.decoder import Acting, Decoder, SampledTurn
from sekft_engine.render import ChatTokenizer
from sekft_engine.render.template.prompt import encode_bridge, encode_prompt


class Operator(Protocol):
    """Types in many episodes at once, each in its own time: environment turns in, commands out."""

    def open(self, key: str, seed: int) -> None:
        """Begin the episode ``key``; ``seed`` fixes its draws."""
        ...

    def observe(self, shown: Mapping[str, str]) -> None:
        """Take the environment turns (episode -> text) that are to be answered."""
        ...

    def poll(self) -> dict[str, CommandTurn]:
        """Work for a moment, and return the command turns that are complete by now.

        It is called, again and again, while an observed turn is unanswered.

        Returns:
            Episode -> its command turn; may be empty. A turn that cannot be had is ``broken``.

        Raises:
            Exception: any error that is not of one episode; it ends the run.
        """
        ...

    def close(self, keys: Sequence[str]) -> None:
        """End these episodes."""
        ...


@runtime_checkable
class WritesLive(Protocol):
    """An operator whose turns can be read before they are complete."""

    def written(self, key: str) -> str:
        """What is written of the open turn of ``key`` so far."""
        ...


class ModelOperator:
    """A model on this machine. Each episode is kept as ids; only new ids are fed.

    Args:
        decoder: decodes the episodes.
        tokenizer: of the base.
        turn_tokens: most ids in one command turn. A turn that reaches it is typed as it stands
            and closed with the end-of-turn id.
        context: most ids in one episode.
        acting: who acts in an episode, where the decoder mixes adapters; None = the active one.
    """

    def __init__(
        self,
        decoder: Decoder[Any],
        tokenizer: ChatTokenizer,
        *,
        turn_tokens: int,
        context: int,
        acting: Callable[[str], Acting] | None = None,
    ) -> None:
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._turn_tokens = turn_tokens
        self._context = context
        self._acting = acting
        self._turns: dict[str, int] = {}
        self._unclosed: set[str] = set()
        self._full: list[str] = []
        self._recalled: dict[str, list[int]] = {}

    def open(self, key: str, seed: int) -> None:
        if self._acting is None:
            self._decoder.add(key, seed)
        else:
            self._decoder.add(key, seed, acting=self._acting(key))
        self._turns[key] = 0

    def recall(self, key: str, ids: Sequence[int], turns: int) -> None:
        """Continue an episode of ``turns`` turns, of which the last is a command; ``ids`` is all of
        them as token ids."""
        self._recalled[key] = list(ids)
        self._turns[key] = turns

    def observe(self, shown: Mapping[str, str]) -> None:
        for key, text in shown.items():
            ids = self._feed(key, text)
            if self._decoder.length(key) + len(ids) + self._turn_tokens > self._context:
                self._full.append(key)
            else:
                self._decoder.feed(key, ids, self._turn_tokens)

    def poll(self) -> dict[str, CommandTurn]:
        """One decoding step of all rows with an open turn."""
        answers = {key: CommandTurn(text="", exhausted=True) for key in self._full}
        self._full.clear()
        for key, turn in self._decoder.step().items():
            try:
                answers[key] = self._command_turn(key, turn)
            except Exception as error:  # noqa: BLE001 - it costs this episode, not the run
                answers[key] = CommandTurn(text="", broken=described(error))
        return answers

    def written(self, key: str) -> str:
        """What is written of the open turn of ``key`` so far; a character that is not whole yet is
        left out."""
        return self._tokenizer.decode(self._decoder.sampled(key).ids).rstrip("\ufffd")

    def _command_turn(self, key: str, turn: SampledTurn) -> CommandTurn:
        self._turns[key] += 1
        cut = turn.stop is None
        if cut:
            self._unclosed.add(key)
        elif turn.stop != (end := self._tokenizer.end_of_turn_id):
            self._decoder.replace_last(key, end)  # history shows turns as the template closes them
        return CommandTurn(
            text=self._tokenizer.decode(turn.ids),
            ids=turn.ids if cut else (*turn.ids, turn.stop or 0),
            logprobs=turn.logprobs,
            cut=cut,
        )

    def act(self, shown: Mapping[str, str]) -> dict[str, CommandTurn]:
        """One command turn for each episode in ``shown``; returns when all are complete."""
        self.observe(shown)
        answers: dict[str, CommandTurn] = {}
        while not shown.keys() <= answers.keys():
            answers |= self.poll()
        return answers

    def close(self, keys: Sequence[str]) -> None:
        self._decoder.drop(keys)
        for key in keys:
            self._turns.pop(key, None)
            self._unclosed.discard(key)
            self._recalled.pop(key, None)

    def _feed(self, key: str, text: str) -> list[int]:
        """The ids of an environment turn, up to where the next command begins."""
        turns = self._turns[key]
        self._turns[key] = turns + 1
        if turns == 0:
            return encode_prompt(self._tokenizer, [Turn(role="user", content=text)])
        ids = encode_bridge(self._tokenizer, text, after=turns)
        if key in self._unclosed:
            self._unclosed.discard(key)
            ids = [self._tokenizer.end_of_turn_id, *ids]
        return self._recalled.pop(key, []) + ids
