"""Subjects, who are evaluated: the bare base and adapters on it, each under a name of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import msgspec

from sekft_engine.core.errors import BadInput, BaseChanged, DigestMismatch, SekftError, known_error
from sekft_engine.data.dialect import Dialect
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records import events
from sekft_engine.records.adapter_names import name_of_folder, unlike
from sekft_engine.records.adapters import META, AdapterMeta, adapter_digest, read_meta
from sekft_engine.records.jobs import Control, Evaluate
from sekft_engine.records.precision import trained_in_4bit
from sekft_engine.records.runs import adapter_folder
from sekft_engine.work.context import Context
from sekft_engine.work.guest import SERVED

BASE = "base"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The bare base, an adapter on it, or a model behind a server.

    Attributes:
        name: in reports.
        adapter: the adapter's name on the resident base; None = the bare base, or a server's model.
        digest: of the adapter's content.
        doubt: why it is not certain that the adapter was trained on this base; empty = it is.
        trained_4bit: whether it was trained on the base in 4 bits; None = unknown.
        precision: how the base is held otherwise than it was trained on; empty = it is not.
        folder: of the adapter; None where it is attached by itself.
        control: whether it is a control, which no model types for.
    """

    name: str
    adapter: str | None = None
    digest: str = ""
    doubt: str = ""
    trained_4bit: bool | None = None
    precision: str = ""
    folder: Path | None = None
    control: bool = False


class Refusal(NamedTuple):
    """An adapter that cannot act: its name, the digest of its content, and why."""

    name: str
    digest: str
    error: SekftError


class Subjects:
    """The subjects of an eval on a resident base.

    Each adapter is attached by itself, so that what one is cannot decide whether another can act:
    first to see whether it can, and again when it is its turn. Adapters that were on the base
    before stay.

    Args:
        base: the resident base.
        context: of the job; takes the events.
        dialect: the prompt that the worlds show.
    """

    def __init__(self, base: ResidentBase, context: Context, dialect: Dialect) -> None:
        self._base, self._context, self._dialect = base, context, dialect
        self._before = frozenset(base.adapters)
        self.acting: list[Subject] = []
        self.refused: list[Refusal] = []

    def add_base(self) -> None:
        """Let the bare base act."""
        self.acting.append(Subject(name=BASE))

    def add(self, spec: str) -> None:
        """Let the adapter ``spec`` act, or note why it cannot.

        Raises:
            BadInput: it is named twice, or is not there.
            BaseChanged: the base is not what it was.
        """
        folder = None if spec in self._before else adapter_folder(spec)
        digest = self._base.adapters[spec] if folder is None else adapter_digest(folder)
        for other in self.acting:
            if other.digest == digest:
                same = f"the same adapter as {other.name}, bit by bit"
                raise BadInput(same, where=spec, mend="name one of them")
        name = self._report_name(spec if folder is None else name_of_folder(folder))
        there = spec if folder is None else self._on_base(digest) or self._free(name)
        try:
            if folder is not None:
                self._attach(there, folder)
            meta = self._base.meta(there) if folder is None else read_meta(folder)
            refuse_other_dialect(name, meta, self._dialect)
        except BaseChanged:
            raise
        except Exception as error:  # noqa: BLE001 - whatever PEFT does, the others can act
            self.refused.append(Refusal(name, digest, known_error(error)))
            return
        subject = self._subject(name, there, folder)
        self.acting.append(subject)
        if subject.folder is not None:
            for doubt in filter(None, (subject.doubt, subject.precision)):
                self._context.log(f"{folder}: {doubt}", "warning")
            path = str(subject.folder.absolute())
            attached = events.AdapterAttached(job="", name=there, digest=digest, path=path)
            self._context.emit(attached)

    def rename(self, names: Mapping[str, str]) -> None:
        """Call adapters, by the digests of their content, as a report called them before."""
        self.acting = [
            msgspec.structs.replace(subject, name=names.get(subject.digest, subject.name))
            for subject in self.acting
        ]
        self.refused = [
            refused._replace(name=names.get(refused.digest, refused.name))
            for refused in self.refused
        ]

    def activate(self, subject: Subject) -> None:
        """Let ``subject`` be who acts on the base."""
        if subject.folder is not None and subject.adapter not in self._base.adapters:
            self._attach(str(subject.adapter), subject.folder)
        self._base.activate(subject.adapter)

    def attach_all(self, subjects: Sequence[Subject]) -> bool:
        """Put the adapters of all these subjects on the base at once.

        Returns:
            Whether they could be; else the base is as it was before.
        """
        try:
            for subject in subjects:
                if subject.folder is not None and subject.adapter not in self._base.adapters:
                    self._base.attach(str(subject.adapter), subject.folder)
        except BaseChanged:
            raise
        except Exception:  # noqa: BLE001 - whatever PEFT does, they can act one after another
            self.leave()
            return False
        return True

    def end(self) -> None:
        """:meth:`leave`, and say which adapters are not on the base any more."""
        self.leave()
        for subject in self.acting:
            if subject.folder is not None:
                gone = events.AdapterDropped(job="", name=str(subject.adapter))
                self._context.emit(gone)

    def leave(self) -> None:
        """Drop the adapters that were not on the base before."""
        for name in set(self._base.adapters) - self._before:
            self._base.drop(name)

    def _attach(self, name: str, folder: Path) -> None:
        self.leave()
        self._base.attach(name, folder)

    def _on_base(self, digest: str) -> str:
        """The adapter of this content that was on the base before; empty = there is none, or it
        is one that a server may take away."""
        found = (
            name
            for name, content in self._base.adapters.items()
            if content == digest and name in self._before and not name.startswith(SERVED)
        )
        return next(found, "")

    def _report_name(self, wanted: str) -> str:
        """What an adapter is called in reports. It does not depend on what is on the base, so that
        every engine calls it the same."""
        taken = {*(subject.name for subject in self.acting), *(each.name for each in self.refused)}
        return unlike(report_name(wanted), taken)

    def _free(self, wanted: str) -> str:
        """A name on the base that no other adapter has there, or will have."""
        return unlike(wanted, {*self._before, *(subject.adapter for subject in self.acting)})

    def _subject(self, name: str, there: str, folder: Path | None) -> Subject:
        """The subject that the adapter called ``there`` on the base is.

        Args:
            folder: by which it was named; None = by its name.
        """
        meta = self._base.meta(there)
        known = meta.load_4bit if meta is not None else None
        trained = trained_in_4bit(folder) if folder is not None else known
        return Subject(
            name=name,
            adapter=there,
            digest=self._base.adapters[there],
            doubt=self._base.doubt(there),
            trained_4bit=trained,
            precision=other_precision(trained, self._base),
            folder=None if there in self._before else folder,
        )


@contextlib.contextmanager
def subjects_of(
    job: Evaluate, context: Context, base: ResidentBase, dialect: Dialect
) -> Iterator[Subjects]:
    """A context with the subjects of ``job`` on ``base``.

    Afterwards the base has the adapters that it had before.

    Raises:
        BadInput: an adapter is named twice, or is not there.
        SekftError: none of the adapters can act; says why the first cannot.
    """
    active = base.active
    subjects = Subjects(base, context, dialect)
    try:
        if job.with_base:
            subjects.add_base()
        for number, spec in enumerate(job.adapters):
            name = report_name(spec if spec in base.adapters else name_of_folder(Path(spec)))
            context.progress("attaching the adapters", number, len(job.adapters), name)
            subjects.add(spec)
        if len(subjects.refused) == len(job.adapters) > 0:
            raise subjects.refused[0].error
        for refusal in subjects.refused:
            context.log(f"{refusal.name} cannot act: {refusal.error}", "error")
        yield subjects
    finally:
        subjects.end()
        base.activate(active if active in base.adapters else None)


def refuse_other_dialect(name: str, meta: AdapterMeta | None, dialect: Dialect) -> None:
    """Raise where an adapter was trained with another prompt than the one that worlds show.

    Raises:
        BadInput: its metadata holds no valid dialect.
        DigestMismatch: the dialects differ.
    """
    if meta is None or not meta.dialect:
        return
    facts = {key: meta.dialect[key] for key in ("name", "prompt") if key in meta.dialect}
    try:
        learnt = msgspec.convert(facts, Dialect)
    except msgspec.ValidationError as error:
        raise BadInput(f"{META}: dialect: {error}", where=name) from error
    if learnt.digest != dialect.digest:
        raise DigestMismatch(
            f"trained at the prompt {learnt.prompt!r}, but worlds show {dialect.prompt!r}",
            where=name,
            mend="set [dialect] in sekft.toml to what the adapter learnt",
        )


def other_precision(trained_4bit: bool | None, base: ResidentBase) -> str:
    """How ``base`` is held otherwise than an adapter was trained on it; empty = it is not, or
    nobody knows."""
    if trained_4bit is None or trained_4bit == base.quantised:
        return ""
    here = str(base.model.dtype).removeprefix("torch.")
    if trained_4bit:
        return (
            f"it was trained on the base in 4 bits and acts on it in {here}, so it may act "
            "otherwise than it learnt (--load-4bit loads it as trained)"
        )
    return (
        "it was trained on the base in full precision and acts on it in 4 bits, so it may act "
        "otherwise than it learnt (--no-load-4bit loads it as trained)"
    )


def report_name(name: str) -> str:
    """The name of an adapter in reports: not that of the bare base or of a control."""
    return f"{name} (adapter)" if name in (BASE, *get_args(Control)) else name
