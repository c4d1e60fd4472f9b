"""The part of a process that another one leads: the same base, data and steps, and no word of its
own."""

from __future__ import annotations

from pathlib import Path

import msgspec

from sekft_engine import jobs
from sekft_engine.base import ResidentBase, render_digests, resolve_base
from sekft_engine.bases import base_digest
from sekft_engine.bases.store import digest_memo
from sekft_engine.errors import BadInput, DigestMismatch, JobFailed, SekftError
from sekft_engine.render import ChatTokenizer
from sekft_engine.sft.data import Data, load_data
from sekft_engine.sft.loop import Abandoned, Trainer
from sekft_engine.sft.processes import Processes, here, joined
from sekft_engine.sft.ranks import Ranks


class Brief(msgspec.Struct, frozen=True, kw_only=True):
    """What the leader trains: ``digests`` must be what each follower finds for itself."""

    job: jobs.Train
    digests: dict[str, str]
    recompute: bool


def digests_of(base: str, tokenizer: ChatTokenizer, data: Data) -> dict[str, str]:
    """What must be the same in all processes."""
    return {"base": base, "data": data.digest, "order": data.order} | render_digests(tokenizer)


def lead(
    ranks: Ranks, job: jobs.Train, base: Path, digests: dict[str, str], recompute: bool
) -> None:
    """Tell the followers what is trained, in words that mean the same on their machines."""
    data = str(Path(job.data).expanduser().absolute()) if job.data else ""
    job = msgspec.structs.replace(job, base=str(base), data=data)
    brief = Brief(job=job, digests=digests, recompute=recompute)
    ranks.announce("train", msgspec.json.encode(brief))


def refuse_lone_shards(job: jobs.Train, ranks: Ranks) -> None:
    """Raise :class:`BadInput` where a base is to be spread that has to stay whole."""
    if not job.shard_base:
        return
    if ranks.size == 1:
        raise BadInput(
            "there is one process only",
            where="--shard-base",
            mend="start several with torchrun or accelerate launch",
        )
    if job.load_4bit and not _has_gpu():
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


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def follow() -> None:
    """Train with the leader, run after run, until it has no more.

    Raises:
        SekftError: what went wrong, here or in another process.
    """
    ranks = joined()
    if not isinstance(ranks, Processes):
        return
    resident: ResidentBase | None = None
    try:
        while (told := ranks.hear())[0] != "end":
            given = msgspec.json.decode(told[1][0], type=Brief)
            resident = follow_run(ranks, given, resident)
    except RuntimeError as error:  # what torch raises where the other side is gone
        raise JobFailed(f"the first process is gone: {error}", where=here()) from error


def follow_run(ranks: Processes, given: Brief, resident: ResidentBase | None) -> ResidentBase:
    """Train what the leader is told to, on ``resident`` where it is the right base; returns the
    base for the next run."""
    job = given.job
    with ranks.together():
        folder = resolve_base(job.base)
        tokenizer = ChatTokenizer.load(folder)
        data = load_data(job.data, job.hub, tokenizer, job.recipe)
        _refuse_others(digests_of(base_digest(folder, digest_memo()), tokenizer, data), given)
        if resident is None or not _same(resident, folder, job):
            resident = ResidentBase.load(folder, load_4bit=job.load_4bit, sharded=job.shard_base)
    name = "the run"
    resident.new_adapter(name, job.recipe)
    if job.shard_base:
        ranks.shard(resident.model)
        resident.spread()
    trainer = Trainer(resident, name, data, job.recipe, ranks=ranks)
    trainer.recompute = given.recompute
    try:
        _obey(ranks, trainer)
    finally:
        trainer.close()
        resident.drop(name)  # which proves the base, too
    return resident


def _obey(ranks: Processes, trainer: Trainer) -> None:
    steps = trainer.steps()
    while True:
        word, what = ranks.hear()
        try:
            if word == "end":
                return
            if word == "restore":
                trainer.restore(*what)
                steps = trainer.steps()
            elif word == "step":
                next(steps)
            elif word == "heldout":
                trainer.heldout_loss()
            elif word == "confirm":
                trainer.confirm()
        except Abandoned:
            steps = trainer.steps()
        except SekftError:
            # It is the leader's to tell, and to save; the next word says how it goes on.
            steps = trainer.steps()


def _same(resident: ResidentBase, folder: Path, job: jobs.Train) -> bool:
    return (resident.path, resident.quantised, resident.sharded) == (
        folder,
        job.load_4bit,
        job.shard_base,
    )


def _refuse_others(found: dict[str, str], given: Brief) -> None:
    differs = [name for name, digest in given.digests.items() if found.get(name) != digest]
    if differs:
        raise DigestMismatch(
            f"not the same here as in the first process: {', '.join(differs)}",
            where=here(),
            mend="give every machine the same base, data and version of sekft",
        )
