"""An HTTP client for model servers, with bounded answers, retries, and clear errors.

It follows no redirects, so that the key is sent to no other server, and shows the key in no error.
"""

from __future__ import annotations

import base64
import math
import os
import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from sekft_engine.contract.http import words
from sekft_engine.contract.http.address import is_local, parse, sent
from sekft_engine.contract.http.fault import Fault, fault_of
from sekft_engine.contract.http.proxies import proxy_for
from sekft_engine.contract.http.stream import MEDIA_TYPE, StreamedCompletion
from sekft_engine.contract.http.trust import trusted
from sekft_engine.core.errors import BadInput
from sekft_engine.core.text import visible

if TYPE_CHECKING:
    from sekft_engine.contract.http.wire import Wire

#: The environment variable that OpenAI clients read a key from.
KEY_VARIABLE = "OPENAI_API_KEY"
#: Most bytes of any answer. Most have a smaller limit, see :meth:`Client.post`.
MAX_BYTES = 64 << 20
#: The default limit of an answer: so many bytes, and so many times the size of the request. The ids
#: of a prompt with their names are well below it.
_ROOM, _TIMES = 4 << 20, 64
ATTEMPTS = 4
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0
_SHOWN = 240
#: A shorter key may occur in a text by chance ("EMPTY", "ollama"): it is removed from messages, but
#: not from a model's text.
_SECRET = 12


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of a server.

    Attributes:
        status: the HTTP status.
        body: the parsed JSON.
        fault: why there is no body.
        words: the server's error message, without the key.
    """

    status: int
    body: Any = None
    fault: str = ""
    words: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300 and not self.fault

    @property
    def message(self) -> str:
        """The server's error message in one short, visible line; empty = none."""
        line = visible(" ".join(self.words.split()))
        return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"

    @property
    def summary(self) -> str:
        """Why this is no usable answer, in a few words."""
        if self.fault:
            status = "" if 200 <= self.status < 300 else f"HTTP {self.status}, "
            return status + self.fault
        return f"HTTP {self.status}" + (f": {self.message}" if self.message else "")


def passes(status: int) -> bool:
    """Whether a retry may succeed after an answer with this status."""
    return status in (408, 425, 429) or (500 <= status < 600 and status not in (501, 505, 511))


def _asked_again(answer: Answer) -> bool:
    return passes(answer.status)


class Client:
    """Talks to the server at ``endpoint`` (with or without a closing ``/v1``).

    Args:
        endpoint: ``http://`` or ``https://`` address.
        api_key: sent as a bearer token; '' = none.
        timeout: most seconds of one attempt.
        attempts: most attempts on 429, 5xx and lost connections. There is no retry after a
            time-out.
        limit: most bytes of any answer.
        patience: the longest ``Retry-After`` that is obeyed, in seconds.
        connections: most requests at a time; others wait.
        sleep: waits between attempts.

    Raises:
        BadInput: ``endpoint`` is no such address, the key is not valid in a header, or an
            environment variable for it (a proxy, certificates) is invalid.
        Unavailable: the environment names a kind of proxy that is not supported here.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        api_key: str = "",
        timeout: float = 30.0,
        attempts: int = ATTEMPTS,
        limit: int = MAX_BYTES,
        patience: float = _LONGEST_PAUSE,
        connections: int = 100,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        from sekft_engine.contract.http.wire import Wire

        parts = parse(endpoint)
        if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise BadInput(
                "the API key holds characters that no header can carry",
                mend="set its environment variable to the key alone",
            )
        path = parts.path.rstrip("/")
        path = path.removesuffix("/v1")
        host = parts.netloc.rpartition("@")[2]
        #: The address to show, without user and password.
        self.endpoint = f"{parts.scheme}://{host}{path}"
        self._url = sent(parts, path)
        # A proxy in the environment is for other machines only.
        self._proxy = None if is_local(endpoint) else proxy_for(self._url)
        self._timeout, self._attempts, self._limit, self._sleep = timeout, attempts, limit, sleep
        self._patience = patience
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        proxied = self._proxy.password if self._proxy else ""
        self._secrets = [secret for secret in (api_key, password, proxied) if secret]
        self._headers = {"User-Agent": "sekft", "Accept": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        if user:
            pair = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {pair}"
        secure = "https" in (parts.scheme, self._proxy.scheme if self._proxy else "")
        self._wire: Wire = Wire(
            connections=connections, trust=trusted() if secure else None, proxy=self._proxy
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._wire.close()

    def get(self, path: str) -> Answer:
        return self._ask("GET", path, None, _ROOM, _asked_again)

    def post(
        self,
        path: str,
        body: Any,
        *,
        limit: int | None = None,
        again: Callable[[Answer], bool] = _asked_again,
        written: Callable[[str], None] | None = None,
    ) -> Answer:
        """Send ``body`` as JSON.

        Args:
            written: takes the words of a streamed answer so far, whenever there are more.
            limit: most bytes of the answer; None = by the size of what is sent.
            again: whether to retry after an answer, if attempts remain.

        Raises:
            Fault: there is no server, or it does not answer within the limits. An error that it
                answers is returned.
        """
        content = msgspec.json.encode(body)
        room = _ROOM + _TIMES * len(content) if limit is None else limit
        return self._ask("POST", path, content, room, again, written)

    def _ask(
        self,
        method: str,
        path: str,
        content: bytes | None,
        limit: int,
        again: Callable[[Answer], bool],
        written: Callable[[str], None] | None = None,
    ) -> Answer:
        pause, wait = _FIRST_PAUSE, 0.0
        for attempt in range(1, self._attempts + 1):
            last = attempt == self._attempts
            try:
                answer, wait = self._once(method, path, content, min(limit, self._limit), written)
            except Fault as fault:
                if last or not fault.again:
                    raise
            else:
                if last or not again(answer):
                    return answer
            self._sleep(max(pause, min(wait, self._patience)))
            pause, wait = min(2 * pause, _LONGEST_PAUSE), 0.0
        raise AssertionError("unreachable")  # pragma: no cover

    def _once(
        self,
        method: str,
        path: str,
        content: bytes | None,
        limit: int,
        written: Callable[[str], None] | None,
    ) -> tuple[Answer, float]:
        """One attempt; returns the answer, and the seconds that the server asks to wait."""
        import httpcore

        from sekft_engine.contract.http.wire import Encoded, Late, TooLong

        headers = {"Content-Type": "application/json"} if content is not None else {}
        try:
            reply = self._wire.exchange(
                method,
                self._url + path,
                headers=self._headers | headers,
                content=content,
                seconds=self._timeout,
                limit=limit,
                tap=None if written is None else self._tap(written),
            )
        except Late:
            raise Fault(
                "timed out",
                f"no whole answer within {self._timeout:g} s",
                where=self.endpoint,
                mend="is the server busy or still loading? give it longer with --timeout",
                again=False,
            ) from None
        except TooLong:
            raise Fault(
                "too large",
                f"the answer is longer than {_size(limit)}",
                where=self.endpoint,
                mend="is this the model server's address?",
                again=False,
            ) from None
        except Encoded as encoding:
            raise Fault(
                "packed",
                f"an answer that cannot be unpacked ({visible(str(encoding))})",
                where=self.endpoint,
                mend="let the server, or the gateway before it, answer uncompressed",
                again=False,
            ) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
            raise fault_of(
                error, where=self.endpoint, proxy=self._proxy, shown=self._shown
            ) from None  # the original may contain headers
        target = reply.headers.get("location", "") if 300 <= reply.status < 400 else ""
        data = reply.data
        if reply.headers.get("content-type", "").lower().startswith(MEDIA_TYPE):
            data = self._joined(data)
        answer = self._read(reply.status, data, target)
        return answer, _seconds(reply.headers.get("retry-after", ""))

    def _tap(self, written: Callable[[str], None]) -> Callable[[str], Callable[[bytes], None]]:
        """Shows the words of a stream as they come."""

        def tap(kind: str) -> Callable[[bytes], None]:
            streamed = StreamedCompletion()

            def take(piece: bytes) -> None:
                if kind == MEDIA_TYPE:
                    streamed.feed(piece)
                    written(self._clean(streamed.text))

            return take

        return tap

    def _joined(self, data: bytes) -> bytes:
        """A stream as the answer that it would have been without one.

        Raises:
            Fault: it broke off.
        """
        streamed = StreamedCompletion()
        streamed.feed(data)
        streamed.close()
        if not streamed.whole:
            raise Fault(
                "lost",
                "the stream of the answer broke off",
                where=self.endpoint,
                mend="look at the server's log",
                again=True,
            )
        return msgspec.json.encode(streamed.body())

    def _read(self, status: int, data: bytes, target: str) -> Answer:
        if target:
            return Answer(status=status, fault=f"a redirect to {self._shown(target)}")
        for secret in self._secrets:
            if len(secret) >= _SECRET:
                data = data.replace(secret.encode(), b"***")
        try:
            body = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            fault = _not_json(data, error)
            said = "" if fault.startswith("HTML") else data[:4096].decode(errors="replace")
            return Answer(status=status, fault=fault, words=self._clean(said))
        said = words.message(body)
        if not said and status >= 400 and body:
            said = words.compact(body, _SHOWN)
        return Answer(status=status, body=body, words=self._clean(said)[:4096])

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _shown(self, text: str) -> str:
        """A text of the server as it may be shown."""
        return visible(self._clean(text)[:_SHOWN])


def key_from(variable: str | None, endpoint: str) -> str:
    """The API key for ``endpoint``; empty = none.

    Args:
        variable: the environment variable that was named; None = :data:`KEY_VARIABLE` where it
            is set, and only over TLS or to this machine: that key may be for another server.
    """
    if variable is None:
        safe = endpoint.lower().startswith("https://") or is_local(endpoint)
        return os.environ.get(KEY_VARIABLE, "").strip() if safe else ""
    key = os.environ.get(variable, "").strip()
    if not key:
        # The key itself may have been given by mistake: it is not shown.
        named = re.fullmatch(r"[A-Z][A-Z0-9_]*", variable) is not None
        raise BadInput(
            f"the environment variable {variable if named else 'of --api-key-env'} is not set",
            mend="--api-key-env takes the name of a variable that holds the key",
        )
    return key


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"


def _seconds(wait: str) -> float:
    """The seconds of ``Retry-After``, a number or a date; 0 where it is invalid or in the past."""
    try:
        found = float(wait)
    except ValueError:
        try:
            found = parsedate_to_datetime(wait).timestamp() - time.time()
        except (ValueError, OverflowError, TypeError, OSError):
            # No valid date.
            return 0.0
    return max(0.0, found) if math.isfinite(found) else 0.0


def _not_json(data: bytes, error: Exception) -> str:
    if not data.strip():
        return "an empty answer"
    if data.lstrip()[:1] == b"<":
        return "HTML instead of JSON"
    if isinstance(error, RecursionError):
        return "no JSON: it is nested too deep"
    if "truncated" in str(error):
        return "JSON that is cut off"
    return "no JSON"
