"""Compose bundles: archetype x provider x announcement x depth x difficulty x terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import TypeVar

import msgspec

from sekft_engine.data.scenario import Channel, DocDepth, Fixture, Scenario, Terminal
from sekft_engine.factory import providers
from sekft_engine.factory.archetypes import HELD_OUT, TRAINING
from sekft_engine.factory.task import Desk, Task, absent, content
from sekft_engine.factory.words import Names

T = TypeVar("T")

#: Of nine scenarios two end by panic (22 %).
_TERMINALS: tuple[Terminal, ...] = ("exit",) * 7 + ("panic",) * 2
_DIFFICULTIES = (1, 1, 1, 2, 2, 3)
#: Why a scenario cannot be done: its input is missing, or its provider gives no directives.
_BLOCKS = ("missing", "missing", "sealed")
#: Errors on the way of a solution although the work can be done: the folder for the result does not
#: exist, the program that the directives name is not installed, or both; another verb of the
#: provider; the provider's name mistyped. A model learns from them that an error of its own is no
#: reason to give up.
_STUMBLES = (*("",) * 5, "folder", "program", "both", "verb", "typo")
#: Two of three directives name the program to use.
_HINTS = (" ({tool})", ", use {tool}", " using {tool}")


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """The properties of a scenario, from which it is composed."""

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
    """``options`` again and again, each round in a new order, so that any prefix is balanced."""
    while True:
        round_ = list(options)
        rng.shuffle(round_)
        yield from round_


def specs(split: str, count: int, seed: int) -> list[Spec]:
    """The first ``count`` specs of ``split``; a longer list begins with the same ones.

    Args:
        split: ``train`` or ``holdout``.
        count: number of specs.
        seed: fixes all choices.
    """
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
    tasks = [archetype(Desk(rng, names, folder, nook)) for _ in range(count)]
    if not spec.holdout:
        # Held-out worlds have phrases of their own, most of which name no program.
        tasks = [_hinted(rng, task) for task in tasks]
    if spec.stumble:
        tasks[0] = _stumbling(tasks[0], spec, nook)
    directives = "\n".join(task.text for task in tasks)
    desk = providers.build(rng, names, spec.depth, directives, sealed=spec.block == "sealed")
    announcement = providers.announce(rng, desk.provider.name, spec.depth, spec.channel)
    files = {path: text for task in tasks for path, text in task.files.items()}
    if spec.difficulty > 1:  # unrelated files
        for _ in range(rng.randint(1, 2)):
            files[folder + names.file()] = content(names.words(2))
    if spec.block == "missing":
        files = _without(files, tasks[0].look)
    if not any("/" not in path.rstrip("/") for path in files):
        files[names.file()] = content(names.words(2))
    solution = list(providers.discover(announcement))
    solution += [desk.mistyped, desk.learn] if spec.stumble == "typo" else [desk.learn]
    solution += [desk.beside, desk.fetch] if spec.stumble == "verb" else [desk.fetch]
    solution += _ending(spec, tasks, desk.sealed)
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
        checker=_checker(spec, tasks),
        reference_solution=tuple(solution),
        terminal=spec.terminal,
    )


def _hinted(rng: Random, task: Task) -> Task:
    """``task`` with its program named in the directive, in two of three cases."""
    tool = task.acts[0].split()[0]
    hint = rng.choice(_HINTS)
    if rng.random() < 1 / 3 or tool in task.text.split():
        return task
    return msgspec.structs.replace(task, text=task.text + hint.format(tool=tool))


def _stumbling(task: Task, spec: Spec, nook: str) -> Task:
    """``task`` with errors on the way, and the commands that overcome them."""
    act, *rest = task.acts
    text, tries = task.text, [act]
    program = act.split()[0]
    named = [word for word in text.split() if word.strip("()") == program]
    if spec.stumble in ("program", "both") and named and program != "echo":
        # Where GNU tools are not the system's own, their names begin with g; here they do not.
        text = text.replace(named[-1], named[-1].replace(program, f"g{program}"))
        tries = [act.replace(program, f"g{program}", 1), act]
    if spec.stumble in ("folder", "both") and any(path.startswith(nook) for path in task.made):
        # The shell opens the output before it looks for the program; mv and cp do so themselves.
        at = 0 if " > " in act else len(tries) - 1
        tries[at : at + 1] = [tries[at], f"mkdir {nook.rstrip('/')}", tries[at]]
    return msgspec.structs.replace(task, text=text, acts=(*tries, *rest))


def _without(files: dict[str, str], look: str) -> dict[str, str]:
    """``files`` without the file or folder ``look`` and everything in it."""
    return {
        path: text
        for path, text in files.items()
        if path.rstrip("/") != look and not path.startswith(f"{look}/")
    }


def _ending(spec: Spec, tasks: list[Task], sealed: str) -> list[str]:
    """The end of a solution after the directives: look at the input, act, and end the session."""
    if spec.block == "sealed":
        return [f"panic {sealed}"]
    look = tasks[0].look
    if spec.block == "missing":
        return [f"ls {look}", f"panic {look} is missing"]
    return [f"ls {look}", *(act for task in tasks for act in task.acts), "exit"]


def _checker(spec: Spec, tasks: list[Task]) -> str:
    """A checker of the final state: the work is done, or given up with a reason and not faked."""
    if spec.block:
        lines = ["[ -s .panic ]", *(absent(path) for task in tasks for path in task.made)]
    else:
        lines = [*(line for task in tasks for line in task.checks), absent(".panic")]
    return "#!/bin/sh\ncd ~ || exit 1\n" + "".join(f"{{ {line}; }} || exit 1\n" for line in lines)
