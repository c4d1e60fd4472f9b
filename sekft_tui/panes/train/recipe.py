"""The form of a run: all hyperparameters, checked while they are typed, and other settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import work

from sekft_engine.bases import ready_base, refuse_unknown_targets
from sekft_engine.core.errors import BadInput, SekftError
from sekft_engine.data.recipe import Recipe, RecipeField, recipe_fields, recipe_from
from sekft_engine.model.device import device_fault
from sekft_engine.records import jobs
from sekft_engine.records.adapter_names import name_fault
from sekft_tui.input.actions import key_for
from sekft_tui.model.job_size import JobSize, train_size
from sekft_tui.model.job_text import no_base
from sekft_tui.model.runs.measured import Measured, alike, measured_runs
from sekft_tui.panes.pane import Part
from sekft_tui.panes.train.counting import counted
from sekft_tui.panes.train.memory import MemoryLine, measure_processor, memory_line
from sekft_tui.process.bridge import loaded_by
from sekft_tui.text import Parts, clip, short_path
from sekft_tui.widgets.form import Field, Form
from sekft_tui.widgets.form_help import FormHelp
from sekft_tui.widgets.lines import Lines

if TYPE_CHECKING:
    from sekft_tui.host import Host

#: The name under which this form is remembered.
_FORM = "train"
#: Settings of a run besides its recipe.
_RUN = (
    Field(
        "device", "auto", "where the base computes: auto, cpu, cuda, or one card, as cuda:1",
    ),
    Field(
        "load_4bit", "", "hold the base in 4 bits (NF4, double quant)", "check",
        label="base in 4 bits",
    ),
    Field(
        "scenarios", "", "folder of the worlds in which the adapter is tried during training "
        "(eval every)", label="trial worlds", empty="scenarios/train",
    ),
    Field(
        "name", "", "name of the next run's adapter on the base",
        label="adapter name", empty="the run's id",
    ),
)  # fmt: skip
#: The title above each group of lines, by its first field.
_GROUPS = {
    "rank": "adapter",
    "lr": "optimiser",
    "batch": "batch and memory",
    "heldout": "checks while it trains",
    "limit": "data and place",
}
#: Fields that stand after another one than in the recipe, beside their like.
_AFTER = {"weight_decay": "max_steps", "clip": "weight_decay"}
_BUTTONS = (
    Field(
        "reset", "", "set every value back to its default",
        "button", label="▸ back to the defaults",
    ),
    Field(
        "find_rate", "", "raise the rate step by step on this data and watch the loss",
        "button", label="▸ find a learning rate",
    ),
    Field(
        "sweep", "", "many recipes from a TOML file, one run after another",
        "button", label="▸ train a table of recipes",
    ),
    Field(
        "start", "", "train an adapter on the base with this recipe",
        "button", label="▸ start the run",
    ),
)  # fmt: skip


class RecipePart(Part):
    """Head, form, help.

    Args:
        host: holds the recipe.
        pressed: the actions of the buttons, by their names.
    """

    DEFAULT_CSS = "RecipePart > #train-help { height: 2; min-height: 2; }"

    def __init__(self, host: Host, pressed: Mapping[str, Callable[[], None]]) -> None:
        self._host = host
        self.values: dict[str, str] = {}
        self.run = {field.name: field.value for field in _RUN}
        self._start: dict[str, str] = {}
        self.help = FormHelp(id="train-help")
        self.form = Form(
            check=self._check,
            changed=self._changed,
            pressed=lambda name: ({"reset": self.reset} | dict(pressed))[name](),
            show_help=self.help.show_help,
            say=host.note,
            id="train-form",
        )
        self._planned = False
        self._measured: tuple[Measured, ...] = ()
        self.memory = MemoryLine("", "", fits=True)
        self.head = Lines(self._head)
        super().__init__(self.head, self.form, self.help, id="train-left")

    def on_mount(self) -> None:
        self._begin()
        for name, value in self._host.remembered.form(_FORM).items():
            if name in self.values | self.run and not self._check(name, value):
                (self.run if name in self.run else self.values)[name] = value
        with suppress(SekftError):  # values that fit one by one may not fit together
            self._host.recipe = self.recipe()
        self.fill()

    def _begin(self) -> None:
        """Begin with the recipe that the workbench begins with."""
        self._start = {field.name: shown(value) for field, value in self._defaults()}
        self.values = dict(self._start)

    def begin_with(self, recipe: Recipe) -> None:
        """Make ``recipe`` the default; what was changed stays as it is."""
        changed = self._changed_values()
        self._host.recipe = recipe
        self._begin()
        self.values |= changed
        with suppress(SekftError):  # values that fit one by one may not fit together
            self._host.recipe = self.recipe()
        self.fill()

    def reset(self) -> None:
        """Set every value back to what it is in a new workspace."""
        self.form.cancel_edit()
        self.values = dict(self._start)
        self.run = {field.name: field.value for field in _RUN}
        self._host.recipe = self.recipe()
        self._keep()
        self.fill()

    def _keep(self) -> None:
        """Remember what is not as in a new workspace; a name is for one run."""
        changed = self._changed_values() | {
            field.name: value
            for field in _RUN
            if field.name != "name" and (value := self.run[field.name]) != field.value
        }
        self._host.remembered.keep_form(_FORM, changed)

    def _changed_values(self) -> dict[str, str]:
        """The recipe's values that are not as in a new workspace."""
        return {name: value for name, value in self.values.items() if value != self._start[name]}

    def _defaults(self) -> list[tuple[RecipeField, Any]]:
        recipe = self._host.recipe
        return [(field, getattr(recipe, field.name)) for field in _fields()]

    def recipe(self) -> Recipe:
        """The recipe in the form. Raises BadInput, with the field's name, if a value is invalid."""
        try:
            recipe = recipe_from(self.values)
        except SekftError as error:
            raise BadInput(error.what, mend="Enter on its line edits it") from error
        if fault := self._targets_fault(recipe.targets):
            raise BadInput(f"targets: {fault}", mend="Enter on its line edits it")
        return recipe

    def job(self) -> jobs.Train:
        """The run that the form describes. Raises as :meth:`recipe`."""
        host = self._host
        scenarios = self.run["scenarios"]
        return jobs.Train(
            base=host.base,
            data=host.data.path,
            hub=host.data.hub,
            scenarios=str(Path(scenarios).expanduser().absolute()) if scenarios else "",
            name=self.run["name"],
            recipe=self.recipe(),
            load_4bit=bool(self.run["load_4bit"]),
            device=self.run["device"] or "auto",
        )

    def put(self, name: str, value: str) -> None:
        """Set a value as if it were typed."""
        self.form.cancel_edit()
        self._changed(name, value)

    def plan(self) -> None:
        """Say from now on whether the run fits into memory. What computes that is imported now, so
        that a workbench that shows other panes opens without it."""
        if not self._planned:
            self._planned = True
            self.fill()
            if self._host.data_count is None:
                self._count()
            if not self.memory.speed:
                self._measure()
            self.look_at_runs()

    def look_at_runs(self) -> None:
        """Learn from the runs of the workspace how fast they were."""
        if self._planned:
            self._read_speeds()

    @work(exclusive=True, group="speeds")
    async def _read_speeds(self) -> None:
        self._measured = await asyncio.to_thread(measured_runs, self._host.workspace.runs)
        self.fill()

    def run_size(self) -> JobSize:
        """How large the run is that the form describes."""
        self.plan()
        memory = self.memory
        return train_size(
            self._host.recipe,
            self._host.data_count,
            memory.tokens_per_s,
            memory.value and f"memory {memory.value}",
            fits=memory.fits,
            why=memory.why,
        )

    @work
    async def _count(self) -> None:
        """Count what is trained on where the list of trajectories has not done so yet."""
        found = await asyncio.to_thread(counted, self._host.data)
        self._host.data_count = self._host.data_count or found

    @work
    async def _measure(self) -> None:
        """Have the processor measured without holding up a key, and show the speed."""
        await asyncio.to_thread(measure_processor)
        self.fill()

    def fill(self) -> None:
        """Show the present values."""
        host = self._host
        base = host.base
        if self._planned:
            self.memory = self._memory()
        self.head.styles.height = 2 if self.memory.speed else 1
        self.head.update()
        palette = key_for("global.command-palette")
        missing = no_base(host.workspace, host.demo_made)
        about = f"{short_path(base)}: {self.memory.help}" if base else missing
        facts = [
            Field(
                "base",
                short_path(base) if base else "none here",
                about,
                "fact",
                fixed="sekft tui --base PATH opens the workbench on another base",
            ),
            Field(
                "data",
                host.data.name,
                _about_data(host),
                "fact",
                fixed=f"{palette}, Open data: import sessions, shows and trains on others",
            ),
        ]
        fields = [
            Field(
                field.name,
                self.values[field.name],
                f"{field.help} (default {shown(field.default)})",
                "text" if field.type is str else "number",
                choices=field.choices,
                changed=self.values[field.name] != shown(field.default),
                default=shown(field.default),
            )
            for field in _fields()
        ]
        run = [field._replace(value=self.run[field.name]) for field in _RUN]
        self.form.set_fields((*facts, *_grouped([*fields, *run]), *_BUTTONS))

    def _head(self, width: int) -> tuple[Parts, ...]:
        """The title, whether the run fits into memory, and how fast it may be."""
        title, line = " Recipe", self.memory.value
        gap = " " * max(1, width - len(title) - len(line) - 1)
        first: Parts = (
            (title, "strong"),
            (gap, ""),
            (line, "quiet" if self.memory.fits else "bad"),
        )
        speed = self.memory.speed
        if len(speed) >= width:  # why it is uncertain stands in the question before the start, too
            speed = clip(speed.partition(", ")[0], width - 1)
        return first, ((speed.rjust(width - 1), "quiet"),)

    def _memory(self) -> MemoryLine:
        """Whether the run that the form describes fits into memory."""
        with self._host.bridge.shared() as shared:
            resident = shared.base.memory if shared.base is not None else 0
        load_4bit, device = bool(self.run["load_4bit"]), self.run["device"] or "auto"
        base, recipe = self._host.base, self._host.recipe
        line = memory_line(base, recipe, device=device, resident=resident, load_4bit=load_4bit)
        known = alike(self._measured, base, recipe, device=device, load_4bit=load_4bit)
        return line.as_measured(known) if known is not None else line

    def _check(self, name: str, value: str) -> str:
        if name == "scenarios":
            missing = value and not Path(value).expanduser().exists()
            return "no such folder" if missing else ""
        if name == "device":
            return device_fault(value)
        if name == "name":
            return self._name_fault(value) if value else ""
        try:
            recipe_from(self.values | {name: value})
        except SekftError as error:
            return error.what.removeprefix(f"{name} {value}: ")
        return self._targets_fault(value) if name == "targets" else ""

    def _targets_fault(self, targets: str) -> str:
        """Which of the layers the base does not have, and those that it has; "" = it has all, or
        is not here."""
        host = self._host
        try:
            folder = ready_base(host.base, host.workspace) if host.base else None
        except SekftError:
            return ""  # that is said elsewhere
        try:
            if folder is not None:
                refuse_unknown_targets(folder, targets)
        except SekftError as error:
            return f"{error.what} ({error.mend})"
        return ""

    def _name_fault(self, name: str) -> str:
        """Why the next run's adapter cannot be called ``name``, as the run itself would say it."""
        bridge = self._host.bridge
        held = loaded_by(bridge.engine)
        if why := name_fault(name):
            return why
        if held is not None and name in held.adapters:
            return "an adapter of this name is on the base; choose another name"
        with bridge.shared() as shared:
            queue = shared.queue
            queued = [queue.running, *queue.waiting] if queue is not None else []
        trained = [job.spec for job in queued if job is not None and job.kind == "train"]
        if any(spec.get("name") == name for spec in trained):
            return "a run of this name is in the queue; choose another name"
        return ""

    def _changed(self, name: str, value: str) -> None:
        if name in self.run:
            self.run[name] = value
        else:
            self.values[name] = value
            self._host.recipe = recipe_from(self.values)
        self._keep()
        self.fill()


def _fields() -> list[RecipeField]:
    """The fields of the form: all of the recipe's but what is for comparisons only."""
    return [field for field in recipe_fields() if field.name != "ablation"]


def _grouped(fields: Iterable[Field]) -> Iterator[Field]:
    """The fields with a title before the first of each group."""
    ordered = list(fields)
    for name, before in _AFTER.items():
        field = ordered.pop(next(n for n, field in enumerate(ordered) if field.name == name))
        ordered.insert(
            1 + next(n for n, other in enumerate(ordered) if other.name == before), field
        )
    for field in ordered:
        if title := _GROUPS.get(field.name):
            yield Field(f"group {title}", "", kind="head", label=title)
        yield field


def _about_data(host: Host) -> str:
    report = host.data_report
    return "the sessions that are trained on" + (f": {report}" if report else "")


def shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
