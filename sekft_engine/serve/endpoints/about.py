"""What a server says of itself: its models, its health, its figures, its version."""

from __future__ import annotations

from typing import Any

from sekft_engine import __version__
from sekft_engine.serve.exchange import Exchange
from sekft_engine.serve.loading import Held, ServedModel
from sekft_engine.serve.service import Service


async def models(service: Service, exchange: Exchange) -> None:
    """List the base and the adapters."""
    held = service.held
    listed = [_model(held, model) for model in held.models.values()]
    await exchange.send_json({"object": "list", "data": listed})


async def model(service: Service, exchange: Exchange) -> None:
    """Describe one model."""
    found = service.model(exchange.parameter("name"))
    await exchange.send_json(_model(service.held, found))


def _model(held: Held, model: ServedModel) -> dict[str, Any]:
    base = held.base
    digest = held.tokenizer.digest
    return {
        "id": model.name,
        "object": "model",
        "created": held.since,
        "owned_by": "sekft",
        "root": base.name,
        "parent": None if model.is_base else base.name,
        "max_model_len": held.limit,
        "sekft": {
            "digest": model.digest,
            "base": {"name": base.name, "digest": base.digest},
            "adapter": None if model.is_base else model.digest,
            "render": {
                "tokenizer": digest.tokenizer,
                "template": digest.template,
                "normaliser": digest.normaliser,
                "combined": digest.combined,
            },
            "dialect": model.dialect,
            "doubt": model.doubt or None,
            "quantised": base.quantised,
        },
    }


async def health(service: Service, exchange: Exchange) -> None:
    """Say whether the server answers: 503 while it loads, 200 when it is ready or busy. ``job`` is
    what else the engine does on the base, which answers then share it with."""
    scheduler = service.scheduler
    state: str = scheduler.state
    running, waiting = scheduler.load
    if state == "ready" and (waiting or scheduler.busy_with):
        state = "busy"
    body: dict[str, Any] = {"status": state, "running": running, "waiting": waiting}
    if scheduler.busy_with:
        body["job"] = scheduler.busy_with
    await exchange.send_json(body, 200 if state in ("ready", "busy") else 503)


async def metrics(service: Service, exchange: Exchange) -> None:
    """Give the figures in Prometheus' text format."""
    scheduler = service.scheduler
    running, waiting = scheduler.load
    held = scheduler.held
    text = scheduler.figures.text(
        {
            "up": ("Whether the base is loaded.", float(held is not None)),
            "num_requests_running": ("Answers that are made.", running),
            "num_requests_waiting": ("Requests in the queue.", waiting),
            "rows": ("Most answers that are made together.", held.rows if held else 0),
            "models": ("Models that are served.", len(held.models) if held else 0),
        }
    )
    kind = "text/plain; version=0.0.4; charset=utf-8"
    await exchange.send_bytes(text.encode(), kind)


async def version(service: Service, exchange: Exchange) -> None:
    """Name the program's version."""
    state = service.scheduler.state
    await exchange.send_json({"version": __version__, "server": "sekft", "state": state})
