"""``sekft worlds``: build userlands, list them, and try worlds in every sandbox."""

from __future__ import annotations

import shutil
from typing import Any

import click
import msgspec

from sekft_engine.cli.options import json_option
from sekft_engine.cli.show.document import print_json
from sekft_engine.core.errors import BadInput, SekftError, Unavailable
from sekft_engine.core.text import plain
from sekft_engine.worlds.backends import SANDBOXES


@click.group("worlds")
def command() -> None:
    """Sandboxes, and the userlands in them.

    A world's userland is the host's own programs (read-only), or a root file system of its own:
    `debian`, the same on every machine, or one exported from a container image.
    """


@command.command("build")
@click.option("--again", is_flag=True, help="Build it even if it exists.")
@click.option("--mirror", default="", help="Where the packages come from [default: Debian's].")
@click.option("--from-image", "image", default="", help="Export this container image instead.")
@click.option(
    "--engine",
    type=click.Choice(["podman", "docker"]),
    help="The engine with the image [default: the first one installed].",
)
@click.option("--name", default="", help="The name of the exported userland.")
@json_option
def build_command(
    again: bool, mirror: str, image: str, engine: str | None, name: str, as_json: bool
) -> None:
    """Build the pinned Debian userland: 28 MB to fetch, 75 MB on disk, no root needed.

    Every package is pinned by version and SHA-256, and so is the tree that they make.
    """
    from sekft_engine.cli.show.display import Display
    from sekft_engine.worlds.trees import debian, userlands

    with Display(quiet=as_json) as display:
        if image:
            name = name or image.rsplit("/", 1)[-1].replace(":", "-").lower()
            made = userlands.build_from_image(_engine(engine), image, name)
        elif name or engine:
            raise BadInput("goes with --from-image only", where="--name, --engine")
        else:
            made = userlands.build_debian(
                display.report, mirror=mirror or debian.MIRROR, again=again
            )
    if as_json:
        print_json(msgspec.to_builtins(made))
    else:
        size = f"{made.size / 2**20:.0f} MiB in {made.entries} entries"
        click.echo(f"{made.name}:{made.digest[:12]}  {size}  {made.path}")


def _engine(named: str | None) -> str:
    from sekft_engine.worlds.container.engines import PACKAGES

    for name in (named,) if named else ("podman", "docker"):
        found = shutil.which(name)
        if found:
            return found
    what = f"{named} is not" if named else "neither podman nor docker is"
    package = PACKAGES[named or "podman"]
    raise Unavailable(f"{what} installed", where="--from-image", mend=f"apt-get install {package}")


@command.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the userlands of this machine."""
    from sekft_engine.worlds.trees import userlands

    rows: list[dict[str, Any]] = []
    try:
        host = userlands.choose("host")
        rows.append({"name": "host", "digest": host.digest, "path": "/usr", "source": "this host"})
    except SekftError as error:
        click.echo(plain(f"host: {error}"), err=True)
    rows += [msgspec.to_builtins(tree) for tree in userlands.built()]
    if as_json:
        print_json({"userlands": rows, "folder": str(userlands.userlands_folder())})
        return
    for row in rows:
        click.echo(f"{row['name']}:{row['digest'][:12]}  {row['source']}  {row['path']}")
    if len(rows) < 2:
        click.echo("debian is not built: sekft worlds build")


@command.command("check")
@click.option("--sandbox", default="", help=f"Only this one: {', '.join(SANDBOXES[1:])}.")
@click.option("--userland", default="auto", show_default=True, help="The userland to try.")
@json_option
def check_command(sandbox: str, userland: str, as_json: bool) -> int:
    """Run a small world in each sandbox, say what limits it, and verify userlands.

    Exit status 1 if none works, if the named one does not, or if a userland has changed.
    """
    from sekft_engine.worlds import probe
    from sekft_engine.worlds.probing import probe_one
    from sekft_engine.worlds.trees import userlands

    if sandbox and sandbox not in SANDBOXES[1:]:
        raise BadInput(
            f"unknown sandbox {sandbox!r}",
            where="--sandbox",
            mend=f"use {', '.join(SANDBOXES[1:])}",
        )
    backends = (probe_one(sandbox, userland),) if sandbox else probe(userland)
    trees = [(tree, userlands.verify(tree)) for tree in userlands.built()]
    if as_json:
        print_json(
            {
                "sandboxes": [msgspec.to_builtins(backend) for backend in backends],
                "userlands": [
                    {"name": tree.name, "digest": tree.digest, "ok": not wrong, "detail": wrong}
                    for tree, wrong in trees
                ],
            }
        )
    else:
        for backend in backends:
            mark = "ok  " if backend.ok else "no  "
            about = f"{backend.version} {backend.userland or backend.detail}"
            click.echo(plain(f"{mark}{backend.name:<11} {about}"))
            for kind, means in backend.holds.items():
                click.echo(f"      {kind}: {means}")
            if backend.mend:
                click.echo(plain(f"      -> {backend.mend}"))
        for tree, wrong in trees:
            click.echo(plain(f"{'ok  ' if not wrong else 'BAD '}userland {tree.name} {wrong}"))
    works = any(backend.ok for backend in backends)
    return 0 if works and not any(wrong for _, wrong in trees) else 1
