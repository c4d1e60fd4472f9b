"""Providers, the programs that give directives and document themselves, and their announcements."""

from __future__ import annotations

import shlex
from random import Random
from typing import get_args

import msgspec

from sekft_engine.data.scenario import Announcement, Channel, DocDepth, Provider
from sekft_engine.factory.words import Names

#: What a help text may say about the verb that gives the directives.
_FETCH_SAYS = (
    "print your task",
    "show your task for today",
    "print your next task",
    "show your orders",
    "print your orders",
    "give you your job",
    "tell you your work",
    "show your work for today",
)
_ABOUT = (
    "hands out work",
    "keeps the task list",
    "the work desk of this machine",
    "holds the orders",
    "a small job board",
    "task keeper",
)
_ANNOUNCE: dict[DocDepth, tuple[str, ...]] = {
    "help": (
        "Work on this machine is handed out by {p}. See {p} --help",
        "Your tasks are kept by {p}. Run {p} --help",
        "Welcome. {p} has work for you, {p} --help explains it.",
        "Ask {p} what to do. Help: {p} --help",
        "There is work waiting. Start with {p} --help",
        "New here? {p} --help tells how to get your orders.",
        "The program {p} knows your task (try {p} --help).",
        "Orders are given by {p}; its help is {p} --help",
    ),
    "man": (
        "Work on this machine is handed out by {p}. See man {p}",
        "Your tasks are kept by {p}. Read man {p}",
        "Welcome. {p} has work for you, man {p} explains it.",
        "Ask {p} what to do. Manual: man {p}",
        "There is work waiting. Start with man {p}",
        "New here? The page man {p} tells how to get your orders.",
        "The program {p} knows your task (its manual is man {p}).",
        "Orders are given by {p}; it is described in man {p}",
    ),
    "usage": (
        "Work on this machine is handed out by {p}. Type {p} for its usage.",
        "Your tasks are kept by {p}. Run {p} alone to see how it is used.",
        "Welcome. {p} has work for you, plain {p} explains itself.",
        "Ask {p} what to do. Without arguments it prints its usage.",
        "There is work waiting. Start by typing {p}",
        "New here? Just run {p} with no arguments.",
        "The program {p} knows your task and shows its usage when called alone.",
        "Orders are given by {p}; call it bare to see its verbs.",
    ),
}
_FILES = ("README", "NOTICE", "START", "WELCOME", "HELLO", "ORDERS", "IMPORTANT", "TODO")
_VARIABLES = ("NOTICE", "WORK", "TASKS", "MESSAGE", "ORDERS", "HINT", "GUIDE", "DESK")
#: The error of a provider that cannot give its directives, so that the work cannot be done.
_SEALED = (
    "the store is sealed",
    "the task list is locked",
    "the order book is sealed",
    "the job store is locked",
    "the list is unreadable",
    "the orders are locked away",
)
DEPTHS: tuple[DocDepth, ...] = get_args(DocDepth)
CHANNELS: tuple[Channel, ...] = get_args(Channel)


class ProviderSetup(msgspec.Struct, frozen=True, kw_only=True):
    """A provider, with commands for it that a solution may contain.

    Attributes:
        provider: the program.
        learn: reads its documentation.
        fetch: asks for the directives.
        beside: calls another of its verbs.
        mistyped: ``learn`` with a typing error.
        sealed: its error where it cannot give the directives; empty = it can.
    """

    provider: Provider
    learn: str
    fetch: str
    beside: str
    mistyped: str
    sealed: str = ""


def announce(rng: Random, name: str, depth: DocDepth, channel: Channel) -> Announcement:
    """An announcement of the provider ``name`` by ``channel``."""
    text = rng.choice(_ANNOUNCE[depth]).format(p=name)
    return Announcement(
        channel=channel,
        text=text,
        path=rng.choice(_FILES) if channel == "file" else "",
        variable=rng.choice(_VARIABLES) if channel == "env" else "",
    )


def discover(announcement: Announcement) -> tuple[str, ...]:
    """The commands that find the announcement from the first prompt."""
    match announcement.channel:
        case "env":
            return ("env",)
        case "file":
            return ("env", "ls", f"cat {announcement.path}")
        case _:
            return ()


def build(
    rng: Random, names: Names, depth: DocDepth, directives: str, *, sealed: bool = False
) -> ProviderSetup:
    """A provider of ``directives``.

    Args:
        rng: the scenario's own generator.
        names: gives unused names.
        depth: where it is documented.
        directives: the text that it gives.
        sealed: it gives an error instead.
    """
    name = names.program()
    verb = names.fetch_verb()
    others = names.other_verbs(rng.randint(1, 2))
    verbs = [(verb, rng.choice(_FETCH_SAYS)), *others]
    rng.shuffle(verbs)
    about = rng.choice(_ABOUT)
    width = max(len(each) for each, _ in verbs)
    listing = "\n".join(f"  {each:<{width}}  {say}" for each, say in verbs)
    refusal = rng.choice(_SEALED) if sealed else ""
    page = f"{name} - {about}\nusage: {name} VERB\n{listing}\n"
    answers = {
        other: rng.choice(("none", "ok", "1.2", "7 today", "all is well")) for other, _ in verbs
    }
    learn = {"help": f"{name} --help", "man": f"man {name}", "usage": name}[depth]
    return ProviderSetup(
        provider=Provider(
            name=name,
            path=f"/usr/local/bin/{name}",
            script=_script(name, depth, page, verb, directives, answers, refusal),
            man=page if depth == "man" else "",
        ),
        learn=learn,
        fetch=f"{name} {verb}",
        beside=f"{name} {others[0][0]}",
        mistyped=learn.replace(name, _mistyped(rng, name)),
        sealed=refusal,
    )


def _mistyped(rng: Random, name: str) -> str:
    """``name`` with two adjacent letters swapped."""
    swaps = [at for at in range(1, len(name) - 1) if name[at] != name[at + 1]]
    at = rng.choice(swaps)
    return f"{name[:at]}{name[at + 1]}{name[at]}{name[at + 2 :]}"


def _script(
    name: str,
    depth: DocDepth,
    page: str,
    verb: str,
    directives: str,
    answers: dict[str, str],
    refusal: str,
) -> str:
    """The provider's program in sh."""
    show = f"cat <<'END'\n{page}END"
    see = {"help": f"{name} --help", "man": f"man {name}", "usage": name}[depth]
    pointer = f"echo 'see {see}'"
    hand_out = f"cat <<'END'\n{directives}\nEND"
    if refusal:
        hand_out = f"echo {shlex.quote(f'{name}: {refusal}')} >&2\nexit 1"
    cases = [
        f"--help|-h|help)\n{pointer if depth == 'man' else show}",
        f"'')\n{show if depth == 'usage' else pointer}",
        f"{verb})\n{hand_out}",
    ]
    cases += [
        f"{other})\necho {shlex.quote(answer)}"
        for other, answer in answers.items()
        if other != verb
    ]
    cases.append(f'*)\necho "{name}: unknown verb $1, see {see}" >&2\nexit 2')
    body = "\n;;\n".join(cases)
    return f'#!/bin/sh\ncase "$1" in\n{body}\n;;\nesac\n'
