"""``sekft tui``. Textual is imported when the workbench opens, not for ``--help``."""

from __future__ import annotations

import shlex

import click

from sekft_engine.data.published import DEFAULT_DATASET
from sekft_engine.data.workspace import workspace_here


@click.command(
    "tui",
    short_help="Open the workbench (plain `sekft` is the same).",
    context_settings={"allow_extra_args": True},
)
@click.option(
    "--workspace",
    type=click.Path(file_okay=False),
    default=None,
    help="The folder with bases, data, scenarios and runs (default: here; ./demo with --demo).",
)
@click.option("--base", default="", help="A folder, a .gguf file or a Hub id.")
@click.option(
    "--data", default="", help="A folder or file of trajectories (default: the workspace's)."
)
@click.option(
    "--hub",
    is_flag=False,
    flag_value=DEFAULT_DATASET,
    default="",
    metavar="[NAME]",
    help="Use a data set of the Hugging Face Hub; without a name, the published corpus.",
)
@click.option("--demo", is_flag=True, help="Make the demo workspace first if it does not exist.")
@click.option(
    "--attach",
    is_flag=False,
    flag_value="",
    default=None,
    metavar="[SOCKET]",
    help="Use the living engine of the workspace (sekft resident), or fail; with a path, the one "
    "behind that socket.",
)
@click.option(
    "--no-resident",
    is_flag=True,
    help="Begin with an engine of its own, also where one is alive in the workspace.",
)
@click.option(
    "--mouse/--no-mouse",
    default=None,
    help="Use the mouse, or leave it to the terminal (default: as the settings say).",
)
@click.pass_context
def command(
    context: click.Context,
    workspace: str | None,
    base: str,
    data: str,
    hub: str,
    demo: bool,
    attach: str | None,
    no_resident: bool,
    mouse: bool | None,
) -> int:
    """Open the workbench: browse, train, evaluate, replay.

    Where an engine is alive in the workspace (sekft resident), the workbench shows that one, with
    all that it has done. It goes on when the workbench ends.

    It needs a terminal of at least 80 by 24 characters. Press ? for all keys.
    """
    from sekft_tui.launch import launch

    if context.args:
        words = shlex.join(context.args)
        raise click.UsageError(
            f"unexpected argument {words}; a workspace is named with --workspace {words}"
        )
    if attach is not None and no_resident:
        raise click.UsageError("--attach and --no-resident exclude each other")
    here = None if workspace or demo else workspace_here()
    if demo and not workspace:
        from sekft_engine.demo import default_folder

        workspace = str(default_folder())
    place = workspace or (str(here.root) if here is not None else ".")
    return launch(
        place,
        base=base,
        demo=demo,
        data=data,
        hub=hub,
        attach=attach,
        resident=not no_resident,
        mouse=mouse,
    )
