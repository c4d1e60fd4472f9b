"""Who is evaluated: the bare base and adapters on it, each under a name of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from sekft_engine import events
from sekft_engine.adapters import META, adapter_digest
from sekft_engine.base import ResidentBase
from sekft_engine.context import Context
from sekft_engine.dialect import Dialect
from sekft_engine.errors import BadInput, DigestMismatch
from sekft_engine.jobs import Evaluate
from sekft_engine.runs import ADAPTER, adapter_folder

BASE = "base"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """``adapter`` is its name on the resident base, None = the bare base. ``doubt`` is why it is
    not certain that it was trained on that base; empty where it is."""

    name: str
    adapter: str | None = None
    digest: str = ""
    doubt: str = ""


@contextlib.contextmanager
def subjects_of(job: Evaluate, context: Context, base: ResidentBase) -> Iterator[list[Subject]]:
    """Attach what is not there yet; afterwards the base carries what it carried before."""
    before, active = set(base.adapters), base.active
    try:
        found = [Subject(name=BASE)] if job.with_base else []
        for spec in job.adapters:
            subject = _adapter(spec, context, base)
            if any(other.name == subject.name for other in found):
                raise BadInput("named twice", where=spec, mend="name each adapter once")
            found.append(subject)
        yield found
    finally:
        for name in set(base.adapters) - before:
            base.drop(name)
        base.activate(active if active in base.adapters else None)


def refuse_other_dialect(base: ResidentBase, subjects: list[Subject], dialect: Dialect) -> None:
    """An adapter that learnt another prompt would be judged on a task it never saw."""
    for subject in subjects:
        meta = base.meta(subject.adapter) if subject.adapter else None
        if meta is None or not meta.dialect:
            continue
        facts = {key: meta.dialect[key] for key in ("name", "prompt") if key in meta.dialect}
        try:
            learnt = msgspec.convert(facts, Dialect)
        except msgspec.ValidationError as error:
            raise BadInput(f"{META}: dialect: {error}", where=subject.name) from error
        if learnt.digest != dialect.digest:
            raise DigestMismatch(
                f"trained at the prompt {learnt.prompt!r}, but worlds show {dialect.prompt!r}",
                where=subject.name,
                mend="set [dialect] in sekft.toml to what the adapter learnt",
            )


def _adapter(spec: str, context: Context, base: ResidentBase) -> Subject:
    if spec in base.adapters:
        return _subject(spec, base)
    folder = adapter_folder(spec)
    digest = adapter_digest(folder)
    for name, known in base.adapters.items():
        if known == digest:
            return _subject(name, base)
    wanted = (folder.parent.name if folder.name == ADAPTER else folder.name).replace(".", "_")
    name = wanted = wanted or "adapter"
    number = 1
    while name in base.adapters:
        number += 1
        name = f"{wanted}-{number}"
    base.attach(name, folder)
    if doubt := base.doubt(name):
        context.log(f"{folder}: {doubt}", "warning")
    context.emit(
        events.AdapterAttached(job="", name=name, digest=digest, path=str(Path(folder).absolute()))
    )
    return _subject(name, base)


def _subject(name: str, base: ResidentBase) -> Subject:
    digest, doubt = base.adapters[name], base.doubt(name)
    return Subject(name=_apart(name), adapter=name, digest=digest, doubt=doubt)


def _apart(name: str) -> str:
    """The bare base is called ``base``; an adapter of that name is told apart."""
    return f"{name} (adapter)" if name == BASE else name
