"""The set-up of an eval: who acts, on what and how, as lines of a form and as the job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sekft_engine import jobs
from sekft_engine.evaluate.power import what_n_shows
from sekft_tui.text import short_path
from sekft_tui.widgets.recipe_form import Field

#: Whole numbers: what they mean, and the least they may be.
_NUMBERS = {
    "n": ("how many held-out scenarios, spread over archetypes; 0 = all", 0),
    "step_cap": ("commands after which an episode is cut off", 1),
    "turn_tokens": ("tokens after which a command is cut off", 1),
    "seed": ("order of the scenarios, and sampling", 0),
}
_SEEDS = "episodes in each world, each with draws of its own (needs a temperature)"
_TEMPERATURE = "0 = greedy: the likeliest token each time"
_UNTIL_DECIDED = (
    "stop as soon as the comparison with the first subject is decided, by a test that holds "
    "whenever one looks; else all worlds are met"
)
_USERLAND = "what stands in the worlds; auto = the host's own in bubblewrap, debian in containers"
_SANDBOX = "what runs the worlds; auto = the first that works here"
USERLANDS = ("auto", "host", "debian")
SANDBOXES = ("auto", "bubblewrap", "podman", "docker")


class Choice(NamedTuple):
    """Someone who can act: the base (no path) or an adapter."""

    name: str
    path: str = ""


class SetUp:
    """What was chosen so far; every value is right by itself."""

    def __init__(self) -> None:
        self.choices: tuple[Choice, ...] = (Choice("base"),)
        self.chosen: set[str] = {""}
        self.scenarios = 0  # how many there are
        self.values = {
            "n": "16",
            "step_cap": "12",
            "turn_tokens": "64",
            "seed": "0",
            "temperature": "0",
            "seeds": "1",
            "until_decided": "",
            "userland": "auto",
            "sandbox": "auto",
        }

    def offer(self, adapters: Sequence[Choice], scenarios: int, wanted: str = "") -> None:
        """These are there now; who was chosen stays so, else the newest adapter is.

        Args:
            wanted: an adapter that is to be taken in.
        """
        self.choices = (Choice("base"), *adapters)
        self.scenarios = scenarios
        if 0 < scenarios < int(self.values["n"]):
            self.values["n"] = str(scenarios)
        known = {choice.path for choice in self.choices}
        self.chosen = (self.chosen & known) or {""}
        if wanted and wanted in known:
            self.chosen.add(wanted)
        elif adapters and self.chosen == {""}:
            self.chosen.add(adapters[0].path)

    def fields(self, folder: Path) -> tuple[Field, ...]:
        """The lines of the form. ``folder``: where the scenarios are."""
        values = self.values
        people = (
            Field(choice.path or "base", "yes" if choice.path in self.chosen else "",
                  short_path(choice.path) if choice.path else "the base without an adapter",
                  "check", label=choice.name)
            for choice in self.choices
        )  # fmt: skip
        numbers = (
            Field(name, values[name], self._shows() if name == "n" else text)
            for name, (text, _) in _NUMBERS.items()
        )
        return (
            Field("subjects", "", "space takes one in or leaves it out", "head"),
            *people,
            Field("worlds", "", "held-out scenarios: archetypes not trained on", "head"),
            Field("scenarios", f"{self.scenarios} held out", short_path(str(folder)), "fact"),
            *numbers,
            Field("temperature", values["temperature"], _TEMPERATURE),
            Field("seeds", values["seeds"], _SEEDS),
            Field("userland", values["userland"], _USERLAND, "choice", USERLANDS),
            Field("sandbox", values["sandbox"], _SANDBOX, "choice", SANDBOXES),
            Field("until_decided", values["until_decided"], _UNTIL_DECIDED, "check",
                  label="stop when it is decided"),
            Field("start", "", "let the chosen subjects act in sandboxed worlds", "button",
                  label="▸ start the eval"),
        )  # fmt: skip

    def _shows(self) -> str:
        """What the eval could show as it is set up."""
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
        """Why a value is wrong, '' = it is right."""
        title = name.replace("_", " ")
        if name == "temperature":
            return "" if _is_temperature(value) else f"{title}: a number from 0 on is wanted"
        if name == "n" and value.isdecimal() and int(value) > self.scenarios > 0:
            return f"n: there are only {self.scenarios} held-out scenarios"
        low = 1 if name == "seeds" else _NUMBERS[name][1]
        if not (value.isascii() and value.isdecimal()) or int(value) < low:
            return f"{title}: a whole number from {low} on is wanted"
        return ""

    def change(self, name: str, value: str) -> None:
        if name in self.values:
            self.values[name] = value
        else:
            self.chosen ^= {"" if name == "base" else name}

    def contradiction(self) -> str:
        """Why this eval would show nothing, '' = it would."""
        if not self.chosen:
            return "choose at least one subject with space"
        if int(self.values["seeds"]) > 1 and float(self.values["temperature"]) == 0:
            return "several seeds need a temperature: a greedy model does the same every time"
        if self.values["until_decided"] and len(self.chosen) < 2:
            return "one subject alone decides nothing: choose another with space"
        return ""

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
            userland=values["userland"],
            sandbox=values["sandbox"],
        )


def _is_temperature(value: str) -> bool:
    try:
        number = float(value)
    except ValueError:
        return False
    return 0 <= number < float("inf")
