"""Bundles are read with the same care as trajectories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.core.errors import BadInput
from sekft_engine.episodes.store import find_scenario
from sekft_engine.sources import load_scenarios, survey_scenarios
from tests.sources.conftest import lines, raw


def bundle(name: str = "s1", **fields: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "id": name,
        "archetype": "disk",
        "provider": {"name": "desk"},
        "announcement": {"channel": "motd", "text": "see desk"},
        "checker": "true",
        "reference_solution": ["desk", "exit"],
        "terminal": "exit",
    } | fields


def test_a_folder_and_a_single_bundle(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.json").write_text(json.dumps(bundle(name)))
    assert [one.id for one in load_scenarios(tmp_path)] == ["a", "b"]
    (only,) = load_scenarios(tmp_path / "b.json")
    assert only.reference_solution == ("desk", "exit")
    (tmp_path / "c.jsonl").write_bytes(lines(bundle("c"), bundle("d")))
    assert [one.id for one in load_scenarios(tmp_path)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (json.dumps(bundle(schema=9)).encode(), "s.json: unknown schema 9"),
        (b"{", "s.json:1: broken JSON"),
        (b"[]", "s.json: a scenario bundle must be a JSON object"),
        (b"\xff", "s.json:1: not UTF-8"),
        (json.dumps(bundle(terminal="stop")).encode(), "s.json: broken bundle"),
        (json.dumps(raw()).encode(), "s.json: a trajectory where a scenario bundle belongs"),
    ],
)
def test_a_broken_bundle_is_told(data: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_bytes(data)
    with pytest.raises(BadInput) as caught:
        load_scenarios(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/{says}")
    assert caught.value.mend, "the way out is missing"
    assert "\n" not in str(caught.value)


def test_two_bundles_of_one_id(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(bundle("same")))
    with pytest.raises(BadInput, match=r"b\.json: the id 'same' stands in .*a\.json already"):
        load_scenarios(tmp_path)


def test_what_is_broken_hides_only_itself_from_who_looks_for_one(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.jsonl").write_bytes(lines(bundle("b"), bundle("x", schema=9), bundle("b")))
    (tmp_path / "c.json").write_text(json.dumps(bundle("c")))
    found = survey_scenarios(tmp_path)
    assert [one.id for one in found.scenarios] == ["b", "c"]
    assert [error.where for error in found.broken] == [
        f"{tmp_path}/a.json:1", f"{tmp_path}/b.jsonl:2", f"{tmp_path}/b.jsonl:3",
    ]  # fmt: skip
    assert all(error.mend for error in found.broken)
    assert find_scenario("c", [str(tmp_path)], None).id == "c"
    with pytest.raises(BadInput, match=r"3 bundles there cannot be read, as .*a\.json:1"):
        find_scenario("x", [str(tmp_path)], None)
