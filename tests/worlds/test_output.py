"""What a world prints may be meant for the terminal that shows it. It shows; it does not act; and
what is stored is exactly what was printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sekft_engine.cli.main import run
from sekft_engine.core.text import acts, plain, quiet_json, visible
from sekft_engine.data.scenario import Announcement, Fixture, Scenario
from sekft_engine.episodes.store import read_episode
from tests.worlds.conftest import scenario

CLIPBOARD = "\x1b]52;c;cm0gLXJmIC8K\x07"
HOSTILE = (
    f"{CLIPBOARD}\x1b]0;your title\x1b\\\x1b[2J\x1b[10;10H\x1b[?1049hover\x08\x08you"
    "\u202egnissap\u2066\u200b\x9b31m\x85\x90q\x9c\x7f\r\x0e\u2028end"
)
#: What a terminal would obey, raw: everything but line breaks and tabs.
RAW = {c for c in map(chr, [*range(32), *range(127, 160)]) if c not in "\n\t"} | set(
    "\u202e\u2066\u200b\u2028"
)


def bundle(folder: Path, **changes: object) -> Scenario:
    one = scenario(
        **{
            "id": "hostile",
            "fixtures": (Fixture(path="trap", content=HOSTILE),),
            "reference_solution": ("cat trap", "touch done", "exit"),
        }
        | changes
    )
    folder.mkdir(exist_ok=True)
    (folder / "hostile.json").write_text(json.dumps(one.to_json()))
    return one


def acting(text: str) -> set[str]:
    return {character for character in text if character in RAW}


def test_a_rollout_is_shown_without_anything_that_acts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle(tmp_path / "b", announcement=Announcement(channel="motd", text=HOSTILE))
    assert run(["factory", "rollout", str(tmp_path / "b")]) == 0
    shown = capsys.readouterr()
    assert "]52;c;" in shown.out  # visible, so that one sees what was tried
    assert not acting(shown.out + shown.err)


def test_a_rollouts_json_holds_the_exact_output_and_nothing_raw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle(tmp_path / "b")
    assert run(["factory", "rollout", str(tmp_path / "b"), "--json"]) == 0
    out = capsys.readouterr().out
    assert not acting(out)
    [rollout] = json.loads(out)["rollouts"]
    assert rollout["transcript"][0]["output"] == HOSTILE


def test_names_and_reasons_from_bundles_do_not_act_either(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle(tmp_path / "b", id=f"evil{CLIPBOARD}", reference_solution=("true",))
    run(["factory", "rollout", str(tmp_path / "b")])
    run(["factory", "admit", str(tmp_path / "b")])
    run(["factory", "admit", str(tmp_path / f"nowhere{CLIPBOARD}")])
    shown = capsys.readouterr()
    assert "evil" in shown.out
    assert not acting(shown.out + shown.err)


def test_an_eval_shows_and_logs_nothing_that_acts_and_stores_what_was_printed(
    tmp_path: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle(
        tmp_path / "b",
        archetype=f"kind{CLIPBOARD}",
        announcement=Announcement(channel="motd", text=HOSTILE),
    )
    words = ["eval", "--base", str(tiny_base), "--scenarios", str(tmp_path / "b"), "-v"]
    limits = ["--n", "1", "--step-cap", "1", "--turn-tokens", "4", "--out", str(tmp_path / "run")]
    assert run([*words, *limits]) == 0
    shown = capsys.readouterr()
    assert not acting(shown.out + shown.err)
    journal = (tmp_path / "run" / "events.jsonl").read_text(encoding="utf-8")
    assert not acting(journal)
    [path] = (tmp_path / "run" / "episodes").glob("*.json")
    assert not acting(path.read_text(encoding="utf-8"))
    episode = read_episode(path).trajectory
    assert episode.turns[0].content == f"{HOSTILE}\nuser@box:~$"
    assert run(["runs", "show", str(tmp_path / "run")]) == 0
    assert not acting(capsys.readouterr().out)


def test_quiet_json_reads_back_the_same() -> None:
    everything = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x10000), 0x1F600, 0xE0041]))
    text = quiet_json(json.dumps([everything], ensure_ascii=False).encode())
    assert json.loads(text) == [everything]
    assert not acting(text.decode())
    assert not any(map(acts, text.decode()))
    assert quiet_json(b'{"a": 1}') == b'{"a": 1}'


def test_plain_keeps_lines_and_shows_the_rest() -> None:
    assert plain("one\ntwo\n") == "one\ntwo\n"
    assert not acting(plain(HOSTILE))
    assert visible("one\ntwo") == "one⏎two"
