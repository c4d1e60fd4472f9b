"""The set-up of an eval: subjects, worlds and limits, as lines of a form and as the job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, get_args

import msgspec

from sekft_engine.core.documents import NOT_JSON
from sekft_engine.core.errors import SekftError
from sekft_engine.data.scenario import Scenario
from sekft_engine.episodes.choose import choose_scenarios
from sekft_engine.episodes.step_cap import too_low
from sekft_engine.evaluation.statistics.power import what_n_shows
from sekft_engine.model.device import device_fault
from sekft_engine.records import jobs
from sekft_tui.input.actions import key_for
from sekft_tui.model.job_size import JobSize, eval_size
from sekft_tui.text import short_path
from sekft_tui.widgets.form import Field

#: Whole numbers: their help texts and the smallest valid values.
_NUMBERS = {
    "n": ("how many held-out scenarios, spread over archetypes; 0 = all", 0),
    "step_cap": ("commands after which an episode is cut off", 1),
    "turn_tokens": ("tokens after which a command is cut off", 1),
    "seed": ("order of the scenarios, and sampling", 0),
}
_SEEDS = "episodes per world, each sampled anew (needs a temperature)"
_TEMPERATURE = "0 = greedy: the likeliest token each time"
_UNTIL_DECIDED = (
    "stop as soon as the comparison with the first model is decided, by a test that is valid at "
    "any time; else all worlds are run"
)
_CONTROLS = (
    "operators without a model in the same worlds: the reference solution, always exit, always "
    "panic, random commands; what they achieve takes no skill"
)
_USERLAND = "the system in the worlds; auto = the host's own in bubblewrap, debian in containers"
_SANDBOX = "what runs the worlds; auto = the first that works here"
_DEVICE = "where the base computes: auto, cpu, cuda, or one card, as cuda:1"
USERLANDS = ("auto", "host", "debian")
SANDBOXES = ("auto", "bubblewrap", "podman", "docker")
#: The name under which the chosen models are remembered.
_MODELS = "models"
#: Settings with few values.
_CHOICES = {
    "userland": USERLANDS,
    "sandbox": SANDBOXES,
    "controls": ("", "yes"),
    "until_decided": ("", "yes"),
}


class Subject(NamedTuple):
    """What can be evaluated: the base (no path) or an adapter."""

    name: str
    path: str = ""
    done: bool = True  # its run was not cut short


def read_choices(
    runs: Path, scenarios: Path
) -> tuple[tuple[Subject, ...], int, tuple[Scenario, ...]]:
    """Finished runs with an adapter, newest first, how many scenarios there are, and those, unless
    one of them is broken."""
    from sekft_engine.records.runs import list_runs
    from sekft_engine.sources import load_scenarios

    try:
        found = [run for run in list_runs(runs) if run.kind == "train" and run.adapter]
    except (OSError, SekftError):
        found = []
    adapters = tuple(Subject(run.id, run.adapter, run.status == "done") for run in reversed(found))
    try:
        worlds = load_scenarios(scenarios)
    except (OSError, SekftError):  # the eval says what is broken
        worlds = ()
    return adapters, sum(1 for _ in scenarios.glob("*.json")), worlds


class EvalSetup:
    """The settings so far; each value is valid by itself."""

    def __init__(self) -> None:
        self.choices: tuple[Subject, ...] = (Subject("base"),)
        self.chosen: set[str] = {""}
        #: What the user decided, here or in an earlier session; the rest was found or is a default.
        self._decided: set[str] = set()
        self.scenarios = 0  # how many held-out ones there are
        self._worlds: tuple[Scenario, ...] = ()  # those, where none of them is broken
        self.values = {
            "n": "16",
            "step_cap": "24",
            "turn_tokens": "64",
            "seed": "0",
            "temperature": "0",
            "seeds": "1",
            "until_decided": "",
            "controls": "",
            "userland": "auto",
            "sandbox": "auto",
            "device": "auto",
        }

    def set_choices(
        self,
        adapters: Sequence[Subject],
        scenarios: int,
        wanted: str = "",
        worlds: tuple[Scenario, ...] = (),
    ) -> None:
        """Set what can be chosen; what was chosen stays so. Where the user has chosen nothing that
        there is, base and newest adapter are chosen.

        Args:
            scenarios: number of held-out scenarios.
            wanted: path of an adapter to choose besides.
            worlds: the held-out scenarios, where all of them can be read.
        """
        self._worlds = worlds
        self.choices = (Subject("base"), *adapters)
        self.scenarios = scenarios
        if 0 < scenarios < int(self.values["n"]):
            self.values["n"] = str(scenarios)
        known = {choice.path for choice in self.choices}
        if not self.chosen & known:
            self.chosen = {""}
            self._decided.discard(_MODELS)
        self.chosen &= known
        if wanted and wanted in known:
            self.chosen.add(wanted)
        elif adapters and self.chosen == {""} and _MODELS not in self._decided:
            self.chosen.add(next((each for each in adapters if each.done), adapters[0]).path)

    def fields(self, folder: Path) -> tuple[Field, ...]:
        """The lines of the form; ``folder`` is that of the scenarios."""
        values = self.values
        subjects = (
            Field(choice.path or "base", "yes" if choice.path in self.chosen else "",
                  _about(choice),
                  "check", label=choice.name)
            for choice in self.choices
        )  # fmt: skip
        numbers = (
            Field(name, values[name], self._about_number(name, text), "number")
            for name, (text, _) in _NUMBERS.items()
        )
        return (
            Field("models", "", "the models that are evaluated", "head"),
            *subjects,
            Field("controls", values["controls"], _CONTROLS, "check"),
            Field("worlds", "", "held-out scenarios: archetypes not trained on", "head"),
            Field("scenarios", f"{self.scenarios} held out", short_path(str(folder)), "fact",
                  fixed="these are the workspace's; sekft eval --scenarios FOLDER takes others"),
            *numbers,
            Field("temperature", values["temperature"], _TEMPERATURE, "number"),
            Field("seeds", values["seeds"], _SEEDS, "number"),
            Field("userland", values["userland"], _USERLAND, "choice", USERLANDS),
            Field("sandbox", values["sandbox"], _SANDBOX, "choice", SANDBOXES),
            Field("device", values["device"], _DEVICE),
            Field("until_decided", values["until_decided"], _UNTIL_DECIDED, "check",
                  label="stop when decided"),
            Field("start", "", "evaluate the chosen models in sandboxed worlds", "button",
                  label="▸ start the eval"),
        )  # fmt: skip

    def _about_number(self, name: str, text: str) -> str:
        if name == "n":
            return self._power()
        return (name == "step_cap" and self.warning()) or text

    def warning(self) -> str:
        """What is wrong with the step cap in the worlds of this eval; "" = nothing is known."""
        n = int(self.values["n"])
        if not 0 < (n or 1) <= len(self._worlds):
            return ""
        chosen = choose_scenarios(self._worlds, n, int(self.values["seed"]))
        return too_low(chosen, int(self.values["step_cap"]))

    def _power(self) -> str:
        """The smallest difference that this eval could show."""
        worlds = int(self.values["n"]) or self.scenarios
        if not worlds:
            return _NUMBERS["n"][0]
        return what_n_shows(
            worlds,
            draws=int(self.values["seeds"]),
            until_decided=bool(self.values["until_decided"]),
            others=max(1, len(self.chosen) - 1),
        )

    def check(self, name: str, value: str) -> str:
        """Why a value is invalid; "" = it is valid."""
        title = name.replace("_", " ")
        if name == "temperature":
            return "" if _is_temperature(value) else f"{title}: enter a number of at least 0"
        if name == "device":
            return device_fault(value)
        if name == "n" and value.isdecimal() and int(value) > self.scenarios > 0:
            return f"n: there are only {self.scenarios} held-out scenarios"
        low = 1 if name == "seeds" else _NUMBERS[name][1]
        if not (value.isascii() and value.isdecimal()) or int(value) < low:
            return f"{title}: enter a whole number of at least {low}"
        return ""

    def changed(self, start: Mapping[str, str]) -> dict[str, str]:
        """The settings that were changed and are not as in ``start``."""
        changed = {
            name: self.values[name]
            for name in self.values
            if name in self._decided and self.values[name] != start[name]
        }
        if _MODELS in self._decided:
            changed[_MODELS] = msgspec.json.encode(sorted(self.chosen)).decode()
        return changed

    def restore(self, values: Mapping[str, str]) -> None:
        """Set what :meth:`changed` returned in an earlier session, as far as it is still valid."""
        for name, value in values.items():
            if name == _MODELS:
                self._restore_models(value)
                continue
            if name in _CHOICES:
                valid = value in _CHOICES[name]
            else:
                valid = name in self.values and not self.check(name, value)
            if valid:
                self.values[name] = value
                self._decided.add(name)

    def _restore_models(self, value: str) -> None:
        """Choose the models again; which of them there still are shows when the disk was read."""
        with suppress(*NOT_JSON):
            if chosen := set(msgspec.json.decode(value, type=list[str])):
                self.chosen = chosen
                self.decide_models()

    @property
    def models_are_decided(self) -> bool:
        """Whether the user has chosen the models, so that a new one is not added to them."""
        return _MODELS in self._decided

    def decide_models(self) -> None:
        """The models that are chosen now are the user's choice: they are remembered."""
        self._decided.add(_MODELS)

    def change(self, name: str, value: str) -> None:
        if name in self.values:
            self.values[name] = value
            self._decided.add(name)
        else:
            self.chosen ^= {"" if name == "base" else name}
            self.decide_models()

    def problem(self) -> str:
        """Why this eval would show nothing; "" = it would show something."""
        if not self.chosen:
            return f"choose at least one model ({key_for('eval.take')})"
        if int(self.values["seeds"]) > 1 and float(self.values["temperature"]) == 0:
            return "several seeds need a temperature: a greedy model does the same every time"
        if self.values["until_decided"] and len(self.chosen) < 2:
            return f"one model alone decides nothing: choose another ({key_for('eval.take')})"
        return ""

    def size(self, known: tuple[float, int]) -> JobSize:
        """How large this eval is; ``known`` as in :func:`eval_size`."""
        controls = len(get_args(jobs.Control)) if self.values["controls"] else 0
        worlds = int(self.values["n"]) or self.scenarios
        seeds = int(self.values["seeds"])
        return eval_size(worlds, len(self.chosen), controls, seeds, known, warning=self.warning())

    def job(self, base: str, scenarios: Path) -> jobs.Evaluate:
        values = self.values
        return jobs.Evaluate(
            base=base,
            adapters=tuple(c.path for c in self.choices if c.path and c.path in self.chosen),
            with_base="" in self.chosen,
            scenarios=str(scenarios),
            n=int(values["n"]),
            seed=int(values["seed"]),
            step_cap=int(values["step_cap"]),
            turn_tokens=int(values["turn_tokens"]),
            temperature=float(values["temperature"]),
            seeds=int(values["seeds"]),
            until_decided=bool(values["until_decided"]),
            controls=get_args(jobs.Control) if values["controls"] else (),
            userland=values["userland"],
            sandbox=values["sandbox"],
            device=values["device"] or "auto",
        )


def _about(choice: Subject) -> str:
    if not choice.path:
        return "the base without an adapter"
    half = "" if choice.done else "; its run did not finish"
    return short_path(choice.path) + half


def _is_temperature(value: str) -> bool:
    try:
        number = float(value)
    except ValueError:
        return False
    return 0 <= number < float("inf")
