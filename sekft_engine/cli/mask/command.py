"""``sekft mask``: which tokens are trained, the certificate that this is right, and what an
adapter did to each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from sekft_engine.cli.mask.options import Options, terminal, write_pieces
from sekft_engine.cli.options import (
    base_option,
    data_option,
    data_or_default,
    find_workspace,
    hub_option,
    json_option,
    struct_options,
    workspace_option,
)
from sekft_engine.cli.show.document import print_json
from sekft_engine.core.errors import BadInput
from sekft_engine.core.text import visible

if TYPE_CHECKING:
    from rich.console import Console

    from sekft_engine.data.filters import Filter
    from sekft_engine.data.trajectory import Trajectory
    from sekft_engine.render import ChatTokenizer, Dropped, Row
    from sekft_engine.sources.index.sessions import Sessions


@click.command("mask")
@data_option("the workspace's, with --loss the run's")
@hub_option
@base_option("the workspace's, with --loss the run's")
@struct_options(Options)
@json_option
@workspace_option
def command(as_json: bool, workspace: Path | None, **values: Any) -> int:
    """Show which tokens of each trajectory are trained, and its certificate.

    Commands and the token that ends each are trained; what the environment said is masked. With
    more than one trajectory and no --id, a list is printed. With --loss, what an adapter did to
    the loss of each trained token.
    """
    place, options = find_workspace(workspace), Options(**values)
    options.refuse_contradictions(as_json)
    wanted = _wanted(options.expression, options.search)
    if options.run:
        from sekft_engine.cli.mask.losses import show_losses

        return show_losses(options, place, as_json=as_json)

    from sekft_engine.render.template.tokenizer import load_tokenizer
    from sekft_engine.sources.index.index_filter import late_of
    from sekft_engine.sources.index.sessions import Sessions

    tokenizer = load_tokenizer(options.base, place)
    data = data_or_default(options.data, options.hub, place)
    sessions = Sessions(data, options.hub, strict=options.strict)
    items = _items(sessions, options.only, wanted, keep_only=not options.everything)
    if options.target is not None:
        from sekft_engine.cli.mask.export import export_mask

        _refuse_several(sessions, options.only)
        found = next(items, None)
        return export_mask(
            sessions, found, tokenizer, options.max_length, options.target, options.view
        )
    late = late_of(wanted)
    if not late:
        items = islice(items, options.limit or None)
    rows = islice(rows_of(items, tokenizer, options.max_length, late), options.limit or None)
    if options.stats:
        _stats(rows, sessions, tokenizer.notes, as_json)
    elif as_json:
        from sekft_engine.maskview.report import mask_document

        write_pieces(
            mask_document(
                rows,
                known=sessions.facts,
                notes=sessions.notes,
                passed_over=sessions.passed_over,
            )
        )
    else:
        from sekft_engine.cli.show.mask import print_remarks

        _show(rows, terminal(), sessions, wanted, single=bool(options.only) or sessions.alone)
        print_remarks(tokenizer.notes, terminal())
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
    from sekft_engine.render.bulk.cache import cached_rows
    from sekft_engine.render.rows.finish import limited

    dropped: list[Dropped] = []

    def trajectories() -> Iterator[Trajectory]:
        for item in items:
            if isinstance(item, Dropped):
                dropped.append(item)
            else:
                yield item

    def passes(row: Row | Dropped, limited_row: Row | Dropped) -> bool:
        return not late or _passes(late, row, limited_row)

    # A filter may ask for the tokens of rows that are too long.
    for row in cached_rows(trajectories(), tokenizer, max_length=0 if late else max_length):
        yield from (item for item in dropped if passes(item, item))
        dropped.clear()
        limited_row = limited(row, max_length)
        if passes(row, limited_row):
            yield limited_row
    yield from (item for item in dropped if passes(item, item))


def _passes(late: Filter, row: Row | Dropped, limited_row: Row | Dropped) -> bool:
    """Whether ``row``, which is ``given`` under the limit, is what ``late`` asks for."""
    from sekft_engine.data.filters import matches
    from sekft_engine.render import Dropped
    from sekft_engine.sources.index.index_filter import certified

    reason = limited_row.reason if isinstance(limited_row, Dropped) else ""
    size = (0, 0) if isinstance(row, Dropped) else (len(row), row.trained_tokens)
    return matches(late, lambda field: certified(field, reason, *size), lambda: "")


def _wanted(expression: str, search: str) -> Filter:
    """What ``--filter`` and ``--search`` say together."""
    from sekft_engine.data.filters import Filter, Term, parse

    text = (Term("", "", (search.lower(),)),) if search else ()
    return Filter((*parse(expression).terms, *text))


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
    found = sessions.find(only, keep_only=keep_only)
    if found is None:
        raise BadInput(
            f"no trajectory has the id {only!r}",
            where=sessions.where,
            mend="sekft mask lists the ids",
        )
    return iter([found])


def _stats(
    rows: Iterable[Row | Dropped], sessions: Sessions, remarks: tuple[str, ...], as_json: bool
) -> None:
    from sekft_engine.cli.show.mask import print_inspect
    from sekft_engine.maskview.report import inspect_rows

    report = msgspec.structs.replace(
        inspect_rows(rows),
        notes=dict(sessions.notes.most_common()),
        passed_over=sessions.passed_over,
        remarks=remarks,
    )
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
    from sekft_engine.cli.show.mask import print_listing, print_notes, print_row
    from sekft_engine.render import Row

    row = next(rows, None)
    if row is None:
        none = f"nothing passes {wanted}" if wanted else "nothing here"
        console.print(f"{visible(none)} ({len(sessions):,} in {visible(sessions.where)})")
        return
    if single and isinstance(row, Row):
        print_row(row, console)
        list(rows)
    else:
        print_listing(chain([row], rows), (), console)
    print_notes(sessions.notes, sessions.passed_over, console)
