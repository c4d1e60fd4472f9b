"""``sekft mask``: which tokens are trained, the certificate that this is right, and what an
adapter did to each of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from sekft_engine.cli.options import (
    base_option,
    data_option,
    data_or_own,
    find_workspace,
    hub_option,
    json_option,
    print_json,
    workspace_option,
)
from sekft_engine.errors import BadInput
from sekft_engine.recipe import Recipe
from sekft_engine.visible import visible

if TYPE_CHECKING:
    from rich.console import Console

    from sekft_engine.filters import Filter
    from sekft_engine.render import ChatTokenizer, Dropped, Row
    from sekft_engine.sources.sessions import Sessions
    from sekft_engine.trajectory import Trajectory


@click.command("mask")
@data_option("the workspace's, with --loss the run's")
@hub_option
@base_option("the workspace's, with --loss the run's")
@click.option("--id", "only", default="", help="Show this trajectory only.")
@click.option(
    "--filter",
    "expression",
    default="",
    metavar="EXPR",
    help="Only those that pass, as in 'archetype:count turns>9 -outcome:cap tokens<2k "
    "dropped:yes'; docs/filters.md lists all fields.",
)
@click.option(
    "--search", default="", metavar="TEXT", help="Only those that hold TEXT, whatever its case."
)
@click.option("--all", "everything", is_flag=True, help="Also raw recordings that are not kept.")
@click.option(
    "--limit", default=0, type=click.IntRange(min=0), help="Only the first so many; 0 = all."
)
@click.option(
    "--max-length",
    default=Recipe().max_length,
    show_default=True,
    type=click.IntRange(min=0),
    help="Longest trajectory in tokens; 0 = any.",
)
@click.option(
    "--export",
    "target",
    default=None,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write one trajectory as it is shown to FILE, a page (.html) or a picture (.svg).",
)
@click.option(
    "--view",
    default="",
    metavar="NAME",
    help="With --export: context, edges, ids, marks, labels, loss or certificate "
    "[default: context, with --loss loss].",
)
@click.option("--stats", is_flag=True, help="Counts over all of them instead of a list.")
@click.option(
    "--loss",
    "run",
    default="",
    metavar="RUN",
    help="What this run's adapter did to the loss of each trained token: the run's id, its "
    "folder, or its adapter's.",
)
@click.option(
    "--measure",
    is_flag=True,
    help="With --loss: measure what is not measured yet (loads the base), with --id that one.",
)
@json_option
@workspace_option
def command(
    data: str,
    hub: str,
    base: str,
    only: str,
    expression: str,
    search: str,
    everything: bool,
    limit: int,
    max_length: int,
    target: Path | None,
    view: str,
    stats: bool,
    run: str,
    measure: bool,
    as_json: bool,
    workspace: Path | None,
) -> int:
    """Show per trajectory which tokens are trained, and its certificate.

    Trained are the commands with the token that ends each; all that the environment said is
    masked. Without --id (and more than one trajectory) a listing is printed. With --loss, what
    an adapter learned of each trained token.
    """
    place = find_workspace(workspace)
    if target is None and view:
        raise click.UsageError("--view needs --export FILE")
    if target is not None and (stats or as_json):
        raise click.UsageError("--export goes with neither --stats nor --json")
    if (expression or search) and (only or run or target is not None):
        raise click.UsageError("--filter and --search go with none of --id, --export and --loss")
    wanted = _wanted(expression, search)
    if run:
        if stats or everything:
            raise click.UsageError("--loss goes with neither --stats nor --all")
        from sekft_engine.cli.mask_loss import show_losses

        return show_losses(
            run,
            place,
            data=data,
            hub=hub,
            base=base,
            only=only,
            limit=limit,
            measure=measure,
            target=target,
            view=view,
            as_json=as_json,
        )
    if measure:
        raise click.UsageError("--measure needs --loss RUN")
    data = data_or_own(data, hub, place)

    from sekft_engine.render.load import load_tokenizer
    from sekft_engine.sources.sessions import Sessions
    from sekft_engine.sources.sift import late_of

    tokenizer = load_tokenizer(base, place)
    sessions = Sessions(data, hub)
    items = _items(sessions, only, wanted, keep_only=not everything)
    if target is not None:
        from sekft_engine.cli.mask_export import export_mask

        _refuse_several(sessions, only)
        return export_mask(sessions, next(items, None), tokenizer, max_length, target, view)
    late = late_of(wanted)
    if not late:
        items = islice(items, limit or None)
    rows = islice(rows_of(items, tokenizer, max_length, late), limit or None)
    if stats:
        _stats(rows, as_json)
    elif as_json:
        from sekft_engine.render.report import mask_document

        write_pieces(mask_document(rows, known=sessions.facts))
    else:
        _show(rows, terminal(), sessions, wanted, single=bool(only) or len(sessions) == 1)
    return 0


def rows_of(
    items: Iterable[Trajectory | Dropped],
    tokenizer: ChatTokenizer,
    max_length: int,
    late: Filter,
) -> Iterator[Row | Dropped]:
    """The rows of trajectories that pass ``late``, those that training takes; what is dropped
    already stays so, about where it stood."""
    from sekft_engine.render import Dropped
    from sekft_engine.render.cache import cached_rows
    from sekft_engine.render.finish import limited

    dropped: list[Dropped] = []

    def kept() -> Iterator[Trajectory]:
        for item in items:
            if isinstance(item, Dropped):
                dropped.append(item)
            else:
                yield item

    def passes(row: Row | Dropped, given: Row | Dropped) -> bool:
        return not late or _passes(late, row, given)

    for row in cached_rows(kept(), tokenizer):
        yield from (one for one in dropped if passes(one, one))
        dropped.clear()
        given = limited(row, max_length)
        if passes(row, given):
            yield given
    yield from (one for one in dropped if passes(one, one))


def _passes(late: Filter, row: Row | Dropped, given: Row | Dropped) -> bool:
    """Whether ``row``, which is ``given`` under the limit, is what ``late`` asks for."""
    from sekft_engine.filters import matches
    from sekft_engine.render import Dropped
    from sekft_engine.sources.sift import certified

    reason = given.reason if isinstance(given, Dropped) else ""
    size = (0, 0) if isinstance(row, Dropped) else (len(row), row.trained_tokens)
    return matches(late, lambda field: certified(field, reason, *size), lambda: "")


def _wanted(expression: str, search: str) -> Filter:
    """What ``--filter`` and ``--search`` say together."""
    from sekft_engine.filters import Filter, Term, parse

    text = (Term("", "", (search.lower(),)),) if search else ()
    return Filter((*parse(expression).terms, *text))


def terminal() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def write_pieces(pieces: Iterable[bytes]) -> None:
    """Write one JSON document to stdout as it comes."""
    for piece in pieces:
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _refuse_several(sessions: Sessions, only: str) -> None:
    if not only and len(sessions) > 1:
        raise BadInput(
            "one trajectory is exported at a time", where="--export", mend="name it with --id"
        )


def _items(
    sessions: Sessions, only: str, wanted: Filter, *, keep_only: bool
) -> Iterator[Trajectory | Dropped]:
    if not only:
        return sessions.each(keep_only=keep_only, wanted=wanted)
    found = sessions.one(only, keep_only=keep_only)
    if found is None:
        raise BadInput(
            f"no trajectory has the id {only!r}",
            where=sessions.where,
            mend="sekft mask lists the ids",
        )
    return iter([found])


def _stats(rows: Iterable[Row | Dropped], as_json: bool) -> None:
    from sekft_engine.render.report import inspect_rows
    from sekft_engine.render.show import print_inspect

    report = inspect_rows(rows)
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        print_inspect(report, terminal())


def _show(
    rows: Iterator[Row | Dropped],
    console: Console,
    sessions: Sessions,
    wanted: Filter,
    *,
    single: bool,
) -> None:
    from sekft_engine.render import Row
    from sekft_engine.render.show import print_listing, print_row

    row = next(rows, None)
    if row is None:
        none = f"nothing passes {wanted}" if wanted else "nothing here"
        console.print(f"{visible(none)} ({len(sessions):,} in {visible(sessions.where)})")
        return
    if single and isinstance(row, Row):
        print_row(row, console)
        return
    print_listing(chain([row], rows), (), console)
