"""The operator that is a model: environment text in, sampled commands out, nothing re-rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from sekft_engine.evaluate.decode import BatchedDecoder, Sampled
from sekft_engine.evaluate.episode import Said, described
from sekft_engine.render import ChatTokenizer
from sekft_engine.trajectory import Turn


class Operator(Protocol):
    """Whoever types: answers the environment turns of many episodes, each in its own time."""

    def open(self, key: str, seed: int) -> None:
        """A new episode begins."""
        ...

    def hear(self, shown: Mapping[str, str]) -> None:
        """Environment turns (episode -> text) that are to be answered."""
        ...

    def say(self) -> dict[str, Said]:
        """Go on a little; returns the command turns that are complete by now, maybe none.

        Only called while a turn that was heard is unanswered, and soon again. What it cannot say
        for one episode it returns as ``broken``; what it raises ends the run.
        """
        ...

    def close(self, keys: Sequence[str]) -> None:
        """These episodes are over."""
        ...


class ModelOperator:
    """Keeps each episode as the ids the model saw and sampled; only new ids are fed.

    Args:
        turn_tokens: most ids in one command turn. A turn that reaches it is typed as it stands
            and closed with the end-of-turn id.
        context: most ids in one episode.
    """

    def __init__(
        self,
        decoder: BatchedDecoder,
        tokenizer: ChatTokenizer,
        *,
        turn_tokens: int,
        context: int,
    ) -> None:
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._turn_tokens = turn_tokens
        self._context = context
        self._turns: dict[str, int] = {}
        self._unclosed: set[str] = set()
        self._full: list[str] = []
        self._recalled: dict[str, list[int]] = {}

    def open(self, key: str, seed: int) -> None:
        self._decoder.add(key, seed)
        self._turns[key] = 0

    def recall(self, key: str, ids: Sequence[int], turns: int) -> None:
        """The episode has come to ``turns`` turns, the last a command; ``ids`` are all of them."""
        self._recalled[key] = list(ids)
        self._turns[key] = turns

    def hear(self, shown: Mapping[str, str]) -> None:
        for key, text in shown.items():
            ids = self._feed(key, text)
            if self._decoder.length(key) + len(ids) + self._turn_tokens > self._context:
                self._full.append(key)
            else:
                self._decoder.feed(key, ids, self._turn_tokens)

    def say(self) -> dict[str, Said]:
        """One step of the model for all rows with an open turn."""
        said = {key: Said(text="", exhausted=True) for key in self._full}
        self._full.clear()
        for key, turn in self._decoder.step().items():
            try:
                said[key] = self._said(key, turn)
            except Exception as error:  # noqa: BLE001 - it costs this episode, not the run
                said[key] = Said(text="", broken=described(error))
        return said

    def _said(self, key: str, turn: Sampled) -> Said:
        self._turns[key] += 1
        cut = turn.stop is None
        if cut:
            self._unclosed.add(key)
        return Said(
            text=self._tokenizer.decode(turn.ids),
            ids=turn.ids if cut else (*turn.ids, turn.stop or 0),
            logprobs=turn.logprobs,
            cut=cut,
        )

    def act(self, shown: Mapping[str, str]) -> dict[str, Said]:
        """One command turn for each episode in ``shown``, however long it takes."""
        self.hear(shown)
        said: dict[str, Said] = {}
        while not shown.keys() <= said.keys():
            said |= self.say()
        return said

    def close(self, keys: Sequence[str]) -> None:
        self._decoder.drop(keys)
        for key in keys:
            self._turns.pop(key, None)
            self._unclosed.discard(key)
            self._recalled.pop(key, None)

    def _feed(self, key: str, text: str) -> list[int]:
        """The ids that follow what the episode holds, up to where the next command begins."""
        turns = self._turns[key]
        self._turns[key] = turns + 1
        if turns == 0:
            return self._tokenizer.encode_prompt([Turn(role="user", content=text)])
        ids = self._tokenizer.bridge(text, after=turns)
        if key in self._unclosed:
            self._unclosed.discard(key)
            ids = [self._tokenizer.end_of_turn_id, *ids]
        return self._recalled.pop(key, []) + ids
