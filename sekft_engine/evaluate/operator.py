"""The operator that is a model: environment text in, sampled commands out, nothing re-rendered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from sekft_engine.evaluate.decode import BatchedDecoder
from sekft_engine.evaluate.episode import Said
from sekft_engine.render import ChatTokenizer
from sekft_engine.trajectory import Turn


class Operator(Protocol):
    """Whoever types: answers the environment turns of many episodes at once."""

    def open(self, key: str, seed: int) -> None:
        """A new episode begins."""
        ...

    def act(self, shown: Mapping[str, str]) -> dict[str, Said]:
        """One command turn for each episode in ``shown`` (episode -> environment turn)."""
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
        step: Callable[[int, int], None] = lambda _open, _done: None,
    ) -> None:
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._turn_tokens = turn_tokens
        self._context = context
        self._step = step
        self._turns: dict[str, int] = {}
        self._unclosed: set[str] = set()
        self._recalled: dict[str, list[int]] = {}

    def open(self, key: str, seed: int) -> None:
        self._decoder.add(key, seed)
        self._turns[key] = 0

    def recall(self, key: str, ids: Sequence[int], turns: int) -> None:
        """The episode has come to ``turns`` turns, the last a command; ``ids`` are all of them."""
        self._recalled[key] = list(ids)
        self._turns[key] = turns

    def act(self, shown: Mapping[str, str]) -> dict[str, Said]:
        feeds = {key: self._feed(key, text) for key, text in shown.items()}
        said: dict[str, Said] = {}
        for key, ids in list(feeds.items()):
            if self._decoder.length(key) + len(ids) + self._turn_tokens > self._context:
                said[key] = Said(text="", exhausted=True)
                del feeds[key]
        sampled = self._decoder.turns(feeds, dict.fromkeys(feeds, self._turn_tokens), self._step)
        for key, turn in sampled.items():
            self._turns[key] += 1
            cut = turn.stop is None
            if cut:
                self._unclosed.add(key)
            said[key] = Said(
                text=self._tokenizer.decode(turn.ids),
                ids=turn.ids if cut else (*turn.ids, turn.stop or 0),
                logprobs=turn.logprobs,
                cut=cut,
            )
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
