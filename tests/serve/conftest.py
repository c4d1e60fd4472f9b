"""Real servers in this process, over real sockets, with a tiny base."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.data.recipe import Recipe
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records.adapters import AdapterMeta
from sekft_engine.serve.loading import Held, Holding, hold, named_adapters
from sekft_engine.serve.server import HttpServer
from tests.evaluation.conftest import make_scenario
from tests.render.conftest import bases, smol

__all__ = ["bases", "make_scenario", "smol"]

ADAPTERS = 32


class Answer:
    """What a server said: status, headers, and the body as JSON where it is."""

    def __init__(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.status, self.data = status, data
        self.headers = {name.lower(): value for name, value in headers.items()}

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error


class Running:
    """A running server."""

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.url = server.url
        self.port = int(server.url.rpartition(":")[2])

    @property
    def load(self) -> tuple[int, int]:
        return self.server.scheduler.load

    @property
    def held(self) -> Held:
        assert self.server.scheduler.held is not None
        return self.server.scheduler.held

    def connect(self, timeout: float = 60) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, path: str, body: Any = None, method: str = "", **headers: str) -> Answer:
        """One request; ``body`` is sent as JSON where it is not bytes."""
        connection = self.connect()
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"} if data is not None else {}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method or ("GET" if data is None else "POST"), path, data, kind | named)
        answer = connection.getresponse()
        found = Answer(answer.status, dict(answer.getheaders()), answer.read())
        connection.close()
        return found

    def chat(self, content: str = "$", **fields: Any) -> Answer:
        """One greedy chat of the base."""
        body = {"model": "tiny", "messages": [{"role": "user", "content": content}]}
        return self.ask("/v1/chat/completions", body | {"temperature": 0, "max_tokens": 4} | fields)


@contextlib.contextmanager
def serving(
    base: Path,
    adapters: Sequence[str] = (),
    *,
    changed: Callable[[Held], None] = lambda _held: None,
    rows: int = 0,
    context: int = 0,
    **options: Any,
) -> Iterator[Running]:
    """A server of ``base``, from when it is loaded until the end of the context.

    Args:
        changed: changes what is held before it is served.
    """
    ready = threading.Event()
    holding = Holding(
        folder=base, adapters=named_adapters(base, adapters), device="cpu", rows=rows,
        context=context,
    )  # fmt: skip

    def load() -> Held:
        held = hold(holding, lambda _text: None)
        changed(held)
        return held

    server = HttpServer(load, port=0, on_ready=lambda _held: ready.set(), **options)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        assert ready.wait(600)
        yield Running(server)
    finally:
        server.stop()
        thread.join(60)


def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for something that must come."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.002)


def save_adapters(base: Path, folder: Path, count: int, scale: float = 0.3) -> list[str]:
    """``count`` adapters that change what the base says, as ``NAME=PATH``."""
    import torch

    torch.set_num_threads(1)
    resident = ResidentBase.load(base, place=torch.device("cpu"))
    found = []
    for number in range(count):
        name = f"a{number}"
        resident.new_adapter(name, Recipe(rank=2, alpha=8, seed=number))
        generator = torch.Generator().manual_seed(number)
        with torch.no_grad():
            for weight in resident.trainable(name):
                weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
        meta = AdapterMeta(
            name=name,
            base=resident.name,
            base_digest=resident.digest,
            render=resident.render,
            dialect={"name": "sekft-1", "prompt": "user@box:{cwd}$"},
        )
        resident.save_adapter(name, folder / name, meta)
        resident.drop(name)
        found.append(f"{name}={folder / name}")
    return found


@pytest.fixture(scope="session")
def adapters(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """32 adapters of the tiny base."""
    return save_adapters(tiny_base, tmp_path_factory.mktemp("adapters"), ADAPTERS)


@pytest.fixture(scope="module")
def server(tiny_base: Path, adapters: list[str]) -> Iterator[Running]:
    """A server of the tiny base with two adapters."""
    with serving(tiny_base, adapters[:2]) as running:
        yield running
