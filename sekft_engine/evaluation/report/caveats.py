"""Warnings about an eval's rates: that few episodes count, or that limits ended sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import UNSET, UnsetType

from sekft_engine.contract.answers import invalid_name
from sekft_engine.episodes.episode import FinishedEpisode
from sekft_engine.records.evals import ContextLimit, EvalResult, EvalWarning, ServedFacts

#: A larger share of invalid episodes gives a warning.
MANY = 0.1
#: Most characters of an error that are repeated.
_SHOWN = 240
#: Opens the thoughts of a reasoning model.
_THOUGHT = "<think>"
#: Limits by their name in an episode's ``meta``, in words.
_LIMITS = {"context": "their context was full", "time": "their session time was up"}


def causes_of(done: Sequence[FinishedEpisode]) -> dict[str, int]:
    """The number of invalid episodes by cause, the most frequent cause first.

    A cause is a row of :data:`~sekft_engine.contract.answers.ANSWERS`, or ``other`` where no server
    was the cause (but a sandbox, say).
    """
    found = Counter(_cause(finished) for finished in done if finished.verdict.invalid)
    return dict(found.most_common())


def most_frequent_error(done: Sequence[FinishedEpisode]) -> str:
    """The most frequent message of the most frequent cause of invalid episodes; empty = none."""
    causes = causes_of(done)
    if not causes:
        return ""
    name = next(iter(causes))
    messages = Counter(each.verdict.invalid for each in done if _cause(each) == name)
    text = next(text for text, _ in messages.most_common(1))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def limits_of(counted: Sequence[FinishedEpisode]) -> dict[str, int]:
    """The number of episodes that each limit ended: ``commands``, ``context`` or ``time``."""
    found = Counter(str(finished.trajectory.meta.get("limit", "")) for finished in counted)
    return {name: found[name] for name in sorted(found) if name}


def caveats(
    episodes: Mapping[str, Sequence[FinishedEpisode]],
    *,
    context: ContextLimit | UnsetType = UNSET,
    served: Sequence[ServedFacts] | UnsetType = UNSET,
) -> list[EvalWarning]:
    """Warnings for the top of every report, the most serious first.

    Args:
        episodes: the finished episodes of each subject.
        context: the limit of local episodes.
        served: facts about servers.
    """
    out: list[EvalWarning] = []
    for name, done in episodes.items():
        out += [
            EvalWarning(name=kind, subject=name, text=text)
            for kind, text in (
                *_invalid(name, done),
                *_limited(name, done, context),
                *_thoughts(name, done),
            )
        ]
    out.sort(key=lambda warning: warning.name != "nothing_counted")
    for server in served or ():
        if server.open:
            text = (
                f"{server.endpoint} takes no {', '.join(server.open)} for {server.model}: "
                "sampling defaults of its own may have changed these scores"
            )
            out.append(EvalWarning(name="sampling", subject=server.model, text=text))
    return out


def nothing_counted(document: EvalResult) -> str:
    """Why an eval found nothing, in a line; empty = every subject has episodes that count."""
    return "; ".join(each.text for each in document.warnings if each.name == "nothing_counted")


def refused(document: EvalResult) -> str:
    """Which adapters could not act and why, in a line; empty = all could."""
    return "; ".join(each.text for each in document.warnings if each.name == "refused")


def _cause(finished: FinishedEpisode) -> str:
    invalid = finished.verdict.invalid
    return (invalid_name(invalid) or "other") if invalid else ""


def _invalid(name: str, done: Sequence[FinishedEpisode]) -> list[tuple[str, str]]:
    invalid = sum(causes_of(done).values())
    if not invalid:
        return []
    why = f"most often: {most_frequent_error(done)}"
    if invalid == len(done):
        every = "the only episode is" if invalid == 1 else f"all {invalid} episodes are"
        return [("nothing_counted", f"nothing counted for {name}: {every} invalid, {why}")]
    if invalid <= MANY * len(done):
        return []
    return [
        (
            "many_invalid",
            f"{invalid} of {len(done)} episodes of {name} are invalid and left out, {why}",
        )
    ]


def _thoughts(name: str, done: Sequence[FinishedEpisode]) -> list[tuple[str, str]]:
    """Thoughts between think tags that were typed at the prompt, as if they were commands."""
    counted = [finished for finished in done if not finished.verdict.invalid]
    typed = sum(
        any(turn.is_command and _THOUGHT in turn.content for turn in finished.trajectory.turns)
        for finished in counted
    )
    if not typed:
        return []
    text = (
        f"{name} typed its thoughts ({_THOUGHT}) at the prompt in {typed} of {len(counted)} "
        "episodes, and was judged by them: switch thinking off in its chat template (a server: "
        "enable_thinking false in chat_template_kwargs), or let a server's reasoning parser keep "
        "them apart, with more --turn-tokens"
    )
    return [("typed_thoughts", text)]


def _limited(
    name: str, done: Sequence[FinishedEpisode], context: ContextLimit | UnsetType
) -> list[tuple[str, str]]:
    counted = [finished for finished in done if not finished.verdict.invalid]
    out = []
    for limit, count in limits_of(counted).items():
        if limit not in _LIMITS:
            continue
        share = f"{count} of {len(counted)} episodes of {name} ({count / len(counted):.0%})"
        text = f"{share} ended because {_LIMITS[limit]}, and count as not ended by themselves"
        if limit == "context":
            text += f" ({_whose(context)})"
        out.append((f"{limit}_limit", text))
    return out


def _whose(context: ContextLimit | UnsetType) -> str:
    if context is UNSET:
        return "the limit is the server's: serve with a longer context"
    told = f"the limit of {context.by} is {context.limit} tokens"
    return told if context.by == "the base" else f"{told}; --context sets another"
