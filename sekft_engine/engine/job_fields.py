"""Messages for whoever writes jobs as JSON lines: fields of the job in place of flags."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import get_args

import msgspec

from sekft_engine.data.recipe import Recipe
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event

#: A command to be typed, which is left as it is, or a flag.
_FLAG = re.compile(r"\b(?:sekft|pip|apt-get|sysctl)(?:-\w+)? [^;,()]*|--([a-z][a-z0-9-]*)")
#: Flags that say with another word, or otherwise, what a field of a job says.
_OTHER = {"no-base": "with_base", "no-load-4bit": "load_4bit", "find-lr": "find_rate"}


def in_fields(event: Event) -> Event:
    """The event with the fields of its kind of job in place of flags.

    Flags that stand for nothing in a job line, and commands, stay.
    """
    if isinstance(event, events.JobFailed):
        kind = event.kind
        changes = {
            name: field_words(getattr(event, name), kind)
            for name in ("error", "what", "where", "mend")
        }
        return msgspec.structs.replace(event, **changes)
    if isinstance(event, events.JobCancelled):
        return msgspec.structs.replace(event, detail=field_words(event.detail, event.kind))
    if isinstance(event, events.Log):
        return msgspec.structs.replace(event, text=field_words(event.text, ""))
    return event


def field_words(text: str, kind: str) -> str:
    """``text`` with ``"out"`` in place of ``--out``, for jobs of ``kind`` (empty = of any)."""
    if "--" not in text:
        return text
    fields = _fields(kind)

    def word(found: re.Match[str]) -> str:
        field = fields.get(found[1] or "")
        return f'"{field}"' if field else found[0]

    return _FLAG.sub(word, text)


@functools.cache
def _fields(kind: str) -> Mapping[str, str]:
    """Flag without its dashes -> field, for one kind of job; for all of them where it is empty."""
    found = {name.replace("_", "-"): f"recipe.{name}" for name in Recipe.__struct_fields__}
    found |= _OTHER
    for struct in get_args(jobs.AnyJob):
        if kind not in ("", struct.__struct_config__.tag):
            continue
        for name in struct.__struct_fields__:
            flag = name.replace("_", "-")
            found[flag] = name
            if name.endswith("s"):  # what may be given several times is a list in a job
                found.setdefault(flag[:-1], name)
    return found
