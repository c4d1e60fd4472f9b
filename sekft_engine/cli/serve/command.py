"""``sekft serve``: the base and its adapters behind OpenAI's API."""

from __future__ import annotations

from pathlib import Path

import click

from sekft_engine.cli.options import (
    device_option,
    find_workspace,
    no_resident_option,
    workspace_option,
)
from sekft_engine.cli.serve.key import KEY, read_key
from sekft_engine.cli.serve.there import serve_there, stop_there
from sekft_engine.core.errors import Unavailable
from sekft_engine.core.text import visible
from sekft_engine.engine.attached.fit import Offer, offer
from sekft_engine.records import jobs
from sekft_engine.records.jobs.paths import absolute_adapters


@click.command("serve")
@click.option("--base", default="", help="Base to serve  [default: the workspace's].")
@click.option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="[NAME=]PATH",
    help="An adapter's folder, or a run's; may be given several times. Without a name, that of its "
    "folder is used.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 takes any that is free.",
)
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path),
    help=f"File with the key that requests must show  [default: ${KEY}].",
)
@click.option(
    "--allow-host",
    "allowed",
    multiple=True,
    metavar="NAME",
    help="Another name that the server may be called by in the Host header.",
)
@click.option("--load-4bit", is_flag=True, help="Hold the base in 4 bits (NF4, double quant).")
@device_option
@click.option(
    "--rows",
    default=0,
    type=click.IntRange(min=0),
    help="Most answers that are generated together  [default: 16, on a card 64].",
)
@click.option(
    "--queue",
    default=64,
    show_default=True,
    type=click.IntRange(min=0),
    help="Most requests that wait for a row; others are answered with 429.",
)
@click.option(
    "--context",
    default=0,
    type=click.IntRange(min=0),
    help="Most tokens of a prompt and its answer  [default: 4096, or what the base can hold].",
)
@click.option(
    "--body-limit",
    default=4,
    show_default=True,
    type=click.IntRange(min=1),
    help="Largest body of a request in MiB; a larger one is answered with 413.",
)
@click.option(
    "--drain",
    default=60.0,
    show_default=True,
    type=click.FloatRange(min=1),
    help="Seconds that running answers have after SIGTERM or Ctrl-C.",
)
@click.option(
    "--detach",
    is_flag=True,
    help="Open the server on the workspace's engine (sekft resident), and return.",
)
@click.option(
    "--stop", is_flag=True, help="Close the server of the workspace's engine, and return."
)
@no_resident_option
@workspace_option
def command(
    base: str,
    adapters: tuple[str, ...],
    host: str,
    port: int,
    api_key_file: Path | None,
    allowed: tuple[str, ...],
    load_4bit: bool,
    device: str,
    rows: int,
    queue: int,
    context: int,
    body_limit: int,
    drain: float,
    detach: bool,
    stop: bool,
    no_resident: bool,
    workspace: Path | None,
) -> int:
    """Serve a base and its adapters over HTTP, as OpenAI's API: chat, completions, tokens.

    Each adapter is a model under its own name, and so is the base. Requests of different models
    share decoding steps. Prompts are rendered as training rendered them, so that sekft contract
    check passes. SIGTERM lets running answers end.

    Where an engine is alive in the workspace, it serves on the base that it has, between its jobs
    and their steps.
    """
    from sekft_engine.bases import resolve_base

    place = find_workspace(workspace)
    if stop:
        return stop_there(place)
    key = read_key(api_key_file)
    job = jobs.Serve(
        base=base,
        adapters=absolute_adapters(adapters),
        host=host,
        port=port,
        with_key=bool(key),
        allowed=allowed,
        load_4bit=load_4bit or None,
        device=device,
        rows=rows,
        context=context,
        queue=queue,
        body=body_limit << 20,
        drain=drain,
    )
    found = Offer(None) if no_resident else offer(job, place)
    if found.text:
        click.echo(f"sekft: info: {visible(found.text)}", err=True)
    if found.engine is not None and isinstance(found.job, jobs.Serve):
        return serve_there(found.engine, found.job, key, detach=detach)
    if detach:
        raise Unavailable(
            "there is no engine that could serve in the background",
            mend="start one: sekft resident --detach --base BASE",
        )
    folder = resolve_base(base, place)
    try:
        from sekft_engine.serve.server import HttpServer, Limits
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"the Python package {error.name} is missing", mend="pip install 'sekft-tui[serve]'"
        ) from error
    from sekft_engine.serve.loading import Held, Holding, hold, named_adapters

    holding = Holding(
        folder=folder,
        adapters=named_adapters(folder, adapters),
        load_4bit=load_4bit,
        device=device,
        rows=rows,
        context=context,
    )

    def warn(text: str) -> None:
        click.echo(f"sekft: warning: {visible(text)}", err=True)

    def ready(held: Held) -> None:
        names = ", ".join(held.models)
        needed = "with a key" if key else "without a key"
        click.echo(visible(f"ready: {server.url}/v1 serves {names} ({needed})"))

    server = HttpServer(
        lambda: hold(holding, warn),
        host=host,
        port=port,
        key=key,
        allowed=allowed,
        limits=Limits(queue=queue, body=body_limit << 20, drain=drain),
        on_ready=ready,
    )
    click.echo(f"sekft: loading {visible(folder.name)} for {server.url}", err=True)
    server.run()
    return 0
