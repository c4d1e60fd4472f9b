"""Servers that hold the same models: which of them an episode asks, and which rest for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sekft_engine.contract.client import Client

#: A server that failed rests so long before somebody tries it again; longer each time in a row.
FIRST_REST_S, LONGEST_REST_S = 30.0, 600.0


class Member:
    """One server, and how it fares. ``tried``: somebody finds out whether it works again."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.episodes: set[str] = set()
        self.failures = 0
        self.rests_until = 0.0
        self.tried = False


class Fleet:
    """Hands out servers. For any thread.

    An episode stays on one server, whose cache then holds its history, and moves for good when
    that fails. A server that failed gets no episodes until it has rested; then one of them tries
    it. Where all rest, they are asked all the same: an episode that nobody was asked for is lost.
    """

    def __init__(
        self, clients: Sequence[Client], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._members = [Member(client) for client in clients]
        self._clock = clock
        self._lock = threading.Lock()
        self._news: list[str] = []
        self._told: set[str] = set()

    def order(self, episode: str) -> list[Member]:
        """Whom to ask for a turn of ``episode``, one after the other until one answers."""
        with self._lock:
            now = self._clock()
            awake = [one for one in self._members if _is_awake(one, now)]
            # At home first, else where there is least to do; a home that rests waits like others.
            awake.sort(key=lambda one: (episode not in one.episodes, len(one.episodes)))
            resting = [one for one in self._members if one not in awake]
            resting.sort(key=lambda one: one.rests_until)
            order = awake + resting
            self._move(episode, order[0])
            if order[0].failures:
                order[0].tried = True
            return order

    def served(self, episode: str, member: Member) -> None:
        """``member`` answered."""
        with self._lock:
            if member.failures:
                self._news.append(f"{member.client.endpoint}: it answers again")
            member.failures, member.tried = 0, False
            self._move(episode, member)

    def failed(self, member: Member, why: str) -> None:
        """``member`` did not answer. Told once, however many were waiting for it."""
        with self._lock:
            now = self._clock()
            if member.failures and now < member.rests_until and not member.tried:
                return  # they asked before it was known
            if not member.failures and len(self._members) > 1:
                self._news.append(f"{why}; its episodes go on at the other servers")
            rest = min(FIRST_REST_S * 2**member.failures, LONGEST_REST_S)
            member.failures += 1
            member.rests_until, member.tried = now + rest, False

    def leave(self, episodes: Sequence[str]) -> None:
        """These are over."""
        with self._lock:
            for member in self._members:
                member.episodes.difference_update(episodes)

    def tell(self, about: str, text: str) -> None:
        """A person should know ``text``, once, however often something is said ``about`` that."""
        with self._lock:
            if about not in self._told:
                self._told.add(about)
                self._news.append(text)

    def news(self) -> list[str]:
        """What a person should know and was not told yet."""
        with self._lock:
            told, self._news = self._news, []
            return told

    def _move(self, episode: str, home: Member) -> None:
        for member in self._members:
            member.episodes.discard(episode)
        home.episodes.add(episode)


def _is_awake(member: Member, now: float) -> bool:
    return not member.failures or (now >= member.rests_until and not member.tried)


def identity(about: Mapping[str, Any]) -> dict[str, Any]:
    """What of an eval's facts must agree for it to be gone on with: not which servers are there,
    nor how much they tell of their prompts, as long as those are compared."""
    told = {name: value for name, value in about.items() if name != "endpoints"}
    if "contract" in told:
        told["contract"] = "unchecked" if told["contract"] == "unchecked" else "equal"
    return told
