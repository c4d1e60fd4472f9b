"""``sekft mask --loss RUN``: what a run's adapter did to the loss of each trained token."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from sekft_engine.cli.mask.options import Options, terminal, write_pieces
from sekft_engine.core.errors import BadInput, DigestMismatch, SekftError
from sekft_engine.data.workspace import Workspace
from sekft_engine.records import jobs
from sekft_engine.records.runs import RunInfo, run_of
from sekft_engine.render import Dropped, build_row

if TYPE_CHECKING:
    from sekft_engine.render import ChatTokenizer
    from sekft_engine.sources.index.sessions import Sessions
    from sekft_engine.training.token_losses.losses import LossFile
    from sekft_engine.training.token_losses.report import Measured, Unshown


#: What shows best what was learned comes first.
PARTS = ("heldout", "train", "")


def show_losses(options: Options, place: Workspace | None, *, as_json: bool) -> int:
    """Print the losses of all trajectories that were measured, or of one of them."""
    from sekft_engine.cli.show.losses import print_losses
    from sekft_engine.render.template.tokenizer import load_tokenizer
    from sekft_engine.sources.index.sessions import Sessions
    from sekft_engine.training.token_losses.losses import read_token_losses
    from sekft_engine.training.token_losses.recorded import recorded
    from sekft_engine.training.token_losses.report import loss_document

    only = options.only
    if options.target is not None and not only:
        raise BadInput(
            "one trajectory is exported at a time", where="--export", mend="name it with --id"
        )
    info = run_of(options.run, place.runs if place else None)
    source = recorded(info).overridden_by(base=options.base, data=options.data, hub=options.hub)
    if options.measure:
        _measure(info, options, place)
    losses = read_token_losses(info.path)
    _refuse_unmeasured(info, losses, only)
    tokenizer = load_tokenizer(source.base, place, source.clock)
    sessions = Sessions(source.data, source.hub, strict=options.strict)
    if options.target is not None:
        from sekft_engine.cli.mask.export import export_losses

        measured = _measured_row(only, losses, sessions, tokenizer)
        limit = source.recipe.max_length
        return export_losses(measured, tokenizer, limit, options.target, options.view)
    # Stable: within a part the order of the file stays.
    order = sorted(losses, key=lambda name: PARTS.index(losses[name].part))
    shown = [only] if only else order[: options.limit or None]
    found = _measured(shown, losses, sessions, tokenizer, strict=bool(only))
    if as_json:
        facts = {
            "run": info.id,
            "path": info.path,
            "base": source.base,
            "adapter_sha256": losses.adapter,
        }
        write_pieces(loss_document(facts, found))
    else:
        title = f"{info.id}: what the adapter learned"
        print_losses(title, found, terminal(), tokens=bool(only))
    return 0


def _measure(info: RunInfo, options: Options, place: Workspace | None) -> None:
    from sekft_engine.cli.show.display import Display
    from sekft_engine.engine.run_job import run_job

    job = jobs.MeasureLosses(
        run=info.path,
        ids=(options.only,) if options.only else (),
        data=options.data,
        hub=options.hub,
        base=options.base,
        device=options.device,
    )
    if options.limit:
        job = msgspec.structs.replace(job, n=options.limit)
    with Display() as display:
        run_job(job, place, display.show, resident=not options.no_resident)


def _refuse_unmeasured(info: RunInfo, losses: LossFile, only: str) -> None:
    again = f"sekft mask --loss {shlex.quote(info.path)}"
    if only and only not in losses:
        raise BadInput(
            f"its losses under the adapter of {info.id} are not measured",
            where=only,
            mend=f"measure them: {again} --id {shlex.quote(only)} --measure",
        )
    if not losses:
        raise BadInput(
            "no token losses were measured of this run's adapter",
            where=info.id,
            mend=f"measure some: {again} --measure",
        )


def _measured(
    ids: list[str], losses: LossFile, sessions: Sessions, tokenizer: ChatTokenizer, *, strict: bool
) -> Iterator[Measured | Unshown]:
    """Yield the rows with their losses, or the reason if another row was measured.

    With ``strict``, or if no row can be shown, the reason is raised as an error.
    """
    from sekft_engine.training.token_losses.report import Unshown

    shown = False
    for number, identity in enumerate(ids, 1):
        try:
            found = _measured_row(identity, losses, sessions, tokenizer)
        except SekftError as error:
            if strict or (number == len(ids) and not shown):
                raise
            yield Unshown(identity, error.what)
        else:
            shown = True
            yield found


def _measured_row(
    identity: str, losses: LossFile, sessions: Sessions, tokenizer: ChatTokenizer
) -> Measured:
    from sekft_engine.training.token_losses.report import Measured

    trajectory = sessions.get(identity)
    row = build_row(trajectory, tokenizer)
    if isinstance(row, Dropped):
        raise DigestMismatch(
            f"it makes no row any more: {row.reason}: {row.detail}",
            where=identity,
            mend="name the run's data and base with --data and --base",
        )
    return Measured.of(row, losses[identity])
