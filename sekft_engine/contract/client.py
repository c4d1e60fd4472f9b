"""A small HTTP client for model servers: bounded, patient where it helps, and plain about faults.

It never follows redirects (a key must not travel on), and no key reaches an error or a log.
"""

from __future__ import annotations

import math
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

import msgspec

from sekft_engine.errors import BadInput, SekftError, Unavailable
from sekft_engine.visible import visible

if TYPE_CHECKING:
    import httpx

#: The environment variable that OpenAI clients read a key from.
KEY_VARIABLE = "OPENAI_API_KEY"
#: Answers larger than this are refused: a million token ids with their strings stay well below.
MAX_BYTES = 64 << 20
#: Statuses after which the same request may succeed.
PASSING = frozenset({429, 500, 502, 503, 504})
ATTEMPTS = 4
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0
_SHOWN = 240


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a server said. ``body`` is the parsed JSON; ``fault`` says why there is none."""

    status: int
    body: Any = None
    fault: str = ""
    words: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300 and not self.fault

    @property
    def message(self) -> str:
        """The server's own words in one short, visible line; '' when it said nothing."""
        found = _message(self.body) or self.words
        line = visible(" ".join(found.split()))
        return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"

    @property
    def summary(self) -> str:
        """Why this is no usable answer, in a clause."""
        if self.fault:
            status = "" if 200 <= self.status < 300 else f"HTTP {self.status}, "
            return status + self.fault
        return f"HTTP {self.status}" + (f": {self.message}" if self.message else "")


class Client:
    """Talks to the server at ``endpoint`` (with or without a closing ``/v1``).

    Args:
        endpoint: ``http://`` or ``https://`` address.
        api_key: sent as a bearer token; '' = none.
        timeout: seconds that one attempt may take as a whole.
        attempts: tries on 429, 5xx and lost connections. A time-out is not tried again.
        patience: seconds that a server may ask to be left alone before the next try.
        connections: requests that are under way at once; more would wait for each other.
        sleep: waits between tries.

    Raises:
        BadInput: ``endpoint`` is no such address, or the key cannot stand in a header.
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
        import httpx

        parts = _parse(endpoint)
        self._secrets = [secret for secret in (api_key, parts.password or "") if secret]
        if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise BadInput(
                "the API key holds characters that no header can carry",
                mend="set its environment variable to the key alone",
            )
        path = parts.path.rstrip("/")
        path = path.removesuffix("/v1")
        host = parts.netloc.rpartition("@")[2]
        #: The address as it may be shown: no user, no password.
        self.endpoint = f"{parts.scheme}://{host}{path}"
        self._timeout, self._attempts, self._limit, self._sleep = timeout, attempts, limit, sleep
        self._patience = patience
        auth = (parts.username, parts.password or "") if parts.username else None
        headers = {"User-Agent": "sekft", "Accept": "application/json"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        self._http = httpx.Client(
            headers=headers,
            auth=auth,
            timeout=timeout,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            follow_redirects=False,
            # A proxy in the environment is meant for the world, never for this machine.
            trust_env=not is_local(endpoint),
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def get(self, path: str) -> Answer:
        return self._ask("GET", path, None)

    def post(self, path: str, body: Any) -> Answer:
        """Send ``body`` as JSON.

        Raises:
            Unavailable: there is no server, it does not answer in time or answers without end.
                Whatever it does answer, an error included, is returned.
        """
        return self._ask("POST", path, msgspec.json.encode(body))

    def _ask(self, method: str, path: str, content: bytes | None) -> Answer:
        import httpx

        pause, wait = _FIRST_PAUSE, 0.0
        for attempt in range(1, self._attempts + 1):
            last = attempt == self._attempts
            try:
                answer, wait = self._once(method, path, content)
            except httpx.InvalidURL as error:
                raise BadInput(f"no usable address: {error}", where=self.endpoint) from error
            except httpx.HTTPError as error:
                fault, again = self._fault(error)
                if last or not again:
                    raise fault from None  # the original may quote headers
            else:
                if last or answer.status not in PASSING:
                    return answer
            self._sleep(max(pause, min(wait, self._patience)))
            pause, wait = min(2 * pause, _LONGEST_PAUSE), 0.0
        raise AssertionError("unreachable")  # pragma: no cover

    def _once(self, method: str, path: str, content: bytes | None) -> tuple[Answer, float]:
        """One attempt: the answer, and the seconds that the server asks to wait."""
        headers = {"Content-Type": "application/json"} if content is not None else {}
        until = time.monotonic() + self._timeout
        with self._http.stream(
            method, self.endpoint + path, content=content, headers=headers
        ) as reply:
            data = b"".join(self._bounded(reply.iter_bytes(), until))
            wait = reply.headers.get("retry-after", "")
            target = reply.headers.get("location", "") if reply.is_redirect else ""
        answer = self._read(reply.status_code, data, target)
        return answer, _seconds(wait)

    def _bounded(self, chunks: Iterator[bytes], until: float) -> Iterator[bytes]:
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if size > self._limit:
                raise Unavailable(
                    f"the answer is longer than {self._limit >> 20} MiB",
                    where=self.endpoint,
                    mend="is this the model server's address?",
                )
            if time.monotonic() > until:
                raise self._late()
            yield chunk

    def _read(self, status: int, data: bytes, target: str) -> Answer:
        if target:
            shown = visible(self._clean(target)[:_SHOWN])
            return Answer(status=status, fault=f"a redirect to {shown}")
        try:
            return Answer(status=status, body=msgspec.json.decode(self._clean_bytes(data)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            fault = _not_json(data, error)
        words = (
            "" if fault.startswith("HTML") else self._clean(data[:4096].decode(errors="replace"))
        )
        return Answer(status=status, fault=fault, words=words)

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _clean_bytes(self, data: bytes) -> bytes:
        for secret in self._secrets:
            data = data.replace(secret.encode(), b"***")
        return data

    def _late(self) -> Unavailable:
        return Unavailable(
            f"no whole answer within {self._timeout:g} s",
            where=self.endpoint,
            mend="is the server busy or still loading? give it longer with --timeout",
        )

    def _fault(self, error: httpx.HTTPError) -> tuple[SekftError, bool]:
        """The error for a person, and whether to try again."""
        import httpx

        roots = tuple(_roots(error))
        if isinstance(error, httpx.TimeoutException):
            return self._late(), False
        if any(isinstance(root, socket.gaierror) for root in roots):
            return self._unreachable("no such host", "check the name, or your network"), False
        for root in roots:
            if isinstance(root, ssl.SSLCertVerificationError):
                why = f"its TLS certificate is not trusted: {root.verify_message}"
                mend = "name the authority that signed it in SSL_CERT_FILE"
                return self._unreachable(why, mend), False
        if any(isinstance(root, ssl.SSLError) for root in roots):
            return self._unreachable("no TLS there", "try it with http://"), False
        if any(isinstance(root, ConnectionRefusedError) for root in roots):
            mend = "start the server, or give its address with --endpoint"
            return self._unreachable("nothing listens there", mend), True
        if isinstance(error, httpx.ConnectError):
            return self._unreachable("cannot connect", "check address and network"), True
        if isinstance(error, httpx.RemoteProtocolError):
            why = "it hung up, or does not speak HTTP"
            return self._unreachable(why, "is it an https:// address?"), True
        return self._unreachable("the connection broke", "look at the server's log"), True

    def _unreachable(self, what: str, mend: str) -> Unavailable:
        return Unavailable(what, where=self.endpoint, mend=mend)


def key_from(variable: str | None, endpoint: str) -> str:
    """The API key to send to ``endpoint``; '' = none.

    Args:
        variable: the environment variable that was named; None = :data:`KEY_VARIABLE` where it
            is set, and only over TLS or to this machine: that key may belong to somebody else.
    """
    if variable is None:
        safe = endpoint.lower().startswith("https://") or is_local(endpoint)
        return os.environ.get(KEY_VARIABLE, "").strip() if safe else ""
    key = os.environ.get(variable, "").strip()
    if not key:
        # Somebody may have given the key itself: it must not be repeated.
        named = re.fullmatch(r"[A-Z][A-Z0-9_]*", variable) is not None
        raise BadInput(
            f"the environment variable {variable if named else 'of --api-key-env'} is not set",
            mend="--api-key-env takes the name of a variable that holds the key",
        )
    return key


def is_local(endpoint: str) -> bool:
    """Whether ``endpoint`` is on this machine."""
    try:
        host = urlsplit(endpoint).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _parse(endpoint: str) -> SplitResult:
    mend = "write it as http://host:8000"
    try:
        parts = urlsplit(endpoint.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        raise BadInput("no usable address", where="--endpoint", mend=mend) from None
    if not usable:
        raise BadInput("no http:// or https:// address", where="--endpoint", mend=mend)
    if parts.query or parts.fragment:
        raise BadInput("an address has no ? or # part", where="--endpoint", mend=mend)
    return parts


def _seconds(wait: str) -> float:
    """``Retry-After``: a number of seconds, or a date; 0 where it is neither, or has passed."""
    try:
        found = float(wait)
    except ValueError:
        try:
            found = parsedate_to_datetime(wait).timestamp() - time.time()
        except ValueError:
            return 0.0
    return max(0.0, found) if math.isfinite(found) else 0.0


def _roots(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what it came from, innermost last."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _not_json(data: bytes, error: Exception) -> str:
    if not data.strip():
        return "an empty answer"
    if data.lstrip()[:1] == b"<":
        return "HTML instead of JSON"
    if "truncated" in str(error):
        return "JSON that is cut off"
    return "no JSON"


def _message(body: Any) -> str:
    """The words of an error as OpenAI, vLLM, llama.cpp and FastAPI put them."""
    if not isinstance(body, dict):
        return ""
    for key in ("error", "message", "detail"):
        value = body.get(key)
        if isinstance(value, dict):
            value = value.get("message")
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = value[0].get("msg")
        if isinstance(value, str) and value:
            return value
    return ""
