"""Scenario bundle: what a world is made of and how it is judged."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from sekft_engine.core.documents import convert
from sekft_engine.core.errors import BadInput
from sekft_engine.data.bundle_check import check_bundle

SCHEMA = 1
Channel = Literal["motd", "banner", "env", "file"]
DocDepth = Literal["help", "man", "usage"]
Terminal = Literal["exit", "panic"]
_MEND = "compare it with docs/formats.md"


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """The program that holds the directives and documents itself."""

    name: str
    path: str = ""
    script: str = ""
    man: str = ""


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """Where the world says that there is a provider: a channel and its text."""

    channel: Channel = "motd"
    text: str = ""
    path: str = ""
    variable: str = ""


class Fixture(msgspec.Struct, frozen=True, kw_only=True):
    """A file that stands in the world at login; ``mode`` is octal text, a final ``/`` a folder."""

    path: str
    content: str = ""
    mode: str = "0644"


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle. Paths are inside the world, absolute or relative to the home.

    ``mistakes`` counts, from 0, the commands of the reference solution that are mistakes: they are
    typed and recorded, as turns that are not trained.
    """

    id: str
    archetype: str = ""
    difficulty: str = ""
    doc_depth: DocDepth = "help"
    provider: Provider
    announcement: Announcement
    directives: str = ""
    fixtures: tuple[Fixture, ...] = ()
    checker: str = ""
    reference_solution: tuple[str, ...] = ()
    mistakes: tuple[int, ...] = ()
    terminal: Terminal = "exit"
    extra: dict[str, Any] = {}

    @classmethod
    def from_json(cls, raw: object, where: str) -> Scenario:
        """Read a bundle: tolerant of form, strict about what no world can hold.

        Raises:
            BadInput: it is no bundle, or a field is refused by
                :func:`~sekft_engine.data.bundle_check.check_bundle`; names ``where`` and the field.
        """
        if not isinstance(raw, dict):
            raise BadInput("a scenario bundle must be a JSON object", where=where, mend=_MEND)
        known = dict(raw)
        schema = known.pop("schema", SCHEMA)
        if schema != SCHEMA:
            raise BadInput(
                f"unknown schema {repr(schema)[:40]}",
                where=where,
                mend=f"this version reads schema {SCHEMA}; convert the bundle or update sekft",
            )
        for name, key in (("provider", "script"), ("announcement", "text")):
            if isinstance(known.get(name), str):
                known[name] = {key: known[name]}
        provider = known.get("provider")
        if isinstance(provider, dict) and not provider.get("name"):
            path = str(provider.get("path") or "")
            known["provider"] = provider | {"name": path.rsplit("/", 1)[-1] or "provider"}
        fixtures = known.get("fixtures")
        if isinstance(fixtures, dict):
            known["fixtures"] = [{"path": path, "content": text} for path, text in fixtures.items()]
        checker = known.get("checker")
        if isinstance(checker, dict):
            known["checker"] = checker.get("script", "")
        if isinstance(known.get("reference_solution"), str):
            known["reference_solution"] = [known["reference_solution"]]
        for name in ("difficulty", "archetype"):
            if name in known and not isinstance(known[name], str):
                known[name] = str(known[name])
        extra = {key: known.pop(key) for key in set(known) - set(cls.__struct_fields__)}
        extra |= known.pop("extra", {}) if isinstance(known.get("extra"), dict) else {}
        scenario = convert(
            known | {"extra": extra}, cls, what="broken bundle", where=where, mend=_MEND
        )
        check_bundle(scenario, where)
        return scenario

    def to_json(self) -> dict[str, Any]:
        """The strict form that sekft writes; unknown fields are kept."""
        out: dict[str, Any] = msgspec.to_builtins(self)
        extra = out.pop("extra")
        if not self.mistakes:  # the form, and so the digest, of bundles that have none
            del out["mistakes"]
        return {**extra, "schema": SCHEMA, **out}
