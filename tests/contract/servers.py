"""Small real model servers that speak the protocols of vLLM, llama.cpp and OpenAI, right or wrong.

They hold no model: what is under test is what a server would feed one.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from jinja2 import TemplateError

Messages = list[dict[str, str]]
Body = Mapping[str, Any]
#: Messages to what is fed to the model.
Feed = Callable[[Messages], list[int]]


class Reply:
    """What a route answers; a plain dict is the JSON of a 200."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.headers = status, dict(headers or {})
        self.data = body if isinstance(body, bytes) else json.dumps(body).encode()


Answer = Callable[[Body], "Reply | dict[str, Any]"]


def error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    body = {"error": {"message": message, "type": "BadRequestError", "code": status}}
    return Reply(status, body, headers)


class ModelServer:
    """Serves ``routes`` (``"POST /tokenize"`` -> answer) on this machine while it is entered."""

    def __init__(self, routes: Mapping[str, Answer], *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body in one packet: else each answer waits for a delayed acknowledgement.
            wbufsize = 1 << 16
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                size = int(self.headers.get("Content-Length", 0))
                self._answer(json.loads(self.rfile.read(size) or b"{}"))

            def _answer(self, body: Any) -> None:
                line = f"{self.command} {self.path}"
                outer.requests.append((line, dict(self.headers), body))
                answer = routes.get(line)
                if answer is None:
                    reply = error(404, "Not Found")
                else:
                    try:
                        said = answer(body)
                    except TemplateError as refusal:
                        said = error(400, str(refusal))
                    reply = said if isinstance(said, Reply) else Reply(200, said)
                self.send_response(reply.status)
                for name, value in ({"Content-Type": "application/json"} | reply.headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.data)))
                self.end_headers()
                self.wfile.write(reply.data)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
            self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> ModelServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def asked(self, route: str) -> list[Any]:
        """The bodies of all requests to ``route``."""
        return [body for line, _, body in self.requests if line == route]


@contextmanager
def raw_server(
    talk: Callable[[socket.socket, threading.Event], object],
    asked: dict[socket.socket, bytes] | None = None,
) -> Iterator[str]:
    """A server that accepts, reads a little (kept in ``asked``) and then does as ``talk`` says."""
    done = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while not done.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    said = connection.recv(65536)
                    if asked is not None:
                        asked[connection] = said
                    talk(connection, done)
                except OSError:
                    pass

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        done.set()
        listener.close()


# --- what feeds a model ---------------------------------------------------------------------------


def transformers_feed(tokenizer: Any, **options: Any) -> Feed:
    """As vLLM and most servers do: the chat template, then the rendered text, all of it."""

    def feed(messages: Messages) -> list[int]:
        asked = {"add_generation_prompt": True, "return_dict": False} | options
        ids = tokenizer.apply_chat_template(messages, **asked)
        return [int(token) for token in ids]

    return feed


def changed(feed: Feed, change: Callable[[str, str], str]) -> Feed:
    """``feed`` behind something that changes each content by (role, content)."""
    return lambda messages: feed(
        [
            {"role": message["role"], "content": change(message["role"], message["content"])}
            for message in messages
        ]
    )


# --- protocols ------------------------------------------------------------------------------------


def models(*names: str) -> dict[str, Answer]:
    data = [{"id": name, "object": "model"} for name in names]
    return {"GET /v1/models": lambda _: {"object": "list", "data": data}}


def vllm(feed: Feed, tokenizer: Any, *, chat: Feed | None = None) -> dict[str, Answer]:
    """vLLM's ``/tokenize``, ``/detokenize`` and chat route."""

    def tokenize(body: Body) -> dict[str, Any]:
        if "prompt" in body:
            ids = tokenizer.encode(body["prompt"], add_special_tokens=body["add_special_tokens"])
            return {"count": len(ids), "max_model_len": 8192, "tokens": ids, "token_strs": None}
        assert set(body) <= {
            "model", "messages", "add_generation_prompt", "add_special_tokens", "return_token_strs",
            "continue_final_message",
        }  # fmt: skip
        assert body["add_generation_prompt"] is True
        assert body["add_special_tokens"] is False
        ids = feed(body["messages"])
        strings = tokenizer.convert_ids_to_tokens(ids) if body.get("return_token_strs") else None
        return {"count": len(ids), "max_model_len": 8192, "tokens": ids, "token_strs": strings}

    return (
        models("base")
        | {
            "POST /tokenize": tokenize,
            "POST /detokenize": lambda body: {"prompt": tokenizer.decode(body["tokens"])},
        }
        | chat_counts(chat or feed)
    )


def llama_cpp(
    render: Callable[[Messages], str],
    tokenize: Callable[[str], list[int]] | None,
) -> dict[str, Answer]:
    """llama.cpp's ``/apply-template`` and, unless None, its ``/tokenize`` of text."""

    def tokens(body: Body) -> dict[str, Any]:
        # As there: no content, no tokens.
        if tokenize is None or "content" not in body:
            return {"tokens": []}
        assert body["add_special"] is True
        assert body["parse_special"] is True
        return {"tokens": tokenize(body["content"])}

    routes: dict[str, Answer] = {
        "POST /apply-template": lambda body: {"prompt": render(body["messages"])}
    }
    if tokenize is not None:
        routes["POST /tokenize"] = tokens
    return models("model.gguf") | routes


def chat_counts(feed: Feed, *, shows_ids: bool = False, strict: bool = False) -> dict[str, Answer]:
    """The chat route of any OpenAI-compatible server; ``strict`` refuses unknown fields."""

    def chat(body: Body) -> Reply | dict[str, Any]:
        assert body["max_tokens"] == 1
        if strict and "return_token_ids" in body:
            return error(400, "Unrecognized request argument supplied: return_token_ids")
        ids = feed(body["messages"])
        answer: dict[str, Any] = {
            "object": "chat.completion",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "ls"}}],
            "usage": {"prompt_tokens": len(ids), "completion_tokens": 1},
        }
        return answer | ({"prompt_token_ids": ids} if shows_ids else {})

    return models("base") | {"POST /v1/chat/completions": chat}
