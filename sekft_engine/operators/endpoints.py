"""A fleet of servers with the same models: which one an episode asks, and which are left alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sekft_engine.contract.http.client import Client

#: A server that failed is left alone for so many seconds; twice as long after each further failure.
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 30.0, 600.0


class Member:
    """One server and its state.

    Attributes:
        episodes: those that ask this server first.
        failures: how many times in a row it failed.
        retry_at: when it may be asked again, by the fleet's clock.
        probing: an episode is finding out whether it works again.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.episodes: set[str] = set()
        self.failures = 0
        self.retry_at = 0.0
        self.probing = False


class Fleet:
    """Assigns servers to episodes. Thread-safe.

    An episode stays on one server, whose cache then holds its history, and moves for good when that
    fails. A server that failed gets no episodes for a while (exponential backoff); then one episode
    tries it. Where all servers have failed they are asked all the same, or the episode would be
    lost.

    Args:
        clients: of the servers, in order of preference.
        clock: seconds, monotonic.
    """

    def __init__(
        self, clients: Sequence[Client], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._members = [Member(client) for client in clients]
        self._clock = clock
        self._lock = threading.Lock()
        self._news: list[str] = []
        self._warned: set[str] = set()

    def order(self, episode: str) -> list[Member]:
        """The servers to ask for a turn of ``episode``, one after the other until one answers."""
        with self._lock:
            now = self._clock()
            ready = [member for member in self._members if _is_ready(member, now)]
            # Its own server first, then the one with the fewest episodes.
            ready.sort(key=lambda member: (episode not in member.episodes, len(member.episodes)))
            failed = [member for member in self._members if member not in ready]
            failed.sort(key=lambda member: member.retry_at)
            order = ready + failed
            self._move(episode, order[0])
            if order[0].failures:
                order[0].probing = True
            return order

    def served(self, episode: str, member: Member) -> None:
        """Record that ``member`` answered."""
        with self._lock:
            if member.failures:
                self._news.append(f"{member.client.endpoint}: it answers again")
            member.failures, member.probing = 0, False
            self._move(episode, member)

    def failed(self, member: Member, why: str) -> None:
        """Record that ``member`` did not answer, once for all requests that were waiting for it."""
        with self._lock:
            now = self._clock()
            if member.failures and now < member.retry_at and not member.probing:
                return  # the request was sent before the failure was known
            if not member.failures and len(self._members) > 1:
                self._news.append(f"{why}; its episodes go on at the other servers")
            backoff = min(FIRST_BACKOFF_S * 2**member.failures, LONGEST_BACKOFF_S)
            member.failures += 1
            member.retry_at, member.probing = now + backoff, False

    def leave(self, episodes: Sequence[str]) -> None:
        """Forget these episodes, which are over."""
        with self._lock:
            for member in self._members:
                member.episodes.difference_update(episodes)

    def warn(self, about: str, text: str) -> None:
        """Add ``text`` to the news unless there was news ``about`` that before."""
        with self._lock:
            if about not in self._warned:
                self._warned.add(about)
                self._news.append(text)

    def news(self) -> list[str]:
        """What users should know since the last call."""
        with self._lock:
            news, self._news = self._news, []
            return news

    def _move(self, episode: str, home: Member) -> None:
        for member in self._members:
            member.episodes.discard(episode)
        home.episodes.add(episode)


def _is_ready(member: Member, now: float) -> bool:
    return not member.failures or (now >= member.retry_at and not member.probing)


def identity(about: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of an eval that must agree for it to be resumed.

    The servers may be others, and may show more or less of their prompts, as long as the prompts
    are compared. The clock is that of the beginning, which a resumed eval goes on with.
    """
    facts = {name: value for name, value in about.items() if name not in ("endpoints", "clock")}
    if "contract" in facts:
        facts["contract"] = "unchecked" if facts["contract"] == "unchecked" else "equal"
    return facts
