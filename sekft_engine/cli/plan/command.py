"""``sekft plan``: the memory and speed of a run, from the base's configuration alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sekft_engine.cli.options import (
    data_option,
    device_option,
    find_workspace,
    hub_option,
    json_option,
    workspace_option,
)
from sekft_engine.cli.show.document import print_json
from sekft_engine.cli.train import recipe_options
from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.data.recipe import Recipe, recipe_from
from sekft_engine.data.workspace import Workspace

if TYPE_CHECKING:
    from sekft_engine.training.planning.step import Passes


@click.command("plan")
@click.option(
    "--base",
    default="",
    help="A base, or its config.json: no weights are needed [default: the workspace's].",
)
@click.option("--load-4bit", is_flag=True, help="Hold the base in 4 bits (NF4, double quant).")
@click.option(
    "--gpu",
    default="",
    metavar="CARD|SIZE",
    help="A card (rtx4090, a100-40gb, …) or its memory (24GB); sekft plan --cards lists them "
    "[default: this machine's card, else its processor].",
)
@device_option
@click.option(
    "--eval-rows",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Episodes of an eval that are open at once.",
)
@click.option(
    "--eval-tokens",
    type=click.IntRange(min=1),
    default=4096,
    show_default=True,
    help="The most tokens of such an episode.",
)
@click.option("--cards", is_flag=True, help="Only list the cards that are known.")
@data_option("none: rows as long as --max-length allows")
@hub_option
@json_option
@workspace_option
@recipe_options
def command(
    base: str,
    load_4bit: bool,
    gpu: str,
    device: str,
    eval_rows: int,
    eval_tokens: int,
    cards: bool,
    data: str,
    hub: str,
    as_json: bool,
    workspace: Path | None,
    **options: Any,
) -> int:
    """Say whether a run fits into memory, before anything is loaded.

    All figures are computed from the base's configuration and the recipe; the speed is an estimate
    from what a card's maker publishes. Exit status 1 = it does not fit.
    """
    from sekft_engine.training.planning.cards import CARDS

    if cards:
        return _list_cards(CARDS, as_json=as_json)
    from sekft_engine.bases.shape import read_shape
    from sekft_engine.training.planning.place import place_here, place_named
    from sekft_engine.training.planning.plan import plan_run

    workspace_here = find_workspace(workspace)
    recipe = recipe_from({name: options[name] for name in Recipe.__struct_fields__})
    if gpu and device != "auto":
        raise BadInput("both --gpu and --device are given", mend="leave one of them out")
    place = place_named(gpu) if gpu else place_here(device=device)
    path = base_path(base, workspace_here)
    plan = plan_run(
        base or path.name,
        read_shape(path),
        recipe,
        place,
        load_4bit=load_4bit,
        passes=_passes(path, data, hub, recipe) if data or hub else None,
        eval_rows=eval_rows,
        eval_tokens=eval_tokens,
    )
    if as_json:
        print_json(plan)
    else:
        from sekft_engine.cli.show.plan import print_plan

        print_plan(plan)
    return 0 if plan.fits else 1


def base_path(base: str, workspace: Workspace | None) -> Path:
    """The folder of a base, or its ``config.json`` where that is named.

    Raises:
        BadInput, Unavailable: there is none on this machine.
    """
    from sekft_engine.bases import ready_base

    path = Path(base).expanduser()
    if base and (path.suffix == ".json" or (path / "config.json").is_file()):
        return path
    found = ready_base(base, workspace)
    if found is None:
        raise Unavailable(
            "this base is not on this machine yet",
            where=base,
            mend="name its config.json, which is all that is needed",
        )
    return found


def _passes(path: Path, data: str, hub: str, recipe: Recipe) -> Passes:
    """The passes of a run on this data."""
    from sekft_engine.render.template.tokenizer import load_tokenizer
    from sekft_engine.training.planning.step import Passes
    from sekft_engine.training.trainer.data import load_data

    folder = path if path.is_dir() else path.parent
    if not (folder / "tokenizer.json").is_file():
        raise BadInput(
            "the rows of --data are counted in tokens, and there is no tokenizer.json here",
            where=str(folder),
            mend="put it beside config.json, or leave --data out",
        )
    rows = load_data(data, hub, load_tokenizer(str(folder)), recipe).train
    return Passes(rows, recipe)


def _list_cards(cards: Any, *, as_json: bool) -> int:
    if as_json:
        print_json({"cards": cards})
    else:
        from sekft_engine.cli.show.plan import print_cards

        print_cards(cards)
    return 0
