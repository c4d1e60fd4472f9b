"""Compose a bundle from a spec: parts, what gets in the way, a provider, and the session."""

from __future__ import annotations

import re
from random import Random

from sekft_engine.data.scenario import Announcement, Fixture, Scenario
from sekft_engine.factory import providers
from sekft_engine.factory.archetypes import training_kinds
from sekft_engine.factory.helping import HelpDesk, Helped
from sekft_engine.factory.names import Names
from sekft_engine.factory.obstacles import Blocked, block, contradiction, in_the_way, no_change
from sekft_engine.factory.part import Desk, absent, content
from sekft_engine.factory.session import Step, work_on
from sekft_engine.factory.splits import Spec, archetype
from sekft_engine.factory.words import wordings

#: How several directives are put together; ``{n}`` counts them.
_LISTS = ("{x}", "{n}. {x}", "- {x}", "{n}) {x}", "Task {n}: {x}", "* {x}", "[{n}] {x}", "# {x}")
_ONE = ("{x}", "{x}", "{x}.", "Please: {x}", "Task: {x}", "Work: {x}", "Your job: {x}", "> {x}")
_IN_FOLDER = (
    "In the folder {folder}: {x}",
    "(all in {folder}) {x}",
    "Inside {folder}, {x}",
    "Go to {folder}. {x}",
    "Folder {folder}: {x}",
    "Within {folder}/ do this: {x}",
)
#: Kinds of work whose results or files hold paths.
_TELL_PATHS = {"find", "which-file", "repair-script"}
#: A line that asks for nothing.
_HARMLESS = (
    "Leave {path} as it is",
    "{path} must not be changed",
    "Do not touch {path}",
    "Keep your hands off {path}",
    "{path} is none of your business",
    "Let {path} alone",
)


def compose(spec: Spec) -> Scenario:
    """The bundle of ``spec``; the same spec gives the same bundle."""
    return _Composer(spec).bundle()


class _Composer:
    """Makes one bundle."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.rng = Random(spec.seed)  # noqa: S311 (reproducible, not secret)
        self.names = Names(self.rng, spec.share)
        self.files: list[Fixture] = []
        self.steps: list[Step] = []
        self.texts: list[str] = []
        self.checks: list[str] = []
        self.given_up = False
        self.obstacle = spec.block
        self.help = HelpDesk(self.rng, self.names)
        # One world in four has all its files in a folder, which its commands name.
        self.folder = f"{self.names.folder()}/" if self.rng.random() < 0.4 else ""
        self.inside = bool(self.folder) and self.rng.random() < 0.5 and not spec.block
        self.inside = self.inside and spec.twist in ("", "closed", "misled", "harmless")
        self.inside = self.inside and not set(spec.archetypes) & _TELL_PATHS

    def bundle(self) -> Scenario:
        spec = self.spec
        self._work()
        if self.folder:
            self.files.append(Fixture(path=self.folder, mode="0755"))
        if not self.files or self.rng.random() < 0.4:  # unrelated files
            for _ in range(self.rng.randint(1, 2)):
                path = (self.folder if self.files else "") + self.names.file()
                self.files.append(Fixture(path=path, content=content(self.names.words(2))))
        if spec.twist == "harmless":
            path = self.names.file()
            self.files.append(Fixture(path=path, content=content(self.names.words(1))))
            options = wordings(_HARMLESS, self.names.share)
            self.texts.append(self.rng.choice(list(options)).format(path=path))
            self.obstacle = spec.twist
        self.files += self.help.fixtures()
        directives = self._directives()
        desk, announcement, steps = self._provider(directives)
        if not desk.sealed:
            steps += self.steps
        if not spec.block:
            steps.append(Step("exit"))
        return Scenario(
            id=spec.id,
            archetype=spec.archetype,
            difficulty=str(len(spec.archetypes)),
            doc_depth=spec.depth,
            provider=desk.provider,
            announcement=announcement,
            directives=directives,
            fixtures=_sorted(self.files),
            checker=self._checker(),
            reference_solution=tuple(step.command for step in steps),
            mistakes=tuple(number for number, step in enumerate(steps) if step.mistake),
            terminal=spec.terminal,
            extra={
                "split": spec.split,
                "parts": list(spec.archetypes),
                "obstacle": self.obstacle,
            },
        )

    def _provider(
        self, directives: str
    ) -> tuple[providers.ProviderSetup, Announcement, list[Step]]:
        """The provider, its announcement, and the steps that end with its answer."""
        spec, rng = self.spec, self.rng
        sealed = spec.block == "sealed"
        closed = spec.twist == "closed" or (sealed and rng.random() < 0.4)
        desk = providers.build(
            rng, self.names, spec.depth, directives, sealed=sealed, closed=closed
        )
        told = spec.depth
        if spec.twist == "closed":
            self.obstacle = spec.twist
        elif spec.twist == "misled" and (others := providers.misleading(spec.depth)):
            told, self.obstacle = rng.choice(others), spec.twist
        name = desk.provider.name
        announcement = providers.announce(rng, name, told, spec.channel, self.names.share)
        steps = [Step(command) for command in providers.discover(announcement)]
        if spec.slip == "typo":
            steps.append(Step(desk.mistyped, mistake=True))
        if told != spec.depth:
            steps.append(Step(providers.learning(name, told)))
        steps.append(Step(desk.learn))
        if spec.slip == "verb":
            steps.append(Step(desk.beside, mistake=True))
        steps.append(Step(desk.fetch))
        if desk.opening:
            steps += [Step(desk.opening), Step(desk.fetch)]
        if sealed:
            steps.append(Step(f"panic {desk.sealed}"))
        return desk, announcement, steps

    def _desk(self, nook: str = "", *, lacking: bool = False) -> Desk:
        return Desk(self.rng, self.names, self.folder, nook, lacking=lacking)

    def _work(self) -> None:
        """The parts, with their directives, files, steps and checks."""
        spec, kinds = self.spec, self.spec.archetypes
        if spec.block == "contradiction":
            self._blocked(contradiction(self._desk()))
            return
        # What gets in the way, and a mistake, concern one part: the first that allows it, from a
        # random one on.
        start = self.rng.randrange(len(kinds) // 2 + 1)
        twist, slip = spec.twist, spec.slip
        calm = 1.0 if len(kinds) < 3 else 0.6 if len(kinds) < 5 else 0.45
        for number, name in enumerate(kinds):
            kind = archetype(name)
            if number == start and spec.block and spec.block != "sealed":
                self._blocked(
                    block(spec.block, kind, training_kinds(core=spec.core), self._desk(), self.help)
                )
                continue
            here = number >= start
            nook = self._nook() if here and twist == "nook" else ""
            part = kind.part(self._desk(nook))
            new = bool(part.scripts) or (kind.share != "train" and self.rng.random() < 0.8)
            plain = here and twist == "program" and not part.scripts
            named = here and twist == "renamed"
            helped = Helped(part) if plain else self.help.help(part, new=new, named=named)
            part, before, asks, after = in_the_way(
                twist if here else "", helped, nook, self.rng, self.names
            )
            if before or after is not no_change or asks != helped.asks:
                self.obstacle, twist = twist, ""
            self.texts.append(part.text)
            self.files += part.fixtures()
            if self.given_up:
                continue
            self.checks += part.checks
            steps = work_on(
                self.rng,
                part,
                asks=asks,
                before=before,
                slip=slip if here else "",
                calm=calm,
                wary=kind.can_lack,
            )
            if any(step.mistake for step in steps):
                slip = ""
            self.steps += after(steps)
        self._go_inside()

    def _nook(self) -> str:
        """The path of a folder that does not exist, in one where it may be made."""
        root = self.rng.choice(("", "", "", "/srv/", "/var/"))
        if root:
            self.files.append(Fixture(path=f"{root}{self.names.word()}/", mode="0755"))
        return (root or self.folder) + f"{self.names.folder()}/"

    def _go_inside(self) -> None:
        """Let the session change into the folder where all its files are."""
        listed = any(
            step.command.startswith("cat ") and "/" not in step.command for step in self.steps
        )
        if not self.inside or listed:
            return
        folder = self.folder.rstrip("/")
        bare = re.compile(rf"(?<![\w./-]){re.escape(self.folder)}")
        texts = [bare.sub("", text) for text in self.texts]
        if texts == self.texts or any(folder in text for text in texts):
            return
        frame = self.rng.choice(list(wordings(_IN_FOLDER, self.names.share)))
        head, *rest = texts
        self.texts = [frame.format(folder=folder, x=head), *rest]
        self.steps = [
            Step(f"cd {folder}"),
            *(Step(bare.sub("", step.command), step.mistake) for step in self.steps),
        ]

    def _blocked(self, blocked: Blocked) -> None:
        self.texts += blocked.texts
        self.files += blocked.files
        self.steps += [
            *(Step(command) for command in blocked.commands),
            Step(f"panic {blocked.reason}"),
        ]
        self.given_up = True
        self.checks = ["[ -s .panic ]", *(absent(path) for path in blocked.made)]

    def _directives(self) -> str:
        options = _LISTS if len(self.texts) > 1 else _ONE
        frame = self.rng.choice(list(wordings(options, self.names.share)))
        return "\n".join(
            frame.format(n=number, x=text) for number, text in enumerate(self.texts, 1)
        )

    def _checker(self) -> str:
        """A checker of the final state: the work is done, or given up with a reason."""
        lines = list(self.checks)
        if self.spec.block == "sealed":
            lines = ["[ -s .panic ]"]
        elif not self.spec.block:
            lines.append(absent(".panic"))
        body = "".join(f"{{ {line}; }} || exit 1\n" for line in dict.fromkeys(lines))
        return f"#!/bin/sh\ncd ~ || exit 1\n{body}"


def _sorted(files: list[Fixture]) -> tuple[Fixture, ...]:
    """Each path once, in order."""
    by_path = {fixture.path: fixture for fixture in files}
    return tuple(by_path[path] for path in sorted(by_path))
