"""`sekft mask --loss`: what the adapter did to each trained token, on screen and as JSON."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sekft_engine.data.recipe import Recipe
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.run_job import run_job
from sekft_engine.records import jobs
from sekft_engine.records.runs import TOKEN_LOSSES
from sekft_engine.training.token_losses.losses import read_token_losses
from tests.light import run_light
from tests.training.conftest import RECIPE, Sekft
from tests.training.sessions import session, write_sessions

TRAIN: Recipe = msgspec.structs.replace(RECIPE, epochs=6, token_losses=6)
HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202e</s>"


@pytest.fixture(scope="module")
def made(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one run, of data that is partly hostile."""
    place = Workspace(tmp_path_factory.mktemp("losses") / "workspace").create()
    write_sessions(place.trajectories, 16)
    raw = session(99) | {"id": f"hostile-{HOSTILE}"}
    turns = raw["turns"]
    assert isinstance(turns, list)
    turns[0]["content"] += HOSTILE
    turns[1]["content"] += f" '{HOSTILE}'"
    (place.trajectories / "hostile.json").write_text(json.dumps(raw))
    job = jobs.Train(base=str(tiny_base), data=str(place.trajectories), recipe=TRAIN, name="first")
    run_job(job, place)
    return place.root


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Path:
    """A private copy of it."""
    return Path(shutil.copytree(made, tmp_path / "workspace"))


@pytest.fixture
def sekft(made: Path, typed: Sekft, monkeypatch: pytest.MonkeyPatch) -> Sekft:
    """Type a command in the workspace's folder."""
    monkeypatch.chdir(made)
    return typed


def document(sekft: Sekft, *words: str) -> Any:
    status, out, err = sekft("mask", "--loss", *words, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_the_numbers_are_the_ones_on_disk(sekft: Sekft, made: Path, tiny_base: Path) -> None:
    found = document(sekft, "001")
    losses = read_token_losses(made / "runs" / "001-train-first")
    assert found["run"] == "001-train-first"
    assert found["adapter_sha256"] == losses.adapter
    assert (len(found["trajectories"]), found["unshown"]) == (6, [])
    assert [one["part"] for one in found["trajectories"]] == ["heldout"] * 3 + ["train"] * 3
    masks = {
        one["id"]: one
        for one in json.loads(sekft("mask", "--base", str(tiny_base), "--json")[1])["trajectories"]
    }
    for one in found["trajectories"]:
        kept, mask = losses[one["id"]], masks[one["id"]]
        assert [token["position"] for token in one["tokens"]] == kept.positions
        assert [token["before"] for token in one["tokens"]] == kept.before
        assert [token["after"] for token in one["tokens"]] == kept.after
        assert one["after"] == pytest.approx(kept.mean_after, abs=1e-5)
        for token in one["tokens"]:
            assert mask["labels"][token["position"]] == token["id"]
        assert one["render"] == mask["render"]
        assert [turn["span"] for turn in one["turns"]] == mask["spans"]
        typed = "".join(token["text"] for token in one["tokens"] if token["turn"] == 1)
        assert " --help" in typed
        assert typed.endswith("<|im_end|>")
    tokens = [token for one in found["trajectories"] for token in one["tokens"]]
    summary = found["summary"]
    assert (summary["trajectories"], summary["tokens"]) == (6, len(tokens))
    assert summary["after"] == pytest.approx(
        sum(token["after"] for token in tokens) / len(tokens), abs=1e-4
    )
    assert sum(place["tokens"] for place in summary["places"].values()) == len(tokens)
    assert summary["places"]["end"]["tokens"] == 18
    assert set(summary["parts"]) == {"heldout", "train"}


def test_the_run_may_be_named_by_its_folder_or_by_its_adapters(sekft: Sekft) -> None:
    wanted = document(sekft, "001")
    for spec in ("001-train-first", "runs/001-train-first", "runs/001-train-first/adapter"):
        assert document(sekft, spec) == wanted


def test_the_listing_shows_each_command_and_the_tokens_that_say_most(sekft: Sekft) -> None:
    status, out, err = sekft("mask", "--loss", "001")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert all(len(line) <= 80 for line in lines), "it fits a terminal of 80 columns"
    assert re.search(
        r"^session-\d+  held out, \d+ trained tokens +\d+\.\d\d → +\d+\.\d\d$", out, re.MULTILINE
    )
    assert len([line for line in lines if re.search(r"^  turn [135] .*→", line)]) == 18
    assert re.search(r"^  turn 5   exit‹<\|im_end\|>› +1\d\.\d\d → +\d+\.\d\d$", out, re.MULTILINE)
    assert re.search(r"^  learnt +\S.* \d+\.\d→\d+\.\d @\d", out, re.MULTILINE)
    assert re.search(r"^3 held out +\d+ +\d+\.\d{3} +\d+\.\d{3} +\S+% +\S+%$", out, re.MULTILINE)
    assert re.search(r"^  end of turn +18 ", out, re.MULTILINE)
    status, out, _ = sekft("mask", "--loss", "001", "--limit", "2")
    assert len(re.findall(r"trained tokens", out)) == 2


def test_one_trajectory_is_shown_token_by_token(sekft: Sekft) -> None:
    one = document(sekft, "001")["trajectories"][0]
    status, out, _ = sekft("mask", "--loss", "001", "--id", one["id"])
    assert status == 0
    base = re.findall(r"^  base (.*)$", out, re.MULTILINE)
    adapter = re.findall(r"^  adapter (.*)$", out, re.MULTILINE)
    for shown, name in ((base, "before"), (adapter, "after")):
        numbers = [float(number) for line in shown for number in line.split()]
        assert numbers == pytest.approx([token[name] for token in one["tokens"]], abs=0.006)
    assert "␣--" in out, "spaces can be seen"
    assert "user@box:~$" in out, "what the environment had said stands by"
    assert max(map(len, out.splitlines())) <= 80


def test_one_trajectory_is_exported_with_its_losses(
    sekft: Sekft, workspace: Path, tmp_path: Path
) -> None:
    here = ("mask", "--workspace", str(workspace), "--loss", "001")
    name = next(iter(read_token_losses(workspace / "runs" / "001-train-first")))
    for file in ("one.html", "one.svg"):
        target = tmp_path / file
        assert sekft(*here, "--id", name, "--export", str(target))[0] == 0
        assert name in target.read_text()
    mask = tmp_path / "context.html"
    assert sekft(*here, "--id", name, "--export", str(mask), "--view", "context")[0] == 0
    assert mask.read_text() != (tmp_path / "one.html").read_text()
    status, _, err = sekft(*here, "--export", str(mask))
    assert status == 2
    assert "name it with --id" in err


def test_nothing_that_a_session_printed_reaches_the_terminal_raw(
    sekft: Sekft, workspace: Path
) -> None:
    name = f"hostile-{HOSTILE}"
    here = ("--workspace", str(workspace), "--loss", "001")
    assert sekft("mask", *here, "--id", name, "--measure")[0] == 0
    for words in ((), ("--id", name)):
        status, out, err = sekft("mask", *here, *words)
        assert status == 0
        assert "hostile-␛[2J␛]0;owned␇" in out
        for raw in "\x1b\x07\u202e":
            assert raw not in out + err
    found = json.loads(sekft("mask", *here, "--id", name, "--json")[1])
    assert found["trajectories"][0]["id"] == name


def test_what_is_not_measured_says_how_and_measuring_keeps_it(
    sekft: Sekft, workspace: Path
) -> None:
    run = workspace / "runs" / "001-train-first"
    here = ("mask", "--workspace", str(workspace), "--loss", "001")
    name = next(n for i in range(16) if (n := f"session-{i:03d}") not in read_token_losses(run))
    status, out, err = sekft(*here, "--id", name)
    assert (status, out) == (2, "")
    assert f"sekft mask --loss {run} --id {name} --measure" in err
    status, out, err = sekft(*here, "--id", name, "--measure", "--json")
    assert status == 0
    [one] = json.loads(out)["trajectories"]
    assert one["id"] == name
    assert one["after"] < one["before"]
    assert json.loads(sekft(*here, "--id", name, "--json")[1])["trajectories"] == [one]
    (run / TOKEN_LOSSES).unlink()
    status, _, err = sekft(*here)
    assert (status, err.count("\n")) == (2, 1)
    assert "001-train-first: no token losses were measured" in err
    status, out, _ = sekft(*here, "--measure", "--limit", "2", "--json")
    assert [one["part"] for one in json.loads(out)["trajectories"]] == ["heldout", "train"]


def test_losses_are_not_shown_on_other_text(sekft: Sekft, workspace: Path) -> None:
    here: tuple[str, ...] = ("mask", "--workspace", str(workspace), "--loss", "001")
    losses = read_token_losses(workspace / "runs" / "001-train-first")
    changed, gone, *_ = losses
    data = workspace / "trajectories"
    path = data / f"{changed}.json"
    path.write_text(path.read_text().replace("--help", "--hello"))
    (data / f"{gone}.json").unlink()
    here = (*here, "--data", str(data))
    status, out, err = sekft(*here, "--id", changed)
    assert (status, out) == (2, "")
    assert f"{changed}: its losses were measured on other text than it has now" in err
    assert "--measure" in err
    assert "no trajectory has the id" in sekft(*here, "--id", gone)[2]
    found = json.loads(sekft(*here, "--json")[1])
    assert len(found["trajectories"]) == 4
    assert {one["id"]: one["reason"] for one in found["unshown"]} == {
        changed: "its losses were measured on other text than it has now",
        gone: f"no trajectory has the id {gone!r}",
    }
    shown = sekft(*here)[1]
    assert f"not shown: {changed}: its losses were measured on other text" in shown
    # Where nothing is left to show, it is an error.
    write_sessions(workspace / "others", 1, seed=7)
    status, _, err = sekft(*here[:-1], str(workspace / "others"))
    assert (status, err.count("\n")) == (2, 1)


def test_another_tokenizer_is_told_from_other_text(
    sekft: Sekft, workspace: Path, tiny_base_copy: Path
) -> None:
    template = tiny_base_copy / "chat_template.jinja"
    template.write_text(template.read_text() + "{# another #}")
    here = ("mask", "--workspace", str(workspace), "--loss", "001", "--base", str(tiny_base_copy))
    status, _, err = sekft(*here)
    assert (status, err.count("\n")) == (2, 1)
    assert "measured with another tokenizer, template or normaliser" in err


def test_bad_usage_is_one_line_and_status_2(sekft: Sekft, workspace: Path) -> None:
    bad: tuple[tuple[tuple[str, ...], str], ...] = (
        (("--loss", "007"), "no such run"),
        (("--loss", str(workspace)), "no such run"),
        (("--loss", "001", "--data", "/no/such/data"), "no such file or folder"),
        (("--loss", "001", "--data", "x", "--hub", "y"), "both a path and a Hub data set"),
        (("--loss", "001", "--base", "/no/such/base"), "no such base"),
        (("--loss", "001", "--measure", "--id", "nobody"), "no trajectory has the id 'nobody'"),
    )
    for words, said in bad:
        status, out, err = sekft("mask", *words)
        assert (status, out) == (2, ""), words
        assert err.count("\n") == 1
        assert said in err
    wrong: tuple[tuple[tuple[str, ...], str], ...] = (
        (("--measure",), "--measure needs --loss"),
        (("--loss", "001", "--stats"), "--loss goes with neither"),
    )
    for words, said in wrong:
        status, out, err = sekft("mask", *words)
        assert (status, out) == (2, "")
        assert said in err


def test_looking_at_losses_needs_no_torch(made: Path) -> None:
    for words in (["--json"], []):
        done = run_light("mask", "--workspace", made, "--loss", "001", *words)
        assert (done.returncode, done.stderr) == (0, "")
