"""`sekft serve` under many clients, against answering one request after another.

Each client is a thread with a connection of its own, and asks the next thing when it has its
answer. Requests go over the bare base and adapters in turn, so that all of them are mixed in each
batch. Sessions grow by a turn with each request of a client, as those of an eval do.

serve: over HTTP on loopback, with the limits of the command. ``lost`` counts requests without an
    answer; it must be 0.
one_by_one: transformers' ``generate`` with PEFT's ``set_adapter`` between requests, in this
    process, without HTTP, on the same prompts: what a plain server of several adapters does.

``ratio_one_by_one`` is the tokens per second of the first over those of the second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.shared.report import arguments, p50_p95, tell
from sekft_engine.bases import resolve_base
from sekft_engine.data.recipe import Recipe
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records.adapters import AdapterMeta
from sekft_engine.serve.loading import Holding, hold, named_adapters
from sekft_engine.serve.server import HttpServer, Limits

WELCOME = "Welcome to box.\n" + "drwxr-xr-x 2 user user 4096 notes\n" * 6 + "user@box:~$"


class Exchange(msgspec.Struct, frozen=True):
    """One request and what came of it; seconds to the first token and to the end."""

    model: str
    prompt: tuple[int, ...]
    tokens: int
    first: float
    whole: float
    status: int


def save_adapters(base: Path, folder: Path, count: int) -> list[str]:
    """Adapters with random weights, as ``NAME=PATH``."""
    import torch

    resident = ResidentBase.load(base)
    found = []
    for number in range(count):
        name = f"a{number}"
        resident.new_adapter(name, Recipe(seed=number))
        generator = torch.Generator().manual_seed(number)
        with torch.no_grad():
            for weight in resident.trainable(name):
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.02)
        meta = AdapterMeta(name=name, base_digest=resident.digest, render=resident.render)
        resident.save_adapter(name, folder / name, meta)
        resident.drop(name)
        found.append(f"{name}={folder / name}")
    return found


def ask(port: int, body: dict[str, Any]) -> tuple[int, str, dict[str, Any], float, float]:
    """One streamed chat: status, text, prompt and number of tokens, seconds to the first token and
    to the end."""
    began = time.monotonic()
    connection = HTTPConnection("127.0.0.1", port, timeout=600)
    head = {"Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), head)
    answer = connection.getresponse()
    if answer.status != 200:
        answer.read()
        connection.close()
        return answer.status, "", {}, 0.0, time.monotonic() - began
    first, text, ids = 0.0, "", 0
    prompt: list[int] = []
    for line in answer:
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        prompt = chunk.get("prompt_token_ids", prompt)
        for choice in chunk["choices"]:
            first = first or time.monotonic() - began
            text += choice["delta"].get("content", "")
            ids += len(choice.get("token_ids", ()))
    connection.close()
    found = {"prompt": tuple(prompt), "tokens": ids}
    return 200, text, found, first, time.monotonic() - began


def client(
    port: int, number: int, models: list[str], options: argparse.Namespace
) -> list[Exchange]:
    """The requests of one client: a session that grows."""
    messages = [{"role": "user", "content": f"host {number}: {WELCOME}"}]
    found = []
    for turn in range(options.turns):
        model = models[number % len(models)]
        body = {
            "model": model, "messages": messages, "stream": True, "return_token_ids": True,
            "max_tokens": options.tokens, "temperature": 0,
        }  # fmt: skip
        status, text, more, first, whole = ask(port, body)
        found.append(
            Exchange(model, more.get("prompt", ()), more.get("tokens", 0), first, whole, status)
        )
        messages += [
            {"role": "assistant", "content": text or "ls"},
            {"role": "user", "content": f"line {turn}\nuser@box:~$"},
        ]
    return found


def serve(base: Path, adapters: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """All clients at once against a server in this process."""
    ready = threading.Event()
    holding = Holding(folder=base, adapters=named_adapters(base, adapters))
    server = HttpServer(
        lambda: hold(holding, print),
        port=0,
        limits=Limits(queue=options.clients),
        on_ready=lambda _held: ready.set(),
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    ready.wait()
    port = int(server.url.rpartition(":")[2])
    held = server.scheduler.held
    assert held is not None
    models = [*held.models]
    began = time.monotonic()
    with ThreadPoolExecutor(options.clients) as pool:
        numbers = range(options.clients)
        done = [*pool.map(lambda number: client(port, number, models, options), numbers)]
    seconds = time.monotonic() - began
    server.stop()
    thread.join()
    exchanges = [each for found in done for each in found]
    good = [each for each in exchanges if each.status == 200]
    tokens = sum(each.tokens for each in good)
    return {
        "requests": len(exchanges),
        "lost": len(exchanges) - len(good),
        "rows": held.rows,
        "models": len(models),
        "seconds": round(seconds, 2),
        "tokens": tokens,
        "tokens_per_s": round(tokens / seconds, 1),
        "first_token_s": seconds_of([each.first for each in good]),
        "answer_s": seconds_of([each.whole for each in good]),
        "exchanges": good,
    }


def seconds_of(values: list[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    half, most = p50_p95(values)
    return {"p50": round(half, 2), "p95": round(most, 2)}


def one_by_one(
    base: Path, adapters: list[str], exchanges: list[Exchange], options: argparse.Namespace
) -> dict[str, Any]:
    """The same prompts one after another, by PEFT and transformers alone."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    named = dict(spec.split("=", 1) for spec in adapters)
    for name, path in named.items():
        if isinstance(model, PeftModel):
            model.load_adapter(path, name)
        else:
            model = PeftModel.from_pretrained(model, path, name)
    model.eval()
    chosen = exchanges[:: max(1, len(exchanges) // options.peer_requests)]
    tokens, seconds = 0, []
    with torch.inference_mode():
        for each in chosen:
            began = time.monotonic()
            ids = torch.tensor([each.prompt])
            settings = {
                "max_new_tokens": options.tokens, "do_sample": False, "pad_token_id": 0,
                "attention_mask": torch.ones_like(ids),
            }  # fmt: skip
            if each.model in named:
                model.set_adapter(each.model)
                out = model.generate(input_ids=ids, **settings)
            else:
                with model.disable_adapter():
                    out = model.generate(input_ids=ids, **settings)
            tokens += out.shape[1] - ids.shape[1]
            seconds.append(time.monotonic() - began)
    return {
        "requests": len(chosen),
        "tokens": tokens,
        "tokens_per_s": round(tokens / sum(seconds), 1),
        "answer_s": {"p50": round(statistics.median(seconds), 2)},
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--turns", type=int, default=2, help="requests of each client")
    parser.add_argument("--adapters", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=24, help="most tokens of an answer")
    parser.add_argument("--peer-requests", type=int, default=24)
    options = parser.parse_args()
    base = resolve_base(options.base)
    with tempfile.TemporaryDirectory() as folder:
        adapters = save_adapters(base, Path(folder), options.adapters)
        served = serve(base, adapters, options)
        exchanges = served.pop("exchanges")
        peer = one_by_one(base, adapters, exchanges, options)
    report = {
        "base": base.name,
        "clients": options.clients,
        "serve": served,
        "one_by_one": peer,
        "ratio_one_by_one": round(served["tokens_per_s"] / peer["tokens_per_s"], 2),
    }
    tell(report, show, as_json=options.json)


def show(result: dict[str, Any]) -> None:
    served, peer = result["serve"], result["one_by_one"]
    print(
        f"{result['base']}, {served['models']} models mixed, {result['clients']} clients, "
        f"{served['requests']} requests, {served['lost']} lost"
    )
    print(f"{'':12}{'tokens/s':>10}{'answer p50':>12}{'p95':>8}{'first p50':>11}{'p95':>8}")
    answer, first = served["answer_s"], served["first_token_s"]
    print(
        f"{'serve':12}{served['tokens_per_s']:>10}{answer['p50']:>12}{answer['p95']:>8}"
        f"{first['p50']:>11}{first['p95']:>8}"
    )
    print(f"{'one by one':12}{peer['tokens_per_s']:>10}{peer['answer_s']['p50']:>12}")
    print(f"ratio {result['ratio_one_by_one']}")


if __name__ == "__main__":
    main()
