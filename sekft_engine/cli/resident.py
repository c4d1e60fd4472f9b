"""``sekft resident``: keep a base loaded; jobs in, events out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from sekft_engine.cli.options import device_option, find_workspace, workspace_option
from sekft_engine.engine.server import open_resident, serve_lines
from sekft_engine.records import jobs


@click.command("resident")
@click.option("--base", default="", help="Load this base at the start.")
@click.option(
    "--load-4bit/--no-load-4bit", default=None, help="Hold it in 4 bits (NF4, double quant)."
)
@device_option
@workspace_option
def command(base: str, load_4bit: bool | None, device: str, workspace: Path | None) -> int:
    """Keep a base loaded and take jobs: one JSON object per line on stdin, events on stdout.

    \b
    {"job":"train","data":"...","out":"..."}
    {"job":"eval","scenarios":"...","adapters":["..."],"out":"..."}
    {"job":"attach","path":"..."}   {"job":"swap","name":"..."}   {"job":"drop","name":"..."}
    {"job":"status"}                {"job":"cancel","after_step":true}
    {"job":"load","base":"...","load_4bit":true}

    Jobs act on the base that is loaded, as it is loaded. One that names another "base",
    "load_4bit" or "device" is refused; only "load" replaces the base. Without --base, the first job
    that names a base loads it.

    At the end of stdin it finishes all jobs and exits; SIGTERM saves the running job and exits.
    """
    place = find_workspace(workspace)
    # Only events may stand on stdout, whatever a library prints.
    stream = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def write(line: bytes) -> None:
        while line:
            line = line[os.write(stream, line) :]

    first = jobs.Load(base=base, load_4bit=load_4bit, device=device) if base else None
    try:
        return serve_lines(sys.stdin.fileno(), write, open_resident(place), first)
    finally:
        os.close(stream)
