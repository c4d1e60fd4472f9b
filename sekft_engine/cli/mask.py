"""``sekft mask``: which tokens are trained, and the certificate that this is right."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click

from sekft_engine.errors import BadInput
from sekft_engine.recipe import Recipe


@click.command("mask")
@click.option("--data", required=True, help="Folder of .json files, or a curated .jsonl file.")
@click.option("--base", required=True, help="Base whose tokenizer renders the data; no weights.")
@click.option("--id", "only", default="", help="Show this trajectory only.")
@click.option("--all", "everything", is_flag=True, help="Also raw recordings that are not kept.")
@click.option(
    "--max-length",
    default=Recipe().max_length,
    show_default=True,
    type=click.IntRange(min=0),
    help="Longest trajectory in tokens; 0 = any.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    data: str, base: str, only: str, everything: bool, max_length: int, as_json: bool
) -> None:
    """Show per trajectory which tokens are trained, and its certificate.

    Trained are the commands with the token that ends each; all that the environment said is
    masked. Without --id (and more than one trajectory) a listing is printed.
    """
    from sekft_engine.render import build_rows
    from sekft_engine.render.load import load_tokenizer
    from sekft_engine.render.report import mask_document
    from sekft_engine.sources import load_trajectories

    loaded = load_trajectories(data, keep_only=not everything)
    chosen = [item for item in loaded.trajectories if not only or item.id == only]
    skipped = [item for item in loaded.skipped if not only or item.id == only]
    if only and not chosen and not skipped:
        raise BadInput(
            f"no trajectory has the id {only!r}", where=data, mend="sekft mask lists the ids"
        )
    tokenizer = load_tokenizer(base)
    rows = build_rows(chosen, tokenizer, max_length=max_length)
    if as_json:
        _write(mask_document(rows, skipped))
        return

    from rich.console import Console

    from sekft_engine.render.row import Row
    from sekft_engine.render.show import print_listing, print_row

    console = Console(highlight=False)
    if len(chosen) == 1:
        row = next(rows)
        if isinstance(row, Row):
            print_row(row, console)
            return
        rows = iter([row])
    print_listing(rows, skipped, console)


def _write(pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
