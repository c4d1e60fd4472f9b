"""Own keys: read from files, checked with file and line, used wherever keys are named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sekft_engine.data.workspace import Workspace
from sekft_tui.app import Workbench
from sekft_tui.input.actions import KEYS, VERBS, key_for, of, remap
from sekft_tui.input.key_page import page
from sekft_tui.input.keymap import FILE, as_toml, load_keymap, user_file
from sekft_tui.input.places import Place
from tests.tui.screen import until, until_shown
from tests.tui.scripted import ScriptedEngine, training

Make = Callable[[], Workbench]
DOCUMENTS = Path(__file__).parents[2] / "docs"


def written(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    path.write_text(text, encoding="utf-8")
    return path


def faults(tmp_path: Path, text: str) -> list[str]:
    return [str(fault) for fault in load_keymap(written(tmp_path, text)).faults]


# --- the language ---------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["trajectories", "train", "eval", "replay", "runs", "log"])
def test_a_key_of_the_language_means_the_same_in_every_pane(place: Place) -> None:
    actions = {
        "s": {"start"}, "x": {"stop"}, "p": {"pause"}, "u": {"resume"}, "f": {"filter"},
        "/": {"search"}, "n": {"match"}, "N": {"match"},
        "i": {"statistics", "figures", "difference"},
        "o": {"side", "recipe", "setup"}, "E": {"export"}, "w": {"beside"}, "P": {"pin"},
        "F": {"follow"}, ".": {"token", "step"}, ",": {"token", "step"},
        "v": {"view", "metric", "jump", "episodes", "level"},
        "]": {"marked", "mark", "differing", "marker"},
        "[": {"marked", "mark", "differing", "marker"},
    }  # fmt: skip
    assert set(actions) == set(VERBS)
    for key in of("global", place):
        for name in key.keys:
            if name in actions:
                assert key.action.partition("(")[0] in actions[name], key.id


def test_searching_is_there_in_every_pane_with_a_list() -> None:
    for place in ("trajectories", "eval", "replay", "runs", "log"):
        ids = {key.id: key.keys for key in KEYS if key.place == place}
        assert ids[f"{place}.search"] == ("/",)
        assert ids[f"{place}.match"] == ("n",)


# --- files ----------------------------------------------------------------------------------------


def test_a_key_is_changed_by_its_id_and_the_workspace_wins(tmp_path: Path) -> None:
    user = written(
        tmp_path / "user", '"train.start" = "ctrl+r"\n[motion]\ndown = ["j", "Ctrl+N"]\n'
    )
    place = written(tmp_path / "place", '# ours\n\n"train.start" = "f5"\n')
    found = load_keymap(user, place)
    assert not found.faults
    assert found.keys == {"train.start": ("f5",), "motion.down": ("j", "ctrl+n")}
    assert found.chosen["train.start"].where == f"{place}:3"
    assert found.chosen["motion.down"].where == f"{user}:3"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('"train.begin" = "b"', "1: 'train.begin' is no id of a key (sekft keys lists them)"),
        ('\n"train.start" = 7', "2: train.start: a key is wanted, or a list of keys"),
        ('"train.start" = []', "1: train.start: a key is wanted"),
        ('"train.start" = "alt+s"', "1: train.start: 'alt+s' is no key"),
        ('"train.start" = "shft+s"', "1: train.start: 'shft+s' is no key"),
        ('"train.start" = "ctrl+i"', "1: train.start: ctrl+i cannot be used: tab"),
        ('"train.start" = "\\u001b[A"', "1: train.start: '\\x1b[A' is no key"),
        ('"global.interrupt" = "f9"', "1: global.interrupt keeps ctrl+c"),
        ('"train.start" = \n', "1: not TOML"),
        ('"train.start" = "x"', "1: train.start: x is train.stop already"),
        ('\n\n[train]\nstart = "q"', "4: train.start: q is global.quit already"),
        ('"global.quit" = "s"', "1: global.quit: s is train.start already"),
        ('"live.zoom" = "j"', "1: live.zoom: j is motion.down already"),
        ('"motion.down" = "c"', "1: motion.down: c is train.checkpoint already"),
        ('"compare.curves" = "C"', "1: compare.curves: C is runs.compare already"),
        ('"rate.stop" = "ctrl+c"', "1: rate.stop: ctrl+c is global.interrupt already"),
        ('"box.close" = ["escape", "y"]', "1: box.close: y is global.copy already"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line_and_has_no_effect(
    tmp_path: Path, text: str, says: str
) -> None:
    (said,) = faults(tmp_path, text)
    assert said.startswith(f"{tmp_path / FILE}:{says}")
    assert not load_keymap(tmp_path / FILE).keys


def test_two_choices_in_conflict_name_each_other(tmp_path: Path) -> None:
    text = '"train.start" = "ctrl+r"\n"train.pause" = "ctrl+r"\n'
    (said,) = faults(tmp_path, text)
    path = tmp_path / FILE
    assert said.startswith(f"{path}:2: train.pause: ctrl+r is train.start already ({path}:1)")
    assert load_keymap(path).keys == {"train.start": ("ctrl+r",)}


def test_a_box_may_be_closed_by_the_key_that_opened_it(tmp_path: Path) -> None:
    assert not load_keymap(written(tmp_path, '"box.close" = ["escape", "Q"]\n')).faults


def test_two_keys_can_be_exchanged(tmp_path: Path) -> None:
    text = '"train.start" = "x"\n"train.stop" = "s"\n'
    found = load_keymap(written(tmp_path, text))
    assert not found.faults
    assert found.keys == {"train.start": ("x",), "train.stop": ("s",)}


def test_files_that_are_none_are_passed_over_or_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert load_keymap(tmp_path / "pipe", tmp_path / "nowhere", tmp_path) == ({}, ())
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "long").write_bytes(b"#" * 1_000_000)
    assert len(load_keymap(tmp_path / "bytes", tmp_path / "long").faults) == 2


def test_the_file_to_begin_with_is_valid_and_so_is_each_of_its_lines(tmp_path: Path) -> None:
    text = as_toml(KEYS)
    assert not load_keymap(written(tmp_path, text)).keys
    lines = [line.removeprefix("# ") for line in text.splitlines() if '" = ' in line]
    found = load_keymap(written(tmp_path, "\n".join(lines)))
    assert not found.faults
    assert found.keys == {key.id: key.keys for key in KEYS}


# --- in use ---------------------------------------------------------------------------------------


async def test_own_keys_do_what_they_say_and_are_shown_in_footer_help_and_advice(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace
) -> None:
    written(user_file().parent, '"train.start" = "ctrl+r"\n"global.quit" = ["@"]\n')
    written(workspace.root, '"train.stop" = "s"\n"global.help" = ["h"]\n')
    # h is train.cursor-back and others: the usual key stays, and that is said
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "@ quit", "? help")
        await pilot.press("e")
        await until_shown(pilot, "2: global.help: h is", "trajectories.turn-back", "the usual keys")
        await pilot.press("escape", "2")
        await until_shown(pilot, "^r starts a run with this recipe", "^r start")
        await pilot.press("s")
        assert not engine.jobs
        await pilot.press("ctrl+r")
        await until(pilot, lambda: engine.jobs, "started")
        engine.say(*training(steps=60, upto=2))
        await until_shown(pilot, "s stop")
        await pilot.press("?")
        await until_shown(pilot, "^r", "Start a run with this recipe")


def test_advice_names_the_key_that_was_chosen() -> None:
    assert key_for("global.queue") == "Q"
    remap({"global.queue": ("ctrl+g",)})
    assert key_for("global.queue") == "^g"


# --- the command and the page ---------------------------------------------------------------------


def sekft_keys(*arguments: str, folder: Path, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sekft_engine.cli.main", "keys", *arguments],
        cwd=folder, env=os.environ | {"XDG_CONFIG_HOME": str(home)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


def test_the_command_lists_the_keys_with_where_they_were_changed(tmp_path: Path) -> None:
    path = written(tmp_path, '"train.start" = "f5"\n"train.begin" = "b"\n')
    done = sekft_keys(folder=tmp_path, home=tmp_path / "none")
    assert done.returncode == 2
    assert "train.begin" in done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("train.start "))
    assert "F5" in line or "f5" in line
    assert f"{FILE}:1]" in line
    document = json.loads(sekft_keys("--json", folder=tmp_path, home=tmp_path / "none").stdout)
    start = next(key for key in document["keys"] if key["id"] == "train.start")
    assert start["keys"] == ["f5"]
    assert start["from"] == f"{path.name}:1"
    assert len(document["keys"]) == len(KEYS)
    assert document["faults"][0]["where"] == f"{path.name}:2"


def test_the_page_of_keys_is_that_of_the_table() -> None:
    assert (DOCUMENTS / "keys.md").read_text(encoding="utf-8") == page(), (
        "sekft keys --markdown > docs/keys.md"
    )
