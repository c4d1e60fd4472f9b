"""``sekft doctor``."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from sekft_engine.cli.show.document import print_json
from sekft_engine.engine.doctor import examine


@click.command("doctor")
@click.option(
    "--workspace", type=click.Path(path_type=Path), default=Path(), help="The disk to check."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout, and nothing else."
)
def command(workspace: Path, as_json: bool) -> int:
    """Say what this machine can do, what is missing, and the command that fixes it."""
    checks = examine(workspace.absolute())
    if as_json:
        print_json({"checks": msgspec.to_builtins(checks)})
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            mark = (
                click.style("ok  ", fg="green")
                if check.ok
                else click.style("MEND", fg="red", bold=True)
            )
            click.echo(f"{mark}  {check.name:<{width}}  {check.detail}")
            if check.mend:
                click.echo(f"      {'':<{width}}  -> {check.mend}")
    return 0 if all(check.ok for check in checks) else 1
