"""The commands of a recorded session: look, ask, act, verify, and mistakes with their repair."""

from __future__ import annotations

from random import Random

import msgspec

from sekft_engine.factory.part import Part


class Step(msgspec.Struct, frozen=True):
    """A command; a mistake is context and is not trained."""

    command: str
    mistake: bool = False


def work_on(
    rng: Random,
    part: Part,
    *,
    asks: tuple[str, ...] = (),
    before: tuple[str, ...] = (),
    slip: str = "",
    calm: float = 1.0,
    wary: bool = False,
) -> list[Step]:
    """The commands that do ``part``.

    Args:
        rng: the world's own generator.
        part: the work.
        asks: commands that read how its program is used.
        before: commands that find its input, in place of a look.
        slip: ``wrong``: the first act is wrong and a look shows that; ``fails``: it fails;
            ``mistyped``: its input's name is mistyped; ``miscopied``: the name of its program is.
        calm: how likely looks and verifications are, from 0 to 1.
        wary: whether a look shows in other worlds that such work cannot be done. Then most sessions
            look here, too, so that the look alone is no sign for ``panic``.
    """
    steps = [Step(command) for command in before]
    if not before and part.looks and rng.random() < (0.7 if wary else 0.25 * calm):
        steps.append(Step(rng.choice(part.looks)))
    first, *rest = part.acts
    guessed = [command for command in part.fails if command not in part.acts]
    if slip == "fails" and guessed and asks and rng.random() < 0.5:
        # Whoever guesses how an unknown program is used has to ask all the same.
        steps += [Step(rng.choice(guessed), mistake=True)]
        slip = ""
    if slip == "miscopied":
        steps += _miscopied(rng, part, (*asks, first)[0])
    steps += [Step(command) for command in asks]
    if slip == "wrong" and part.slips and part.verifies:
        steps += [Step(rng.choice(part.slips), mistake=True), Step(part.verifies[0])]
    elif slip == "fails" and guessed:
        steps.append(Step(rng.choice(guessed), mistake=True))
    elif slip == "mistyped" and (typed := _mistyped(rng, part.source)):
        wrong = first.replace(part.source, typed)
        if wrong != first and part.source in part.files and ">>" not in first:
            steps.append(Step(wrong, mistake=True))
    steps += [Step(command) for command in (first, *rest)]
    if part.verifies and rng.random() < 0.9 * calm:
        steps.append(Step(rng.choice(part.verifies)))
    return steps


def _miscopied(rng: Random, part: Part, command: str) -> list[Step]:
    """``command`` with the name of the part's own program miscopied, and often a look at what the
    programs are called: that a program is not found does not mean yet that it is not installed."""
    name = next((path.rpartition("/")[2] for path in part.scripts), "")
    if len(name) < 4 or name not in command.split() or ">>" in command:
        return []
    at = rng.randint(1, len(name) - 2)
    typed = rng.choice(
        (
            name[:at] + name[at + 1 :],
            name[:at] + name[at + 1] + name[at] + name[at + 2 :],
            name[: at + 1] + name[at:],
        )
    )
    if typed == name:
        return []
    wrong = " ".join(typed if word == name else word for word in command.split(" "))
    look = [Step("ls /usr/local/bin")] if rng.random() < 0.6 else []
    return [Step(wrong, mistake=True), *look]


def _mistyped(rng: Random, path: str) -> str:
    """``path`` with a letter of its name left out; empty where it is too short."""
    folder, slash, name = path.rpartition("/")
    stem = name.split(".")[0]
    if len(stem) < 4 or not stem.isalnum():
        return ""
    at = rng.randint(1, len(stem) - 2)
    return f"{folder}{slash}{name[:at]}{name[at + 1 :]}"
