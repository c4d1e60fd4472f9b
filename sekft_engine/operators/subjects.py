"""Subjects, who are evaluated: the bare base and adapters on it, each under a name of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from sekft_engine.core.errors import BadInput, DigestMismatch
from sekft_engine.data.dialect import Dialect
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records import events
from sekft_engine.records.adapters import META, adapter_digest
from sekft_engine.records.jobs import Evaluate
from sekft_engine.records.runs import ADAPTER, adapter_folder
from sekft_engine.work.context import Context

BASE = "base"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The bare base, an adapter on it, or a model behind a server.

    Attributes:
        name: in reports.
        adapter: the adapter's name on the resident base; None = the bare base, or a server's model.
        digest: of the adapter's content.
        doubt: why it is not certain that the adapter was trained on this base; empty = it is.
    """

    name: str
    adapter: str | None = None
    digest: str = ""
    doubt: str = ""


@contextlib.contextmanager
def subjects_of(job: Evaluate, context: Context, base: ResidentBase) -> Iterator[list[Subject]]:
    """A context with the subjects of ``job``, their adapters attached to ``base``.

    Afterwards the base has the adapters that it had before.

    Raises:
        BadInput: an adapter is named twice, or is not there.
    """
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
    """Raise where an adapter was trained with another prompt than the one that worlds show.

    Raises:
        BadInput: an adapter's metadata holds no valid dialect.
        DigestMismatch: the dialects differ.
    """
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
    name = base.free_name(wanted or "adapter")
    base.attach(name, folder)
    if doubt := base.doubt(name):
        context.log(f"{folder}: {doubt}", "warning")
    context.emit(
        events.AdapterAttached(job="", name=name, digest=digest, path=str(Path(folder).absolute()))
    )
    return _subject(name, base)


def _subject(name: str, base: ResidentBase) -> Subject:
    digest, doubt = base.adapters[name], base.doubt(name)
    return Subject(name=_report_name(name), adapter=name, digest=digest, doubt=doubt)


def _report_name(name: str) -> str:
    """The name of an adapter in reports: not ``base``, which is the bare base's."""
    return f"{name} (adapter)" if name == BASE else name
