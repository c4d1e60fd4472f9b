"""``sekft export``: merge an adapter, make it ready for GGUF, or lay it out for the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sekft_engine import jobs
from sekft_engine.cli.display import Display
from sekft_engine.cli.options import find_workspace, json_option, print_json, workspace_option
from sekft_engine.errors import BadInput
from sekft_engine.export.merge import DTYPES
from sekft_engine.foreground import run_job
from sekft_engine.visible import visible

_FOLDER = click.Path(path_type=Path)


@click.command("export")
@click.argument("source", metavar="RUN|ADAPTER")
@click.option("--merged", type=_FOLDER, help="Write one model to this folder: base and adapter.")
@click.option("--gguf", type=_FOLDER, help="The same, ready for llama.cpp's converter, checked.")
@click.option(
    "--hub-layout",
    type=_FOLDER,
    help="Lay the adapter out as a Hub repository, with a model card. Nothing is sent anywhere.",
)
@click.option("--whole", is_flag=True, help="With --hub-layout: the merged model.")
@click.option("--dtype", default="", type=click.Choice(["", *DTYPES]), help="Of merged weights.")
@click.option("--base", default="", help="The base [default: the one the run recorded].")
@click.option("-q", "--quiet", is_flag=True, help="Nothing but errors on stderr.")
@json_option
@workspace_option
def command(
    source: str,
    merged: Path | None,
    gguf: Path | None,
    hub_layout: Path | None,
    whole: bool,
    dtype: str,
    base: str,
    quiet: bool,
    as_json: bool,
    workspace: Path | None,
) -> int:
    """Take an adapter out of the workshop.

    Merging loads the base anew in full precision, also where the adapter was trained on 4 bits,
    and proves on a session that the merged model computes what base and adapter do. A folder
    appears whole or not at all.
    """
    named = [one for one in (merged, gguf, hub_layout) if one is not None]
    if len(named) != 1:
        raise BadInput(
            "say what to make of it", mend="name one folder: --merged, --gguf or --hub-layout"
        )
    if whole and hub_layout is None:
        raise BadInput("--whole goes with --hub-layout", mend="leave it out")
    kind: jobs.ExportKind = "adapter"
    if gguf is not None:
        kind = "gguf"
    elif merged is not None or whole:
        kind = "merged"
    if dtype and kind == "adapter":
        raise BadInput("an adapter stays as it is", where="--dtype", mend="give --whole with it")
    job = jobs.Export(
        source=source,
        target=str(named[0].expanduser().absolute()),
        kind=kind,
        card=hub_layout is not None,
        dtype=dtype,
        base=base,
    )
    with Display(quiet=quiet) as display:
        result = run_job(job, find_workspace(workspace), display.show)
    if as_json:
        print_json(result)
    elif not quiet:
        click.echo(_told(result))
    return 0


def _told(result: dict[str, Any]) -> str:
    lines = []
    if proof := result.get("proof"):
        same = f"same first choice at {proof['same_choice']:.1%}"
        lines += [
            f"logits over {proof['tokens']} tokens, largest difference to base + adapter:",
            f"  merged, in float32       {proof['difference']:.2e}",
            f"  as written, {proof['dtype']:<12} {proof['written_difference']:.2e}, {same}",
            f"  the base by itself       {proof['adapter_effect']:.2e}",
        ]
    if ready := result.get("gguf"):
        known = ready["architecture"] or "not known to the gguf package, tensors unchecked"
        lines.append(
            f"GGUF: {known}; {ready['tensors']} tensors, {ready['merges']} merges, chat template"
        )
        lines.append(f"convert: python convert_hf_to_gguf.py {visible(result['target'])}")
    if "evals" in result:
        lines.append(f"model card with {len(result['evals'])} evals")
        lines.append(f"send it yourself: hf upload NAME {visible(result['target'])}")
    size = sum(one["bytes"] for one in result["files"].values())
    head = f"{visible(result['target'])}: {len(result['files'])} files, {size / 2**20:.1f} MiB"
    return "\n".join([head, *lines])
