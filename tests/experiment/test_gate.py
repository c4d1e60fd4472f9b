"""A gate passes or fails by the bounds of intervals, so that few worlds do not pass by luck."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.experiment.conftest import Sekft


def test_it_passes_where_the_lower_bound_reaches_what_is_asked(
    controls: Path, sekft: Sekft
) -> None:
    # 6 of 6 is 100 %, and at least 61 % with 95 % confidence.
    asked = ["gate", str(controls), "--subject", "oracle"]
    assert sekft(*asked, "--min", "solved=.6", "--min", "clean=.6")[0] == 0
    status, out, _ = sekft(*asked, "--min", "solved=.7")
    assert status == 1
    assert "solved 6/6 [0.61, 1.00]" in out
    assert "the lower bound 0.610 is not at least 0.7, by 0.090" in out


def test_the_document_says_which_bound_is_missed_by_how_much(controls: Path, sekft: Sekft) -> None:
    status, out, _ = sekft(
        "gate", str(controls), "--subject", "always-panic", "--json",
        *("--min", "rightly_given_up=.2", "--max", "wrongly_given_up=.05"),
    )  # fmt: skip
    found = json.loads(out)
    assert status == 1
    assert found["passed"] is False
    right, wrong = found["bounds"]
    assert (right["count"], right["n"], right["short"]) == (2, 2, 0.0)
    assert (wrong["count"], wrong["n"], wrong["short"]) == (6, 6, 0.95)


def test_a_control_is_not_judged_unless_it_is_named(controls: Path, sekft: Sekft) -> None:
    status, _, err = sekft("gate", str(controls), "--min", "solved=.5")
    assert status == 2
    assert "nobody to judge" in err


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        (("--min", "sloved=.5"), "'sloved' is no measure"),
        (("--min", "solved=50"), "'50' is no rate"),
        (("--min", "solved"), "'' is no rate"),
        ((), "say what is asked for"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    controls: Path, sekft: Sekft, asked: tuple[str, ...], what: str
) -> None:
    status, _, err = sekft("gate", str(controls), "--subject", "oracle", *asked)
    assert status == 2
    assert what in err


@pytest.mark.parametrize(
    ("kind", "status", "result", "asked", "what"),
    [
        ("eval", "running", {}, (), "its rates are not final"),
        ("train", "done", {"steps": 3}, (), "a run of train has no rates"),
        (
            "experiment",
            "done",
            {"rows": [{"split": "seen", "kind": "adapter", "name": "adapter", "facts": {}}]},
            ("--split", "unseen"),
            "no such split: unseen (there are seen)",
        ),
    ],
)
def test_a_run_without_such_rates_is_refused(
    sekft: Sekft,
    tmp_path: Path,
    kind: str,
    status: str,
    result: dict[str, object],
    asked: tuple[str, ...],
    what: str,
) -> None:
    run = {"schema": 1, "id": f"001-{kind}", "kind": kind, "status": status, "created": ""}
    (tmp_path / "run.json").write_text(json.dumps(run | {"result": result}))
    status_of_command, _, err = sekft("gate", str(tmp_path), "--min", "solved=.5", *asked)
    assert status_of_command == 2
    assert what in err


def test_rates_of_no_episodes_pass_no_gate(sekft: Sekft, tmp_path: Path) -> None:
    run = {"schema": 1, "id": "001-eval", "kind": "eval", "status": "done", "created": ""}
    result = {"subjects": [{"name": "mine", "n": 0, "invalid": 4}]}
    (tmp_path / "run.json").write_text(json.dumps(run | {"result": result}))
    for bound in ("--min=clean=0", "--max=clean=1", "--min=solved=0"):
        status, out, _ = sekft("gate", str(tmp_path), bound)
        assert status == 1, bound
        assert "no episodes [0.00, 1.00]" in out
