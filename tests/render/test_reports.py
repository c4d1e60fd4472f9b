"""`sekft mask` and `sekft train --inspect`: the same facts on screen and as JSON, without torch."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from sekft_engine.cli.mask.command import command as mask
from sekft_engine.cli.show.mask import print_inspect, print_listing, print_row
from sekft_engine.core.errors import BadInput
from sekft_engine.core.text import visible
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.maskview.report import inspect_report, inspect_rows
from sekft_engine.sources import Dropped, load_trajectories, write_jsonl, write_trajectory
from tests.light import run_light
from tests.render.conftest import Base, MakeBase
from tests.render.sessions import PLAIN, session, turns
from tests.render.test_equals_transformers import row

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\u200b</s><|im_end|>\r\n\tx"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    kept: dict[str, Any] = {"keep": True, "outcome": "exit", "archetype": "disk"}
    for one in (
        Trajectory(id="one", turns=PLAIN.turns, **kept),
        Trajectory(id="two", turns=turns(HOSTILE, "cat <<E\nx\nE"), **kept | {"archetype": "mail"}),
        Trajectory(id="melts", turns=turns("$", "  ls"), **kept),
        Trajectory(id="long", turns=turns("word " * 3000, "exit"), **kept),
        Trajectory(id="bad", turns=turns("$", "exit")),
    ):
        write_trajectory(folder / f"{one.id}.json", one)
    return folder


def run(*arguments: object) -> str:
    done = CliRunner().invoke(mask, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_mask_json(data: Path, smollm2: Path, smol: Base) -> None:
    document = json.loads(run("--data", data, "--base", smollm2, "--json"))
    assert set(document) == {"trajectories", "dropped", "notes", "passed_over"}
    one, two = document["trajectories"]
    built = row(Trajectory(id="one", turns=PLAIN.turns), smol.ours)
    assert one["id"] == "one"
    assert one["ids"] == built.ids.tolist()
    assert one["labels"] == built.labels.tolist()
    assert one["spans"] == [[span.start, span.end] for span in built.spans]
    assert one["certificate"] == built.certificate.to_json()
    assert one["certificate"]["ok"] is True
    for found in (one, two):
        assert len(found["ids"]) == len(found["labels"])
        inside = {place for start, end in found["spans"] for place in range(start, end)}
        for place, (token, label) in enumerate(zip(found["ids"], found["labels"], strict=True)):
            assert label == (token if place in inside else -100)
    assert {item["id"]: item["reason"] for item in document["dropped"]} == {
        "bad": "not_kept",
        "melts": "boundary_merge",
        "long": "too_long",
    }
    assert all(item["detail"] for item in document["dropped"])


def test_mask_json_of_one_of_none_and_of_all(data: Path, smollm2: Path) -> None:
    base = ("--base", smollm2, "--json")
    one = json.loads(run("--data", data, "--id", "two", *base))
    assert [item["id"] for item in one["trajectories"]] == ["two"]
    assert one["dropped"] == []
    none = json.loads(run("--data", data, "--id", "melts", *base))
    assert none["trajectories"] == []
    assert [item["id"] for item in none["dropped"]] == ["melts"]
    every = json.loads(run("--data", data, "--all", "--max-length", "0", *base))
    assert sorted(item["id"] for item in every["trajectories"]) == ["bad", "long", "one", "two"]
    with pytest.raises(BadInput, match="no trajectory has the id 'three'"):
        CliRunner().invoke(
            mask, ["--data", str(data), "--base", str(smollm2), "--id", "three"],
            catch_exceptions=False,
        )  # fmt: skip


def test_the_mask_on_screen(data: Path, smollm2: Path) -> None:
    shown = run("--data", data, "--base", smollm2, "--id", "one")
    assert "┃ ⟦ls -la‹<|im_end|>›⟧" in shown
    assert "┃ ⟦exit‹<|im_end|>›⟧" in shown
    masked = [line for line in shown.splitlines() if "total 4" in line]
    assert masked == ["  total 4⏎"]
    assert "✓ additive" in shown
    listing = run("--data", data, "--base", smollm2)
    assert re.search(r"one +disk +6 +\d+ +\d+ +\d+% +ok", listing)
    assert "melts  boundary_merge:" in listing
    assert "bad  not_kept: keep is false" in listing
    assert "melts  boundary_merge:" in run("--data", data, "--base", smollm2, "--id", "melts")


def test_a_tokenizer_without_weights_is_enough(data: Path, bases: MakeBase) -> None:
    folder = bases("v3").folder
    assert not list(folder.glob("*.safetensors"))
    document = json.loads(run("--data", data, "--base", folder, "--json"))
    found = {one["id"]: one for one in document["trajectories"]}
    expected = row(Trajectory(id="one", turns=PLAIN.turns), bases("v3").ours)
    assert found["one"]["ids"] == expected.ids.tolist()
    assert found["one"]["certificate"]["ok"] is True


def test_trained_and_masked_differ_without_any_colour(smol: Base) -> None:
    out = io.StringIO()
    print_row(
        row(session("$", "cat <<E\nx\nE", "$", "exit"), smol.ours),
        Console(file=out, no_color=True, width=200),
    )
    lines = [line for line in out.getvalue().splitlines() if line.startswith("┃ ")][1:]
    assert lines == [
        "┃ ⟦cat <<E⏎",
        "┃ x⏎",
        "┃ E‹<|im_end|>›⟧⏎",
        "┃ ⟦exit‹<|im_end|>›⟧⏎",
    ]


def test_nothing_that_a_session_printed_reaches_the_terminal_raw(smol: Base) -> None:
    out = io.StringIO()
    console = Console(file=out, no_color=True, width=200)
    hostile = Trajectory(id=HOSTILE, archetype=HOSTILE, turns=turns(HOSTILE, f"echo '{HOSTILE}'"))
    print_row(row(hostile, smol.ours), console)
    print_listing([row(hostile, smol.ours)], [Dropped(HOSTILE, "r", HOSTILE)], console)
    shown = out.getvalue()
    for raw in "\x1b\x07\x9b\u202e\u200b\r\t":
        assert raw not in shown
    assert "␛[2J" in shown
    # A printed marker is text; only the template's own control tokens are set in ‹›.
    assert "</s><|im_end|>␍⏎" in shown
    assert shown.count("‹<|im_end|>›") == 3


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünï 👩‍💻", "plain ünï 👩‍💻"),
        ("a\nb\tc", "a⏎b⇥c"),
        ("\x00\x1b\x7f\x9b", "␀␛␡<9b>"),
        ("\ud83d\u2028\ue000\U000f0001", "<d83d><2028><e000><f0001>"),
        ("a\u3164b\ufe00c\U000e0101", "a<3164>b<fe00>c<e0101>"),
    ],
)
def test_control_characters_are_made_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_inspect_counts_everything(data: Path, smol: Base) -> None:
    report = inspect_report(load_trajectories(data), smol.ours, max_length=2048)
    one = row(Trajectory(id="one", turns=PLAIN.turns), smol.ours)
    two = row(Trajectory(id="two", turns=turns(HOSTILE, "cat <<E\nx\nE")), smol.ours)
    assert report.to_json() == {
        "trajectories": 5,
        "kept": 2,
        "dropped": {"boundary_merge": 1, "not_kept": 1, "too_long": 1},
        "tokens": len(one) + len(two),
        "trained_tokens": one.trained_tokens + two.trained_tokens,
        "length": {
            "min": min(len(one), len(two)),
            "median": min(len(one), len(two)),
            "p95": max(len(one), len(two)),
            "max": max(len(one), len(two)),
        },
        "by_archetype": {"disk": 1, "mail": 1},
        "untrained_commands": 0,
        "examples": report.examples,
        "notes": {},
        "passed_over": {},
        "remarks": (),
    }
    assert set(report.examples) == set(report.dropped)


def test_inspect_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(tmp_path / "none.jsonl", [])
    with pytest.raises(BadInput, match="no trajectories here"):
        load_trajectories(tmp_path)
    report = inspect_rows([])
    assert report.trajectories == report.length.max == 0
    assert report.trained_share == 0.0
    print_inspect(report)
    assert "trained share" in capsys.readouterr().out


def test_the_inspect_table(data: Path, smol: Base) -> None:
    out = io.StringIO()
    report = inspect_report(load_trajectories(data), smol.ours, max_length=2048)
    print_inspect(report, Console(file=out, width=80, no_color=True))
    shown = out.getvalue()
    assert re.search(r"^kept +2$", shown, re.MULTILINE)
    assert re.search(r"^trained share +\d+\.\d%$", shown, re.MULTILINE)
    assert re.search(r"^disk +1$", shown, re.MULTILINE)
    assert re.search(r"^too_long +1$", shown, re.MULTILINE)


@pytest.mark.parametrize(
    "words",
    [
        ["mask", "--json"],
        ["mask", "--id=one"],
        ["train", "--inspect"],
        ["train", "--inspect", "--json"],
    ],
    ids=" ".join,
)
def test_masks_and_statistics_need_neither_torch_nor_transformers(
    words: list[str], data: Path, smollm2: Path
) -> None:
    done = run_light(*words, "--data", data, "--base", smollm2)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout
    if "--json" in words:
        json.loads(done.stdout)


@pytest.mark.parametrize(
    ("data_bytes", "says"),
    [
        (b'{"id": "a"\n', "d.jsonl:1: broken JSON"),
        (b'{"turns": []}\n', "d.jsonl:1: empty session"),
        (b'{"turns": [{"role": "root", "content": ""}]}\n', "d.jsonl:1: turn 1: unknown role"),
        (b"\xff\n", "d.jsonl:1: not UTF-8"),
    ],
)
def test_bad_input_is_one_line_on_stderr_and_exit_status_2(
    data_bytes: bytes, says: str, tmp_path: Path, smollm2: Path
) -> None:
    (tmp_path / "d.jsonl").write_bytes(data_bytes)
    code = "import sys\nfrom sekft_engine.cli.main import run\nsys.exit(run(sys.argv[1:]))\n"
    done = subprocess.run(
        [sys.executable, "-c", code, "mask", "--data", tmp_path, "--base", smollm2, "--json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "d.jsonl:1" in json.loads(done.stdout)["error"]["where"]
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
