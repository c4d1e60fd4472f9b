"""The reference gate and the rollout, and their commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sekft_engine.cli.main import run
from sekft_engine.core.errors import BadInput
from sekft_engine.data.scenario import Scenario
from sekft_engine.factory import admit, rollout
from sekft_engine.factory.compose import compose
from sekft_engine.factory.splits import specs


@pytest.fixture
def good() -> Scenario:
    return next(
        bundle for bundle in map(compose, specs("train", 9, 5)) if bundle.terminal == "exit"
    )


def changed(bundle: Scenario, **changes: Any) -> Scenario:
    return msgspec.structs.replace(bundle, **changes)


def write(folder: Path, *bundles: Scenario) -> Path:
    folder.mkdir(exist_ok=True)
    for bundle in bundles:
        (folder / f"{bundle.id}.json").write_text(json.dumps(bundle.to_json()))
    return folder


def test_a_sound_bundle_is_admitted_with_its_session(good: Scenario) -> None:
    (admission,) = admit([good])
    assert admission.admitted
    assert admission.trajectory is not None
    assert admission.trajectory.keep


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"checker": "exit 0"}, "passes on the untouched world"),
        ({"checker": "exit 1"}, "the checker fails after the solution"),
        ({"terminal": "panic"}, "the solution ends by exit, not by panic"),
        ({"reference_solution": ("ls",)}, "the solution ends by cap, not by exit"),
        ({"reference_solution": ()}, "the solution ends by cap, not by exit"),
        ({"reference_solution": ("kill -9 $$",)}, "the solution ends by error, not by exit"),
    ],
)
def test_an_unsound_bundle_is_refused_with_the_reason(
    good: Scenario, changes: dict[str, Any], reason: str
) -> None:
    (admission,) = admit([changed(good, **{"mistakes": ()} | changes)])
    assert not admission.admitted
    assert reason in admission.reason


def test_panicking_is_no_way_around_the_work(good: Scenario) -> None:
    gave_up = changed(good, reference_solution=("panic too hard",), terminal="panic")
    (admission,) = admit([gave_up])
    assert not admission.admitted


def test_a_panic_bundle_does_not_pass_by_a_faked_result() -> None:
    blocked = next(
        bundle
        for bundle in map(compose, specs("train", 200, 5))
        if bundle.extra["obstacle"] == "missing" and "[ ! -e " in bundle.checker
    )
    assert admit([blocked])[0].admitted
    target = blocked.checker.split("[ ! -e ")[1].split(" ]")[0]
    folder = target.rpartition("/")[0] or "."
    faked = changed(
        blocked,
        reference_solution=(f"mkdir -p {folder}", f"echo 3 > {target}", "panic but look"),
    )
    assert not admit([faked])[0].admitted
    assert not admit([changed(blocked, reference_solution=("exit",), terminal="exit")])[0].admitted


def test_a_solution_with_prose_is_recorded_but_not_kept(good: Scenario) -> None:
    chatty = changed(
        good, reference_solution=("Sure, I will do that now.", *good.reference_solution)
    )
    trajectory, transcript = rollout(chatty)
    assert trajectory.verified
    assert not trajectory.clean
    assert not trajectory.keep
    assert transcript[0].status == 127


def test_admit_command(good: Scenario, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "b", good, changed(good, id="bad", checker="exit 0"))
    assert run(["factory", "admit", str(folder), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["admitted"] == [good.id]
    assert [each["scenario"] for each in document["refused"]] == ["bad"]
    (folder / "bad.json").unlink()
    assert run(["factory", "admit", str(folder)]) == 0
    assert "1 of 1 bundles admitted" in capsys.readouterr().out


def test_rollout_command(
    good: Scenario, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "b", good)
    assert run(["factory", "rollout", str(folder), "--json"]) == 0
    (only,) = json.loads(capsys.readouterr().out)["rollouts"]
    assert {key: only[key] for key in ("scenario", "outcome", "verified", "clean", "keep")} == {
        "scenario": good.id,
        "outcome": "exit",
        "verified": True,
        "clean": True,
        "keep": True,
    }
    assert [line["command"] for line in only["transcript"]] == list(good.reference_solution)
    assert set(only["transcript"][0]) == {"command", "output", "status", "seconds"}


def test_make_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["factory", "make", "--out", str(tmp_path / "o"), "--train", "2", "--holdout", "1"]
    assert run([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["train"], report["holdout"], report["trajectories"]) == (2, 1, 2)
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("sekft: error: ")
    assert "already holds files" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("verb", ["admit", "rollout"])
def test_a_broken_bundle_is_one_line_with_its_file(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.json").write_text('{"schema": 7}')
    assert run(["factory", verb, str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "x.json" in error
    assert "unknown schema 7" in error
    assert error.count("\n") == 1


def test_mistakes_of_a_bundle_are_recorded_and_not_trained(good: Scenario, tmp_path: Path) -> None:
    wrong = changed(good, reference_solution=("cat nowhere", *good.reference_solution))
    shifted = changed(wrong, mistakes=(0, *(number + 1 for number in good.mistakes)))
    trajectory, _ = rollout(shifted)
    assert trajectory.keep
    first = next(turn for turn in trajectory.turns if turn.is_command)
    assert (first.content, first.train) == ("cat nowhere", False)
    path = write(tmp_path / "b", shifted)
    assert Scenario.from_json(json.loads((path / f"{good.id}.json").read_text()), "x") == shifted


def test_a_bundle_without_mistakes_is_written_as_before(good: Scenario) -> None:
    assert "mistakes" not in changed(good, mistakes=()).to_json()


def test_a_mistake_that_is_no_command_is_refused(good: Scenario) -> None:
    with pytest.raises(BadInput, match="there is no command 99"):
        Scenario.from_json(changed(good, mistakes=(99,)).to_json(), "x.json")


def test_what_was_made_is_told_with_its_parts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["factory", "make", "--out", str(tmp_path / "made"), "--train", "2", "--holdout", "1"]
    assert run([*words, "--split", "seen=1"]) == 0
    out = capfd.readouterr().out
    assert f"2 training and 1 held-out scenarios in {tmp_path / 'made'}" in out
    assert f"2 recorded sessions in {tmp_path / 'made' / 'trajectories'}" in out
    for label in ("archetypes", "channels", "terminals", "obstacles"):
        assert f"\n{label}: " in out
    assert len(list((tmp_path / "made" / "scenarios" / "seen").iterdir())) == 1


@pytest.mark.parametrize("split", ["moon=3", "seen", "seen=-1", "seen=many"])
def test_a_split_that_is_none_is_refused_before_anything_is_made(
    split: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["factory", "make", "--out", str(tmp_path / "made"), "--split", split]) == 2
    assert f"{split!r} is not NAME=N with a name of " in capfd.readouterr().err
    assert not (tmp_path / "made").exists()
