"""What a reader of an eval's rates must know first: that nothing counted, that much did not, or
that a limit and not the model ended sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sekft_engine.contract.answers import invalid_name
from sekft_engine.evaluate.episode import Finished

#: A larger share of episodes that do not count is worth a word.
MANY = 0.1
#: So much of the words of an error is repeated.
_SHOWN = 240
#: The names of limits in an episode's ``meta``, and what each is for a person.
_LIMITS = {"context": "their context was full", "time": "their session time was up"}


def causes_of(done: Sequence[Finished]) -> dict[str, int]:
    """How many episodes do not count, by the row of the table of answers; ``other``: it was no
    server's doing (a sandbox, say). The commonest first."""
    found = Counter(_cause(one) for one in done if one.verdict.invalid)
    return dict(found.most_common())


def commonest(done: Sequence[Finished]) -> str:
    """The words of the commonest reason for which episodes do not count; '' = all count."""
    causes = causes_of(done)
    if not causes:
        return ""
    name = next(iter(causes))
    words = Counter(one.verdict.invalid for one in done if _cause(one) == name)
    text = next(text for text, _ in words.most_common(1))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def limits_of(counted: Sequence[Finished]) -> dict[str, int]:
    """How many episodes a limit ended: ``commands``, ``context`` or ``time``."""
    found = Counter(str(one.trajectory.meta.get("limit", "")) for one in counted)
    return {name: found[name] for name in sorted(found) if name}


def caveats(
    episodes: Mapping[str, Sequence[Finished]],
    *,
    context: Mapping[str, Any] | None = None,
    served: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, str]]:
    """Warnings for the top of every report, the gravest first: ``name``, ``subject``, ``text``.

    Args:
        context: the limit of local episodes, as :class:`~sekft_engine.evaluate.local.Limit` has it.
        served: what was learnt of servers, see :mod:`sekft_engine.evaluate.served`.
    """
    out: list[dict[str, str]] = []
    for name, done in episodes.items():
        out += [
            {"name": kind, "subject": name, "text": text}
            for kind, text in (*_invalid(name, done), *_limited(name, done, context))
        ]
    out.sort(key=lambda one: one["name"] != "nothing_counted")
    for server in served:
        if server.get("open"):
            text = (
                f"{server['endpoint']} takes no {', '.join(server['open'])} for {server['model']}: "
                "sampling defaults of its own may have changed these scores"
            )
            out.append({"name": "sampling", "subject": str(server["model"]), "text": text})
    return out


def nothing_counted(document: Mapping[str, Any]) -> str:
    """Why an eval found nothing, in a line; '' = every subject has episodes that count."""
    found = [one for one in document.get("warnings", ()) if one["name"] == "nothing_counted"]
    return "; ".join(one["text"] for one in found)


def _cause(one: Finished) -> str:
    return (invalid_name(one.verdict.invalid) or "other") if one.verdict.invalid else ""


def _invalid(name: str, done: Sequence[Finished]) -> list[tuple[str, str]]:
    invalid = sum(causes_of(done).values())
    if not invalid:
        return []
    why = f"most often: {commonest(done)}"
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


def _limited(
    name: str, done: Sequence[Finished], context: Mapping[str, Any] | None
) -> list[tuple[str, str]]:
    counted = [one for one in done if not one.verdict.invalid]
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


def _whose(context: Mapping[str, Any] | None) -> str:
    if not context:
        return "the limit is the server's: serve with a longer context"
    told = f"the limit of {context['by']} is {context['limit']} tokens"
    return told if context["by"] == "the base" else f"{told}; --context sets another"
