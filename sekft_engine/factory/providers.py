"""Providers, the programs that give directives and document themselves, and their announcements."""

from __future__ import annotations

import shlex
from random import Random
from typing import get_args

import msgspec

from sekft_engine.data.scenario import Announcement, Channel, DocDepth, Provider
from sekft_engine.factory.names import Names
from sekft_engine.factory.words import Share, wordings

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
    "the desk lost its papers",
    "no orders can be read",
)
#: The error of a provider that gives its directives after something else was done. ``{o}`` is the
#: command for that.
_CLOSED = (
    "closed, open it with: {o}",
    "the desk is shut. First type {o}",
    "not ready, run {o}",
    "you are not signed in, do that by {o}",
    "asleep; {o} wakes it",
    "locked, the way in is {o}",
    "needs a start: {o}",
    "paused, continue by {o}",
)
_OPENERS = ("open", "unlock", "begin", "login", "wake", "enter", "boot", "resume")
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
        opening: has to be called after a first ``fetch``, which fails; empty = it has not.
        sealed: its error where it cannot give the directives; empty = it can.
    """

    provider: Provider
    learn: str
    fetch: str
    beside: str
    mistyped: str
    opening: str = ""
    sealed: str = ""


def announce(
    rng: Random, name: str, depth: DocDepth, channel: Channel, share: Share
) -> Announcement:
    """An announcement of the provider ``name`` by ``channel``."""
    text = rng.choice(wordings(_ANNOUNCE[depth], share)).format(p=name)
    return Announcement(
        channel=channel,
        text=text,
        path=rng.choice(wordings(_FILES, share)) if channel == "file" else "",
        variable=rng.choice(wordings(_VARIABLES, share)) if channel == "env" else "",
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


def learning(name: str, depth: DocDepth) -> str:
    """The command that reads the documentation of ``name``."""
    return {"help": f"{name} --help", "man": f"man {name}", "usage": name}[depth]


def misleading(depth: DocDepth) -> tuple[DocDepth, ...]:
    """Where a provider's documentation is not, but whoever looks there is told where it is."""
    return {"help": ("usage",), "man": ("help", "usage"), "usage": ()}[depth]  # type: ignore[return-value]


def build(
    rng: Random,
    names: Names,
    depth: DocDepth,
    directives: str,
    *,
    sealed: bool = False,
    closed: bool = False,
) -> ProviderSetup:
    """A provider of ``directives``.

    Args:
        rng: the world's own generator.
        names: gives unused names.
        depth: where it is documented.
        directives: the text that it gives.
        sealed: it gives an error instead.
        closed: it asks for another command first. With ``sealed`` that command does not help.
    """
    name, share = names.program(), names.share
    # Some take verbs, others flags.
    mark = "--" if rng.random() < 0.25 else ""
    verb = mark + names.fetch_verb()
    others = [(mark + other, say) for other, say in names.other_verbs(rng.randint(1, 2))]
    verbs = [(verb, rng.choice(wordings(_FETCH_SAYS, share))), *others]
    rng.shuffle(verbs)
    about = rng.choice(wordings(_ABOUT, share))
    width = max(len(each) for each, _ in verbs)
    listing = "\n".join(f"  {each:<{width}}  {say}" for each, say in verbs)
    page = f"{name} - {about}\nusage: {name} {'OPTION' if mark else 'VERB'}\n{listing}\n"
    answers = {
        other: rng.choice(("none", "ok", "1.2", "7 today", "all is well")) for other, _ in others
    }
    opening = f"{name} {mark}{rng.choice(wordings(_OPENERS, share))}" if closed else ""
    closing = rng.choice(wordings(_CLOSED, share)).format(o=opening) if closed else ""
    refusal = rng.choice(wordings(_SEALED, share)) if sealed else ""
    learn = learning(name, depth)
    return ProviderSetup(
        provider=Provider(
            name=name,
            path=f"/usr/local/bin/{name}",
            script=_script(
                name,
                depth,
                page,
                _hand_out(name, directives, refusal),
                verb,
                answers,
                opening,
                closing,
            ),
            man=page if depth == "man" else "",
        ),
        learn=learn,
        fetch=f"{name} {verb}",
        beside=f"{name} {others[0][0]}",
        mistyped=learn.replace(name, _mistyped(rng, name)),
        opening=opening,
        sealed=refusal,
    )


def _mistyped(rng: Random, name: str) -> str:
    """``name`` with two adjacent letters swapped."""
    swaps = [at for at in range(1, len(name) - 1) if name[at] != name[at + 1]]
    at = rng.choice(swaps)
    return f"{name[:at]}{name[at + 1]}{name[at]}{name[at + 2 :]}"


def _hand_out(name: str, directives: str, refusal: str) -> str:
    if refusal:
        return f"echo {shlex.quote(f'{name}: {refusal}')} >&2\nexit 1"
    return f"cat <<'END'\n{directives}\nEND"


def _script(
    name: str,
    depth: DocDepth,
    page: str,
    hand_out: str,
    verb: str,
    answers: dict[str, str],
    opening: str,
    closing: str,
) -> str:
    """The provider's program in sh."""
    show = f"cat <<'END'\n{page}END"
    see = learning(name, depth)
    pointer = f"echo 'see {see}'"
    if closing:
        state = f'"$HOME/.{name}"'
        refused = f"echo {shlex.quote(f'{name}: {closing}')} >&2; exit 1"
        hand_out = f"[ -e {state} ] || {{ {refused}; }}\n{hand_out}"
    cases = [
        f"--help|-h|help)\n{pointer if depth == 'man' else show}",
        f"'')\n{show if depth == 'usage' else pointer}",
        f"{verb})\n{hand_out}",
        *(f"{other})\necho {shlex.quote(answer)}" for other, answer in answers.items()),
    ]
    if closing:
        cases.append(f"{opening.split()[1]})\n: > {state}\necho ready")
    cases.append(f'*)\necho "{name}: unknown verb $1, see {see}" >&2\nexit 2')
    body = "\n;;\n".join(cases)
    return f'#!/bin/sh\ncase "$1" in\n{body}\n;;\nesac\n'
