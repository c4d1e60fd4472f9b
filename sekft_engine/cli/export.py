"""``sekft export``: merge an adapter, make it ready for GGUF, or lay it out for the Hub."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec import UnsetType

from sekft_engine.cli.options import find_workspace, json_option, workspace_option
from sekft_engine.cli.show.display import Display
from sekft_engine.cli.show.document import print_json
from sekft_engine.core.errors import BadInput
from sekft_engine.core.text import visible
from sekft_engine.engine.run_job import run_job
from sekft_engine.export.merge import DTYPES
from sekft_engine.records import jobs
from sekft_engine.records.exports import ExportResult
from sekft_engine.records.results import expect

_FOLDER = click.Path(path_type=Path)


@click.command("export")
@click.argument("source", metavar="RUN|ADAPTER")
@click.option("--merged", type=_FOLDER, help="Write base and adapter as one model to this folder.")
@click.option("--gguf", type=_FOLDER, help="The same, checked and ready for llama.cpp's converter.")
@click.option(
    "--hub-layout",
    type=_FOLDER,
    help="Write a Hub repository with a model card to this folder; nothing is sent.",
)
@click.option("--whole", is_flag=True, help="With --hub-layout: write the merged model.")
@click.option(
    "--dtype",
    default="",
    type=click.Choice(["", *DTYPES]),
    metavar=f"[{'|'.join(DTYPES)}]",
    help="Type of merged weights [default: the base's own].",
)
@click.option("--base", default="", help="The base [default: the one the run recorded].")
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    metavar="DEVICE",
    help="Where it is merged and compared, in float32: cpu, cuda, or one card, as cuda:1; auto = "
    "a card if there is one.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print only errors on stderr.")
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
    device: str,
    quiet: bool,
    as_json: bool,
    workspace: Path | None,
) -> int:
    """Export an adapter, merged into its base or by itself.

    Merging loads the base again in full precision, also if the adapter was trained on 4 bits, and
    proves on a session that the merged model computes what base and adapter do. A folder appears
    whole or not at all.
    """
    named = [target for target in (merged, gguf, hub_layout) if target is not None]
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
    if device != "cpu" and kind == "adapter":
        raise BadInput("nothing is merged", where="--device", mend="give --whole with it")
    job = jobs.Export(
        source=source,
        target=str(named[0].expanduser().absolute()),
        kind=kind,
        card=hub_layout is not None,
        dtype=dtype,
        base=base,
        device=device,
    )
    with Display(quiet=quiet) as display:
        result = expect(run_job(job, find_workspace(workspace), display.show), ExportResult)
    if as_json:
        print_json(result)
    elif not quiet:
        click.echo(_summary(result))
    return 0


def _summary(result: ExportResult) -> str:
    lines = []
    if proof := result.proof:
        same = f"same first choice at {proof.same_choice:.1%}"
        lines += [
            f"logits over {proof.tokens} tokens, largest difference to base + adapter:",
            f"  merged, in float32       {proof.difference:.2e}",
            f"  as written, {proof.dtype:<12} {proof.written_difference:.2e}, {same}",
            f"  the base by itself       {proof.adapter_effect:.2e}",
        ]
    if ready := result.gguf:
        known = ready.architecture or "not known to the gguf package, tensors unchecked"
        lines.append(
            f"GGUF: {known}; {ready.tensors} tensors, {ready.merges} merges, chat template"
        )
        lines.append(f"convert: python convert_hf_to_gguf.py {visible(result.target)}")
    if not isinstance(result.evals, UnsetType):
        lines.append(f"model card with {len(result.evals)} evals")
        lines.append(f"send it yourself: hf upload NAME {visible(result.target)}")
    size = sum(file.bytes for file in result.files.values())
    head = f"{visible(result.target)}: {len(result.files)} files, {size / 2**20:.1f} MiB"
    return "\n".join([head, *lines])
