"""``sekft keys``. The keys of the workbench, as they are here."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("keys", short_help="List the workbench's keys, with your own ones.")
@click.option(
    "--workspace",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="The folder whose keys.toml counts, beside the user's (default: here).",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout, and nothing else."
)
@click.option("--toml", "as_toml", is_flag=True, help="Print a keys.toml to begin with.")
@click.option("--markdown", is_flag=True, help="Print the page docs/keys.md.")
def command(workspace: Path, as_json: bool, as_toml: bool, markdown: bool) -> int:
    """List the keys of the workbench: id, keys, what they do.

    Keys can be changed by id in keys.toml, in sekft's configuration folder or in a workspace. What
    is wrong in those files is said with its line, and the exit status is 2 then.
    """
    from sekft_engine.cli.show.document import print_json
    from sekft_engine.core.text import visible
    from sekft_tui.input import keymap
    from sekft_tui.input.actions import all_keys, remap, shown
    from sekft_tui.input.key_page import page

    if as_json + as_toml + markdown > 1:
        raise click.UsageError("choose one of --json, --toml and --markdown")
    if markdown:
        click.echo(page(), nl=False)
        return 0
    files = (keymap.user_file(), workspace / keymap.FILE)
    found = keymap.load_keymap(*files)
    remap(found.keys)
    if as_toml:
        click.echo(keymap.as_toml(all_keys()), nl=False)
    elif as_json:
        keys = [
            {
                "id": key.id,
                "place": key.place,
                "keys": list(key.keys),
                "label": key.label,
                "description": key.description,
                "from": found.chosen[key.id].where if key.id in found.chosen else "",
            }
            for key in all_keys()
        ]
        faults = [{"where": fault.where, "what": str(fault)} for fault in found.faults]
        print_json({"keys": keys, "files": [str(file) for file in files], "faults": faults})
    else:
        width = max(len(key.id) for key in all_keys())
        for key in all_keys():
            where = found.chosen[key.id].where if key.id in found.chosen else ""
            chosen = f"  [{visible(where)}]" if where else ""
            names = "  ".join(shown(name) for name in key.keys)
            click.echo(f"{key.id:<{width}}  {names:<12}  {key.description}{chosen}")
    for fault in found.faults:
        click.echo(f"sekft keys: {visible(str(fault))}", err=True)
    return 2 if found.faults else 0
