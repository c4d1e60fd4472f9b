"""``sekft mask --loss RUN``: what a run's adapter did to the loss of each trained token."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sekft_engine import jobs
from sekft_engine.errors import BadInput, DigestMismatch, SekftError
from sekft_engine.render import Dropped, build_row
from sekft_engine.runs import RunInfo, run_of
from sekft_engine.workspace import Workspace

if TYPE_CHECKING:
    from sekft_engine.render import ChatTokenizer
    from sekft_engine.sft.loss_report import Measured, Unshown
    from sekft_engine.sft.token_loss import LossFile
    from sekft_engine.sources.sessions import Sessions


#: What shows best what was learned comes first.
PARTS = ("heldout", "train", "")


def show_losses(
    run: str,
    place: Workspace | None,
    *,
    data: str,
    hub: str,
    base: str,
    only: str,
    limit: int,
    measure: bool,
    target: Path | None,
    view: str,
    as_json: bool,
) -> int:
    """Print the losses of all trajectories that were measured, or of one of them."""
    from sekft_engine.cli.mask import terminal, write_pieces
    from sekft_engine.render.load import load_tokenizer
    from sekft_engine.sft.loss_report import loss_document
    from sekft_engine.sft.recorded import recorded
    from sekft_engine.sft.show_losses import print_losses
    from sekft_engine.sft.token_loss import read_token_losses
    from sekft_engine.sources.sessions import Sessions

    if target is not None and not only:
        raise BadInput(
            "one trajectory is exported at a time", where="--export", mend="name it with --id"
        )
    info = run_of(run, place.runs if place else None)
    given = recorded(info).with_given(base=base, data=data, hub=hub)
    if measure:
        ids = (only,) if only else ()
        job = jobs.MeasureLosses(run=info.path, ids=ids, data=data, hub=hub, base=base)
        _measure(msgspec.structs.replace(job, n=limit) if limit else job, place)
    losses = read_token_losses(info.path)
    _refuse_none(info, losses, only)
    tokenizer = load_tokenizer(given.base, place)
    sessions = Sessions(given.data, given.hub)
    if target is not None:
        from sekft_engine.cli.mask_export import export_losses

        one = _one(only, losses, sessions, tokenizer)
        return export_losses(one, tokenizer, given.recipe.max_length, target, view)
    # Stable: within a part the order of the file stays.
    order = sorted(losses, key=lambda name: PARTS.index(losses[name].part))
    shown = [only] if only else order[: limit or None]
    found = _measured(shown, losses, sessions, tokenizer, strict=bool(only))
    if as_json:
        facts = {
            "run": info.id,
            "path": info.path,
            "base": given.base,
            "adapter_sha256": losses.adapter,
        }
        write_pieces(loss_document(facts, found))
    else:
        title = f"{info.id}: what the adapter learned"
        print_losses(title, found, terminal(), tokens=bool(only))
    return 0


def _measure(job: jobs.MeasureLosses, place: Workspace | None) -> None:
    from sekft_engine.cli.display import Display
    from sekft_engine.foreground import run_job

    with Display() as display:
        run_job(job, place, display.show)


def _refuse_none(info: RunInfo, losses: LossFile, only: str) -> None:
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
    """The rows with their losses; where a row is not the one that was measured, why not, which
    with ``strict``, or where there is no other, is an error."""
    from sekft_engine.sft.loss_report import Unshown

    shown = False
    for number, identity in enumerate(ids, 1):
        try:
            found = _one(identity, losses, sessions, tokenizer)
        except SekftError as error:
            if strict or (number == len(ids) and not shown):
                raise
            yield Unshown(identity, error.what)
        else:
            shown = True
            yield found


def _one(identity: str, losses: LossFile, sessions: Sessions, tokenizer: ChatTokenizer) -> Measured:
    from sekft_engine.sft.loss_report import Measured

    trajectory = sessions.get(identity)
    row = build_row(trajectory, tokenizer)
    if isinstance(row, Dropped):
        raise DigestMismatch(
            f"it makes no row any more: {row.reason}: {row.detail}",
            where=identity,
            mend="name the run's data and base with --data and --base",
        )
    return Measured.of(row, losses[identity])
