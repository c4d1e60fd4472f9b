"""Compose bundles: archetype x provider x announcement x depth x difficulty x terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import TypeVar

import msgspec

from sekft_engine.factory import providers
from sekft_engine.factory.archetypes import HELD_OUT, TRAINING
from sekft_engine.factory.job import Desk, Job, absent, content
from sekft_engine.factory.words import Names
from sekft_engine.scenario import Channel, DocDepth, Fixture, Scenario, Terminal

T = TypeVar("T")

#: Nine scenarios hold two that end by panic (22 %).
_TERMINALS: tuple[Terminal, ...] = ("exit",) * 7 + ("panic",) * 2
_DIFFICULTIES = (1, 1, 1, 2, 2, 3)
#: Why a scenario cannot be done: its input is not there, or its directives are not to be had.
_BLOCKS = ("missing", "missing", "sealed")
#: What the first try may run into although the work can be done: the folder for the result is
#: not there, the program that the directives name is not installed, or both; a verb of the
#: provider that gives something else; the provider's name mistyped. Only those who have met an
#: error of their own doing learn that it is no reason to give up.
_STUMBLES = (*("",) * 5, "folder", "program", "both", "verb", "typo")
#: Two of three directives name the program to use.
_HINTS = (" ({tool})", ", use {tool}", " using {tool}")


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """The point of the taxonomy that one scenario stands for."""

    id: str
    seed: str
    archetype: str
    channel: Channel
    depth: DocDepth
    difficulty: int
    block: str
    stumble: str
    holdout: bool

    @property
    def terminal(self) -> Terminal:
        return "panic" if self.block else "exit"


def _rounds(rng: Random, options: Sequence[T]) -> Iterator[T]:
    """``options`` over and over, each round in a new order: every prefix is nearly balanced."""
    while True:
        round_ = list(options)
        rng.shuffle(round_)
        yield from round_


def specs(split: str, count: int, seed: int) -> list[Spec]:
    """The first ``count`` points of ``split`` (``train`` or ``holdout``); a longer list starts
    with the same ones."""
    holdout = split == "holdout"
    rng = Random(f"sekft:{seed}:{split}")  # noqa: S311 (reproducible, not secret)
    streams = [Random(rng.random()) for _ in range(7)]  # noqa: S311
    archetypes = _rounds(streams[0], sorted(HELD_OUT if holdout else TRAINING))
    channels = _rounds(streams[1], providers.CHANNELS)
    depths = _rounds(streams[2], providers.DEPTHS)
    difficulties = _rounds(streams[3], _DIFFICULTIES)
    terminals = _rounds(streams[4], _TERMINALS)
    blocks = _rounds(streams[5], _BLOCKS)
    stumbles = _rounds(streams[6], _STUMBLES)
    out = []
    for index in range(count):
        archetype = next(archetypes)
        block = next(blocks) if next(terminals) == "panic" else ""
        out.append(
            Spec(
                id=f"{split}-{index:04d}-{archetype}",
                seed=f"sekft:{seed}:{split}:{index}",
                archetype=archetype,
                channel=next(channels),
                depth=next(depths),
                difficulty=next(difficulties),
                block=block,
                stumble="" if block or holdout else next(stumbles),
                holdout=holdout,
            )
        )
    return out


def compose(spec: Spec) -> Scenario:
    """The bundle of ``spec``; the same spec gives the same bundle."""
    rng = Random(spec.seed)  # noqa: S311 (reproducible, not secret)
    names = Names(rng, holdout=spec.holdout)
    folder = f"{names.word()}/" if rng.random() < 0.4 else ""
    archetype = (HELD_OUT if spec.holdout else TRAINING)[spec.archetype]
    count = 2 if spec.difficulty == 3 else 1
    nook = f"{folder}{names.word()}/" if spec.stumble in ("folder", "both") else ""
    jobs = [archetype(Desk(rng, names, folder, nook)) for _ in range(count)]
    if not spec.holdout:
        # The held-out side keeps its own phrasings, most of which name no program.
        jobs = [_hinted(rng, job) for job in jobs]
    if spec.stumble:
        jobs[0] = _stumbling(jobs[0], spec, nook)
    directives = "\n".join(job.text for job in jobs)
    desk = providers.build(rng, names, spec.depth, directives, sealed=spec.block == "sealed")
    announcement = providers.announce(rng, desk.provider.name, spec.depth, spec.channel)
    files = {path: text for job in jobs for path, text in job.files.items()}
    if spec.difficulty > 1:  # files that have nothing to do with the work
        for _ in range(rng.randint(1, 2)):
            files[folder + names.file()] = content(names.words(2))
    if spec.block == "missing":
        files = _without(files, jobs[0].look)
    if not any("/" not in path.rstrip("/") for path in files):
        files[names.file()] = content(names.words(2))
    solution = list(providers.discover(announcement))
    solution += [desk.mistyped, desk.learn] if spec.stumble == "typo" else [desk.learn]
    solution += [desk.beside, desk.fetch] if spec.stumble == "verb" else [desk.fetch]
    solution += _ending(spec, jobs, desk.sealed)
    return Scenario(
        id=spec.id,
        archetype=spec.archetype,
        difficulty=str(spec.difficulty),
        doc_depth=spec.depth,
        provider=desk.provider,
        announcement=announcement,
        directives=directives,
        fixtures=tuple(
            Fixture(path=path, content=text, mode="0755" if path.endswith("/") else "0644")
            for path, text in sorted(files.items())
        ),
        checker=_checker(spec, jobs),
        reference_solution=tuple(solution),
        terminal=spec.terminal,
    )


def _hinted(rng: Random, job: Job) -> Job:
    """``job`` with its program named in the directive, mostly."""
    tool = job.acts[0].split()[0]
    hint = rng.choice(_HINTS)
    if rng.random() < 1 / 3 or tool in job.text.split():
        return job
    return msgspec.structs.replace(job, text=job.text + hint.format(tool=tool))


def _stumbling(job: Job, spec: Spec, nook: str) -> Job:
    """``job`` with the errors that its first tries meet, and the way on from each."""
    act, *rest = job.acts
    text, tries = job.text, [act]
    program = act.split()[0]
    named = [word for word in text.split() if word.strip("()") == program]
    if spec.stumble in ("program", "both") and named and program != "echo":
        # Where the tools of GNU are guests their names begin with g; here they are at home.
        text = text.replace(named[-1], named[-1].replace(program, f"g{program}"))
        tries = [act.replace(program, f"g{program}", 1), act]
    if spec.stumble in ("folder", "both") and any(path.startswith(nook) for path in job.made):
        # The shell opens the output before it looks for the program; mv and cp open it themselves.
        at = 0 if " > " in act else len(tries) - 1
        tries[at : at + 1] = [tries[at], f"mkdir {nook.rstrip('/')}", tries[at]]
    return msgspec.structs.replace(job, text=text, acts=(*tries, *rest))


def _without(files: dict[str, str], look: str) -> dict[str, str]:
    """``files`` without ``look``: the file, or the folder with all that is in it."""
    return {
        path: text
        for path, text in files.items()
        if path.rstrip("/") != look and not path.startswith(f"{look}/")
    }


def _ending(spec: Spec, jobs: list[Job], sealed: str) -> list[str]:
    """From the directives to the terminal: look at the input, act, end."""
    if spec.block == "sealed":
        return [f"panic {sealed}"]
    look = jobs[0].look
    if spec.block == "missing":
        return [f"ls {look}", f"panic {look} is missing"]
    return [f"ls {look}", *(act for job in jobs for act in job.acts), "exit"]


def _checker(spec: Spec, jobs: list[Job]) -> str:
    """State, not transcript: the work is done, or it was given up with a reason and not faked."""
    if spec.block:
        lines = ["[ -s .panic ]", *(absent(path) for job in jobs for path in job.made)]
    else:
        lines = [*(line for job in jobs for line in job.checks), absent(".panic")]
    return "#!/bin/sh\ncd ~ || exit 1\n" + "".join(f"{{ {line}; }} || exit 1\n" for line in lines)
