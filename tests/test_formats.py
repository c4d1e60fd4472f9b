"""Trajectories and bundles: a tolerant reader, a strict writer, unknown fields kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekft_engine.core.errors import BadInput
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.trajectory import Trajectory

TURNS = [{"role": "user", "content": "user@box:~$"}, {"role": "assistant", "content": "exit"}]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def bundle(**changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "id": "s1",
        "archetype": "count",
        "provider": {"name": "quill", "path": "/usr/local/bin/quill", "script": "echo hi\n"},
        "announcement": {"channel": "motd", "text": "see quill --help"},
        "directives": "Count.",
        "fixtures": [{"path": "a.txt", "content": "x\n", "mode": "0600"}],
        "checker": "test -f b.txt",
        "reference_solution": ["touch b.txt", "exit"],
        "terminal": "exit",
    } | changes


@pytest.mark.parametrize("key", ["turns", "messages", "conversations"])
def test_turns_may_go_by_the_names_that_data_sets_use(key: str) -> None:
    read = Trajectory.from_json({"id": "a", key: TURNS}, "x.json")
    assert read.commands == ("exit",)
    assert read.steps == 1


def test_sharegpt_roles_are_understood() -> None:
    turns = [{"from": "human", "value": "$"}, {"from": "gpt", "value": "ls"}]
    assert Trajectory.from_json({"conversations": turns}, "x.json").commands == ("ls",)


def test_a_missing_clean_counts_as_false() -> None:
    assert not Trajectory.from_json({"turns": TURNS, "meta": None}, "x.json").clean
    assert not Trajectory.from_json({"turns": TURNS, "meta": {"clean": None}}, "x.json").clean
    assert Trajectory.from_json({"turns": TURNS, "meta": {"clean": True}}, "x.json").clean


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ([], "no session in the list"),
        (7, "must be a JSON object"),
        ({"id": "a"}, "no list of turns"),
        ({"turns": []}, "empty session"),
        ({"turns": [{"role": "wizard", "content": ""}]}, "unknown role 'wizard'"),
        ({"turns": [{"role": "user", "content": 5}]}, "content must be a string"),
        ({"turns": [7]}, "must be an object"),
        ({"turns": [{"role": "assistant", "content": "ls", "weight": 0.5}]}, "weight 0.5"),
        ({"turns": [{"role": "assistant", "content": "", "tool_calls": [{}]}]}, "tool_calls"),
    ],
)
def test_a_broken_trajectory_is_told_with_its_place(raw: object, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        Trajectory.from_json(raw, "data.jsonl:3")
    assert str(caught.value).startswith("data.jsonl:3")
    assert said in str(caught.value)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_unknown_fields_survive_a_round_trip(extra: dict[str, Any]) -> None:
    known = set(Trajectory.__struct_fields__) | {"turns", "messages", "conversations"}
    extra = {key: value for key, value in extra.items() if key not in known}
    written = Trajectory.from_json({"id": "a", "turns": TURNS, **extra}, "x").to_json()
    again = Trajectory.from_json(json.loads(json.dumps(written)), "x").to_json()
    assert again == written
    assert extra.items() <= written.items()


@given(json_values)
def test_readers_never_fail_but_by_a_told_error(raw: object) -> None:
    for reader in (Trajectory.from_json, Scenario.from_json):
        with pytest.raises(BadInput):
            reader({"turns": raw} if isinstance(raw, dict) else raw, "x.json")


def test_a_bundle_round_trips_with_its_unknown_fields() -> None:
    written = Scenario.from_json(bundle(author="me"), "s.json").to_json()
    assert written["author"] == "me"
    assert Scenario.from_json(written, "s.json").to_json() == written


def test_a_bundle_may_use_the_short_forms() -> None:
    read = Scenario.from_json(
        bundle(
            provider="#!/bin/sh\necho hi\n",
            announcement="see quill",
            fixtures={"a.txt": "x"},
            checker={"script": "true"},
            reference_solution="exit",
        ),
        "s.json",
    )
    assert read.provider.script.startswith("#!")
    assert read.announcement.text == "see quill"
    assert read.fixtures[0].path == "a.txt"
    assert read.reference_solution == ("exit",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": 7}, "unknown schema 7"),
        ({"terminal": "quit"}, "terminal"),
        ({"fixtures": [{"content": "x"}]}, "path"),
        ({"announcement": {"channel": "radio"}}, "radio"),
    ],
)
def test_a_broken_bundle_is_told_with_its_place(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=r"s\.json") as caught:
        Scenario.from_json(bundle(**changes), "s.json")
    assert said in str(caught.value)
