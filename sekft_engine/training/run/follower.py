"""A follower process: it trains the same base, data and steps as the leader, without output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sekft_engine.bases import base_digest, resolve_base
from sekft_engine.core.errors import BadInput, DigestMismatch, JobFailed, SekftError
from sekft_engine.data.clock import Clock
from sekft_engine.model.device import choose_device
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records import jobs
from sekft_engine.render import ChatTokenizer
from sekft_engine.training.trainer.data import Data, load_data
from sekft_engine.training.trainer.processes import Processes, here, joined
from sekft_engine.training.trainer.ranks import Ranks
from sekft_engine.training.trainer.step import Abandoned
from sekft_engine.training.trainer.trainer import Trainer

if TYPE_CHECKING:
    import torch


class Brief(msgspec.Struct, frozen=True, kw_only=True):
    """What the leader trains; each follower must compute the same ``digests``."""

    job: jobs.Train
    digests: dict[str, str]
    recompute: bool
    clock: Clock | None = None


def digests_of(base: str, tokenizer: ChatTokenizer, data: Data) -> dict[str, str]:
    """What must be the same in all processes."""
    return {"base": base, "data": data.digest, "order": data.order} | tokenizer.digest.by_name


def lead(
    ranks: Ranks,
    job: jobs.Train,
    base: Path,
    digests: dict[str, str],
    recompute: bool,
    clock: Clock,
    place: torch.device,
) -> None:
    """Send the followers what is trained, in terms that are valid on their machines."""
    data = str(Path(job.data).expanduser().absolute()) if job.data else ""
    job = msgspec.structs.replace(job, base=str(base), data=data, device=place.type)
    brief = Brief(job=job, digests=digests, recompute=recompute, clock=clock)
    ranks.announce("train", msgspec.json.encode(brief))


def refuse_lone_shards(job: jobs.Train, ranks: Ranks) -> None:
    """Raise :class:`BadInput` if the base is to be sharded and cannot be."""
    if not job.shard_base:
        return
    if ranks.size == 1:
        raise BadInput(
            "there is one process only",
            where="--shard-base",
            mend="start several with torchrun or accelerate launch",
        )
    if job.load_4bit and choose_device(job.device).type == "cpu":
        raise BadInput(
            "4-bit weights of a CPU lie in an order that cannot be spread",
            where="--shard-base",
            mend="leave --load-4bit out, or use GPUs",
        )
    if job.recipe.eval_every:
        raise BadInput(
            "a base that is spread over processes cannot act in worlds",
            where="recipe.eval_every",
            mend="set it to 0, and use sekft eval afterwards",
        )


def follow() -> None:
    """Train with the leader, run after run, until it has no more.

    Raises:
        SekftError: the failure, in this or in another process.
    """
    ranks = joined()
    if not isinstance(ranks, Processes):
        return
    resident: ResidentBase | None = None
    try:
        while (received := ranks.receive())[0] != "end":
            brief = msgspec.json.decode(received[1][0], type=Brief)
            resident = follow_run(ranks, brief, resident)
    except RuntimeError as error:  # what torch raises if the other process has ended
        raise JobFailed(f"the first process is gone: {error}", where=here()) from error


def follow_run(ranks: Processes, brief: Brief, resident: ResidentBase | None) -> ResidentBase:
    """Train what ``brief`` says, on ``resident`` if that is the right base.

    Returns:
        the base for the next run.
    """
    job = brief.job
    with ranks.together():
        folder = resolve_base(job.base)
        tokenizer = ChatTokenizer.load(folder, brief.clock)
        data = load_data(job.data, job.hub, tokenizer, job.recipe, strict=job.strict)
        _refuse_others(digests_of(base_digest(folder), tokenizer, data), brief)
        if resident is None or not _same(resident, folder, job):
            resident = ResidentBase.load(
                folder,
                place=choose_device(job.device),
                load_4bit=bool(job.load_4bit),
                sharded=job.shard_base,
            )
    name = "the run"
    resident.new_adapter(name, job.recipe)
    if job.shard_base:
        ranks.shard(resident.model, choose_device(job.device))
        resident.spread()
    trainer = Trainer(resident, name, data, job.recipe, ranks=ranks)
    trainer.recompute = brief.recompute
    try:
        _run_commands(ranks, trainer)
    finally:
        trainer.close()
        resident.drop(name)  # this verifies the base, too
    return resident


def _run_commands(ranks: Processes, trainer: Trainer) -> None:
    steps = trainer.steps()
    while True:
        command, arguments = ranks.receive()
        try:
            if command == "end":
                return
            if command == "restore":
                trainer.restore(*arguments)
                steps = trainer.steps()
            elif command == "step":
                next(steps)
            elif command == "heldout":
                trainer.heldout_loss()
            elif command == "confirm":
                trainer.confirm(accept=arguments[0])
        except Abandoned:
            steps = trainer.steps()
        except SekftError:
            # The leader reports it, and saves; its next command says how to continue.
            steps = trainer.steps()


def _same(resident: ResidentBase, folder: Path, job: jobs.Train) -> bool:
    return (resident.path, resident.placed, resident.quantised, resident.sharded) == (
        folder,
        str(choose_device(job.device)),
        bool(job.load_4bit),
        job.shard_base,
    )


def _refuse_others(found: dict[str, str], brief: Brief) -> None:
    differs = [name for name, digest in brief.digests.items() if found.get(name) != digest]
    if differs:
        raise DigestMismatch(
            f"not the same here as in the first process: {', '.join(differs)}",
            where=here(),
            mend="give every machine the same base, data and version of sekft",
        )
