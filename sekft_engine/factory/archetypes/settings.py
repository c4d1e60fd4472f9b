"""Settings in files of ``key=value`` lines and in the environment."""

from __future__ import annotations

from sekft_engine.factory.part import (
    Desk,
    Gap,
    Page,
    Part,
    content,
    holds,
    reading,
    showing,
    work,
)


def _settings(desk: Desk) -> tuple[list[str], list[str]]:
    """Keys and values of a settings file."""
    count = desk.number(3, 4)
    keys = desk.words(count)
    if desk.rng.random() < 0.3:
        keys = [f"{key}_{desk.word()}" for key in keys]
    values = [
        str(desk.number(1, 9999)) if desk.rng.random() < 0.5 else desk.word() for _ in range(count)
    ]
    return keys, values


def _rows(keys: list[str], values: list[str]) -> list[str]:
    return [f"{key}={value}" for key, value in zip(keys, values, strict=True)]


@work(
    "set-key",
    "Set {key} to {value} in {source}",
    "In {source}, the value of {key} must be {value}",
    "Change {key} in the settings {source} to {value}",
    "The settings file {source} needs {key}={value}",
    "Let {key} be {value} in the configuration {source}",
    "{source} must give {key} the value {value}",
    page=Page("sed", "set a key in a file", ("sed -i s/^KEY=.*/KEY=VALUE/ FILE",)),
    can_lack=True,
)
def set_key(desk: Desk) -> Part:
    source = desk.path("conf")
    keys, values = _settings(desk)
    at, new = desk.number(0, len(keys) - 1), desk.word()
    key, gap = keys[at], None
    if desk.lacking:
        key = desk.word()
        shown = desk.rng.choice((f"grep {key} {source}", f"cat {source}"))
        gap = Gap((shown,), f"there is no {key} in {source}")
    after = [new if number == at else value for number, value in enumerate(values)]
    return Part(
        fields={"source": source, "key": key, "value": new},
        acts=(f"sed -i s/^{key}=.*/{key}={new}/ {source}",),
        files={source: content(_rows(keys, values))},
        checks=(holds(source, _rows(keys, after)),),
        source=source,
        looks=(f"cat {source}", f"grep {key} {source}"),
        verifies=(f"grep {key} {source}", f"cat {source}"),
        gap=gap,
    )


@work(
    "add-key",
    "Add the setting {key}={value} to {source}",
    "The settings file {source} needs a new line {key}={value}",
    "Append the key {key} with the value {value} to {source}",
    "{source} has no {key} yet, add it with the value {value}",
    "Put a new setting {key} with value {value} at the end of {source}",
    "{source} must gain the entry {key}={value}",
    page=Page("echo", "add a setting", ("echo KEY=VALUE >> FILE",)),
)
def add_key(desk: Desk) -> Part:
    source = desk.path("conf")
    keys, values = _settings(desk)
    key, new = desk.words(2)
    return Part(
        fields={"source": source, "key": key, "value": new},
        acts=(f"echo {key}={new} >> {source}",),
        files={source: content(_rows(keys, values))},
        checks=(holds(source, [*_rows(keys, values), f"{key}={new}"]),),
        source=source,
        looks=(f"cat {source}", f"tail {source}", f"ls {source}"),
        verifies=(f"grep {key} {source}", f"cat {source}", f"tail -n 1 {source}"),
    )


@work(
    "get-key",
    "Write the value of {key} in {source} to {target}",
    "Which value has {key} in {source}? Put it into {target}",
    "Look up {key} in the settings {source} and save its value as {target}",
    "The value that {source} gives for {key} belongs into {target}",
    "Read {key} from the configuration {source}, value alone, into {target}",
    "{target} must hold what {key} is set to in {source}",
    page=Page("grep", "get the value of a key", ("grep ^KEY= FILE | cut -d= -f2 > OUT",)),
    can_lack=True,
)
def get_key(desk: Desk) -> Part:
    source, target = desk.path("conf"), desk.target()
    keys, values = _settings(desk)
    at = desk.number(0, len(keys) - 1)
    key, gap = keys[at], None
    if desk.lacking:
        key = desk.word()
        shown = desk.rng.choice((f"grep {key} {source}", f"cat {source}"))
        gap = Gap((shown,), f"there is no {key} in {source}")
    return Part(
        fields={"source": source, "key": key, "target": target},
        acts=(f"grep ^{key}= {source} | cut -d= -f2 > {target}",),
        files={source: content(_rows(keys, values))},
        checks=(holds(target, [values[at]]),),
        source=source,
        made=(target,),
        looks=(f"cat {source}", f"grep {key} {source}"),
        verifies=showing(target),
        slips=(f"grep {key} {source} > {target}",),
        gap=gap,
    )


@work(
    "switch-off",
    "Comment out {key} in {source} with a #",
    "In {source}, put a # before the line of {key}",
    "The setting {key} in {source} must be off: put # at the start of its line",
    "Disable {key} in the settings {source} by a # in front",
    "Let a # stand before {key} in the configuration {source}",
    "{source} must have {key} behind a # sign",
    page=Page("sed", "comment a setting out", ("sed -i s/^KEY/#KEY/ FILE",)),
)
def switch_off(desk: Desk) -> Part:
    source = desk.path("conf")
    keys, values = _settings(desk)
    at = desk.number(0, len(keys) - 1)
    rows = _rows(keys, values)
    after = [f"#{row}" if number == at else row for number, row in enumerate(rows)]
    return Part(
        fields={"source": source, "key": keys[at]},
        acts=(f"sed -i s/^{keys[at]}/#{keys[at]}/ {source}",),
        files={source: content(rows)},
        checks=(holds(source, after),),
        source=source,
        looks=reading(source),
        verifies=(f"grep {keys[at]} {source}", f"cat {source}"),
    )


@work(
    "variable",
    "Write the value of the variable {name} to {target}",
    "Put what the environment variable {name} holds into {target}",
    "The value of {name} in the environment belongs into {target}",
    "Save the environment variable {name} as {target}",
    "Which value has {name} in your environment? Note it in {target}",
    "{target} must hold the content of ${name}",
    page=Page("echo", "write a variable to a file", ("echo $NAME > OUT",)),
)
def variable(desk: Desk) -> Part:
    target = desk.target()
    name, value = desk.rng.choice(
        (("HOME", "/home/user"), ("USER", "user"), ("LANG", "C.UTF-8"), ("TERM", "dumb"))
    )
    return Part(
        fields={"name": name, "target": target},
        acts=(f"echo ${name} > {target}",),
        files={},
        checks=(holds(target, [value]),),
        made=(target,),
        looks=(f"echo ${name}",),
        verifies=(f"cat {target}",),
    )


ARCHETYPES = (set_key, add_key, get_key, switch_off, variable)
