"""The part of a process that another one leads: the same base, data and steps, and no word of its
own."""

from __future__ import annotations

from pathlib import Path

import msgspec

from sekft_engine import jobs
from sekft_engine.base import ResidentBase, render_digests, resolve_base
from sekft_engine.bases import base_digest
from sekft_engine.bases.store import digest_memo
from sekft_engine.errors import DigestMismatch, SekftError
from sekft_engine.render import ChatTokenizer
from sekft_engine.sft.data import Data, load_data
from sekft_engine.sft.loop import Abandoned, Trainer
from sekft_engine.sft.processes import Processes, here, joined


class Brief(msgspec.Struct, frozen=True, kw_only=True):
    """What the leader trains: ``digests`` must be what each follower finds for itself."""

    job: jobs.Train
    digests: dict[str, str]


def digests_of(base: str, tokenizer: ChatTokenizer, data: Data) -> dict[str, str]:
    """What must be the same in all processes."""
    return {"base": base, "data": data.digest, "order": data.order} | render_digests(tokenizer)


def brief(ranks: Processes, job: jobs.Train, digests: dict[str, str]) -> None:
    """Tell the followers what is trained."""
    ranks.announce("train", msgspec.json.encode(Brief(job=job, digests=digests)))


def follow() -> None:
    """Train with the leader, run after run, until it has no more.

    Raises:
        SekftError: what went wrong, here or in another process.
    """
    ranks = joined()
    if not isinstance(ranks, Processes):
        return
    resident: ResidentBase | None = None
    while (told := ranks.hear())[0] != "end":
        given = msgspec.json.decode(told[1][0], type=Brief)
        resident = _follow_run(ranks, given, resident)


def _follow_run(ranks: Processes, given: Brief, resident: ResidentBase | None) -> ResidentBase:
    job = given.job
    with ranks.together():
        folder = resolve_base(job.base)
        tokenizer = ChatTokenizer.load(folder)
        data = load_data(job.data, job.hub, tokenizer, job.recipe)
        _refuse_others(digests_of(base_digest(folder, digest_memo()), tokenizer, data), given)
        if resident is None or not _same(resident, folder, job):
            resident = ResidentBase.load(folder, load_4bit=job.load_4bit, sharded=job.shard_base)
    name = f"run {id(given)}"
    resident.new_adapter(name, job.recipe)
    if job.shard_base:
        ranks.shard(resident.model)
    trainer = Trainer(resident, name, data, job.recipe, ranks=ranks)
    try:
        _obey(ranks, trainer)
    finally:
        trainer.close()
        resident.drop(name)
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
        except Abandoned:
            steps = trainer.steps()
        except SekftError:
            # It is the leader's to tell, and to save; the next word says how it goes on.
            steps = trainer.steps()


def _same(resident: ResidentBase, folder: Path, job: jobs.Train) -> bool:
    return resident.path == folder and resident.quantised == job.load_4bit


def _refuse_others(found: dict[str, str], given: Brief) -> None:
    differs = [name for name, digest in given.digests.items() if found.get(name) != digest]
    if differs:
        raise DigestMismatch(
            f"not the same here as in the first process: {', '.join(differs)}",
            where=here(),
            mend="give every machine the same base, data and version of sekft",
        )
