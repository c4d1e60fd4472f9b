"""The routes on which servers show the prompts that they feed their models, strongest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec

from sekft_engine.contract.fields import FieldNeeded, Fields, SentFields
from sekft_engine.contract.http.client import Answer, Client, passes
from sekft_engine.core.errors import Unavailable
from sekft_engine.data.trajectory import Turn

#: What is compared: every token, the text of the prompt, or only the number of tokens.
Strength = Literal["tokens", "text", "counts"]
Messages = list[dict[str, str]]


class ServedPrompt(msgspec.Struct, frozen=True, kw_only=True):
    """A server's prompt for messages; what it does not show is None.

    Attributes:
        count: number of tokens.
        ids: token ids.
        text: the text.
        pieces: the server's names for ``ids``.
        opened: ``text`` may lack the BOS, which the server adds when it tokenises.
    """

    count: int | None = None
    ids: tuple[int, ...] | None = None
    text: str | None = None
    pieces: tuple[str, ...] | None = None
    opened: bool = False


class Refusal(msgspec.Struct, frozen=True):
    """A server's refusal of messages: the HTTP status, and its message."""

    status: int
    message: str


class Route(Protocol):
    """A route on which a server shows prompts."""

    name: str
    strength: Strength

    def ask(self, messages: Messages) -> ServedPrompt | Refusal:
        """The prompt that the server feeds its model for ``messages``."""

    def text(self, ids: Sequence[int]) -> str | None:
        """The server's text of ``ids``; None where it has no such route."""

    def cut(self, text: str) -> tuple[int, ...] | None:
        """The server's ids of a rendered ``text``; None where it has no such route."""


class Unusable(Exception):
    """The server does not have this route; the message says why."""


class TokenizeRoute:
    """``POST /tokenize`` with ``messages``: vLLM, and ``sekft serve``."""

    strength: Strength = "tokens"

    def __init__(self, client: Client, model: str, path: str = "/tokenize") -> None:
        self.name = f"POST {path}"
        self._client, self._model, self._path = client, model, path

    def ask(self, messages: Messages) -> ServedPrompt | Refusal:
        body: dict[str, Any] = {
            "messages": messages,
            "add_generation_prompt": True,
            # As the chat route has it: the template writes the BOS.
            "add_special_tokens": False,
            "return_token_strs": True,
        }
        if self._model:
            body["model"] = self._model
        answer = self._client.post(self._path, body)
        if refusal := _refusal(answer, self._client):
            return refusal
        ids = _ids(_fields(answer).get("tokens"))
        if not ids:
            # llama.cpp has a route of this name, for text only.
            raise Unusable("no tokens for messages")
        pieces = _fields(answer).get("token_strs")
        named = isinstance(pieces, list) and len(pieces) == len(ids)
        return ServedPrompt(
            count=len(ids), ids=ids, pieces=tuple(map(str, pieces)) if named and pieces else None
        )

    def text(self, ids: Sequence[int]) -> str | None:
        body: dict[str, Any] = {"tokens": list(ids)}
        if self._model:
            body["model"] = self._model
        answer = self._client.post(self._path.replace("tokenize", "detokenize"), body)
        text = answer.body.get("prompt") if _is_object(answer) else None
        return text if isinstance(text, str) else None

    def cut(self, text: str) -> tuple[int, ...] | None:
        body: dict[str, Any] = {"prompt": text, "add_special_tokens": False}
        if self._model:
            body["model"] = self._model
        answer = self._client.post(self._path, body)
        return (_ids(answer.body.get("tokens")) or None) if _is_object(answer) else None


class TemplateRoute:
    """llama.cpp: ``POST /apply-template`` gives the text, its own ``POST /tokenize`` the ids."""

    def __init__(self, client: Client, model: str) -> None:
        self.name = "POST /apply-template"
        self.strength: Strength = "text"
        self._client, self._model = client, model

    def probe(self, messages: Messages) -> ServedPrompt | Refusal:
        """Ask for the first time, which decides whether the server also shows ids."""
        self.strength = "tokens"
        prompt = self.ask(messages)
        if isinstance(prompt, ServedPrompt):
            if prompt.ids:
                self.name = "POST /apply-template, POST /tokenize"
            else:
                self.strength = "text"
        return prompt

    def ask(self, messages: Messages) -> ServedPrompt | Refusal:
        body: dict[str, Any] = {"messages": messages, "add_generation_prompt": True}
        if self._model:
            body["model"] = self._model
        answer = self._client.post("/apply-template", body)
        if refusal := _refusal(answer, self._client):
            return refusal
        text = _fields(answer).get("prompt")
        if not isinstance(text, str):
            raise Unusable("no prompt in the answer")
        ids = self._tokens(text) if self.strength == "tokens" else None
        return ServedPrompt(
            text=text, ids=ids, count=len(ids) if ids is not None else None, opened=True
        )

    def _tokens(self, text: str) -> tuple[int, ...] | None:
        # As its chat route does it: BOS by the vocabulary's own rule, control tokens parsed.
        answer = self._client.post(
            "/tokenize", {"content": text, "add_special": True, "parse_special": True}
        )
        return (_ids(answer.body.get("tokens")) or None) if _is_object(answer) else None

    def text(self, ids: Sequence[int]) -> str | None:
        return None

    def cut(self, text: str) -> tuple[int, ...] | None:
        return self._tokens(text) if self.strength == "tokens" else None


class ChatRoute:
    """``POST /v1/chat/completions`` for one token. Servers that know ``return_token_ids`` (vLLM)
    show the prompt's ids; of the others only ``usage.prompt_tokens`` is known."""

    path = "/v1/chat/completions"

    def __init__(self, client: Client, model: str) -> None:
        self.name = f"POST {self.path}"
        self.strength: Strength = "counts"
        self._client, self._model = client, model
        # A strict server may refuse fields that it does not know.
        more = {"return_token_ids": True, "temperature": 0}
        self._fields = Fields({"max_tokens": 1}, more)

    def probe(self, messages: Messages) -> ServedPrompt | Refusal:
        """Ask for the first time, which decides what the server shows."""
        prompt = self.ask(messages)
        if isinstance(prompt, ServedPrompt) and prompt.ids is not None:
            self.strength = "tokens"
        return prompt

    def ask(self, messages: Messages) -> ServedPrompt | Refusal:
        sent: SentFields | None = self._fields.now
        while sent is not None:
            tried = sent
            answer = self._post(messages, tried)
            sent = self._after(tried, answer)
        if refusal := _refusal(answer, self._client):
            return refusal
        self._fields.took(tried)
        fields = _fields(answer)
        ids = _ids(fields.get("prompt_token_ids")) or None
        usage = fields.get("usage")
        count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        if ids is None and type(count) is not int:
            raise Unusable("no usage.prompt_tokens in the answer")
        return ServedPrompt(ids=ids, count=len(ids) if ids is not None else count)

    def _post(self, messages: Messages, sent: SentFields) -> Answer:
        body = {"model": self._model or "default", "messages": messages, "stream": False}

        def again(answer: Answer) -> bool:
            return passes(answer.status) and self._after(sent, answer) is None

        return self._client.post(self.path, body | sent.fields, again=again)

    def _after(self, sent: SentFields, answer: Answer) -> SentFields | None:
        try:
            return self._fields.after(sent, answer)
        except FieldNeeded:  # the refusal is reported
            return None

    def text(self, ids: Sequence[int]) -> str | None:
        return None

    def cut(self, text: str) -> tuple[int, ...] | None:
        return None


def find_route(client: Client, model: str, probe: Messages) -> Route:
    """The strongest route on which the server answers ``probe``.

    Raises:
        Unavailable: there is none, or the key is wrong.
    """
    tried: list[str] = []
    for route in (
        TokenizeRoute(client, model),
        TokenizeRoute(client, model, "/v1/tokenize"),
        TemplateRoute(client, model),
        ChatRoute(client, model),
    ):
        try:
            settle = getattr(route, "probe", route.ask)
            answer: ServedPrompt | Refusal = settle(probe)
        except Unusable as reason:
            tried.append(f"{route.name}: {reason}")
            continue
        if isinstance(answer, ServedPrompt):
            return route
        tried.append(f"{route.name}: {_said(answer)}")
    raise Unavailable(
        f"no route shows the prompts of the model ({'; '.join(tried)})",
        where=client.endpoint,
        mend="give the address of an OpenAI-compatible server, and its model with --model",
    )


def list_models(client: Client) -> tuple[str, ...]:
    """The names of the server's models; empty where it does not list them."""
    answer = client.get("/v1/models")
    if answer.status in (401, 403):
        raise _wrong_key(answer, client)
    data = answer.body.get("data") if _is_object(answer) else None
    rows = data if isinstance(data, list) else []
    names = (row.get("id") for row in rows if isinstance(row, dict))
    return tuple(name for name in names if isinstance(name, str) and name)


def messages_of(turns: Sequence[Turn]) -> Messages:
    """``turns`` as the messages of a chat request."""
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def _refusal(answer: Answer, client: Client) -> Refusal | None:
    """The server's refusal, or None where it is none.

    Raises:
        Unavailable: the key is wrong.
    """
    if answer.status in (401, 403):
        raise _wrong_key(answer, client)
    if answer.fault and answer.status < 400:
        raise Unusable(answer.fault)
    if answer.status >= 300:
        return Refusal(answer.status, answer.message)
    return None


def _wrong_key(answer: Answer, client: Client) -> Unavailable:
    said = f": {answer.message}" if answer.message else ""
    return Unavailable(
        f"the server wants another API key (HTTP {answer.status}{said})",
        where=client.endpoint,
        mend="name the environment variable that holds its key with --api-key-env",
    )


def _said(refusal: Refusal) -> str:
    return f"HTTP {refusal.status}" + (f" {refusal.message}" if refusal.message else "")


def _is_object(answer: Answer) -> bool:
    return answer.ok and isinstance(answer.body, dict)


def _fields(answer: Answer) -> dict[str, Any]:
    if not isinstance(answer.body, dict):
        raise Unusable("no JSON object")
    return answer.body


def _ids(tokens: Any) -> tuple[int, ...]:
    """Ids as numbers; llama.cpp may wrap each with its name. Empty where there are none."""
    if not isinstance(tokens, list):
        return ()
    found = [item.get("id") if isinstance(item, dict) else item for item in tokens]
    whole = tuple(item for item in found if type(item) is int)
    return whole if len(whole) == len(found) else ()
