"""``sekft contract``: does a live server feed its model what training fed?"""

from __future__ import annotations

import click

from sekft_engine.cli.options import json_option, print_json


@click.group("contract")
def command() -> None:
    """Train equals serve, checked against a live server."""


@command.command("check")
@click.option("--data", required=True, help="Folder of .json files, or a curated .jsonl file.")
@click.option("--base", required=True, help="Base that was trained; no weights are needed.")
@click.option("--endpoint", required=True, help="Address of the server: http://host:8000")
@click.option("--model", default="", help="Its name there  [default: the server's first].")
@click.option(
    "--samples",
    default=8,
    show_default=True,
    type=click.IntRange(min=1),
    help="Sessions of the data to ask about, the hardest first.",
)
@click.option("--data-only", is_flag=True, help="Leave out the built-in hard sessions.")
@click.option(
    "--api-key-env",
    metavar="VAR",
    help="Environment variable that holds the API key  [default: OPENAI_API_KEY, which goes to "
    "https:// and to this machine only].",
)
@click.option(
    "--timeout",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds that the server has for each answer.",
)
@json_option
def check(
    data: str,
    base: str,
    endpoint: str,
    model: str,
    samples: int,
    data_only: bool,
    api_key_env: str | None,
    timeout: float,
    as_json: bool,
) -> int:
    """Compare, token for token, what a server feeds its model with what training fed.

    Asked are the prompts before the first, middle and last command of some sessions, and hard
    sessions of our own, on the strongest route that the server has. Exit status 0: equal
    everywhere; 1: something differs; 2: no usable server.
    """
    from sekft_engine.cli.display import Display
    from sekft_engine.contract import Client, check_endpoint, key_from
    from sekft_engine.render.load import load_tokenizer
    from sekft_engine.sources import load_trajectories

    key = key_from(api_key_env, endpoint)
    with (
        Client(endpoint, api_key=key, timeout=timeout) as client,
        Display(quiet=as_json) as display,
    ):
        sessions = load_trajectories(data).trajectories
        report = check_endpoint(
            client,
            load_tokenizer(base),
            sessions,
            model=model,
            samples=samples,
            hostile=not data_only,
            progress=display.progress,
        )
    if as_json:
        print_json(report.document())
    else:
        from rich.console import Console

        from sekft_engine.contract.show import print_report

        print_report(report, Console(highlight=False))
    return 0 if report.equal else 1
