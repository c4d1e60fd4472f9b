"""`sekft mask`: sources, statistics, limits, and lists that need not fit into memory."""

from __future__ import annotations

import io
import json
import re
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from sekft_engine.cli.show.mask import print_listing, print_row
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.data.workspace import Workspace
from sekft_engine.render import Dropped, Row, build_row
from sekft_engine.render.rows import build
from sekft_engine.render.template.tokenizer import load_tokenizer
from sekft_engine.sources import load_hub
from sekft_engine.sources.read import hub
from tests.training.conftest import Sekft
from tests.training.sessions import session, write_sessions


@pytest.fixture
def sekft(tmp_path: Path, typed: Sekft, monkeypatch: pytest.MonkeyPatch) -> Sekft:
    """Type a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return typed


@pytest.fixture
def row(tiny_base: Path) -> Row:
    built = build_row(Trajectory.from_json(session(1), "here"), load_tokenizer(str(tiny_base)))
    assert isinstance(built, Row)
    return built


def write_lines(path: Path, raws: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(raw) + "\n" for raw in raws))
    return path


def test_every_kind_of_source_gives_the_same_masks(
    sekft: Sekft, tiny_base: Path, tmp_path: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    raws = [session(number) for number in range(6)]
    folder = write_sessions(tmp_path / "raw", 6)
    lines = write_lines(tmp_path / "curated.jsonl", raws)
    table = tmp_path / "table.parquet"
    pq.write_table(pa.Table.from_pylist(raws), table)
    found = []
    for data in (folder, lines, table):
        status, out, err = sekft("mask", "--data", str(data), "--base", str(tiny_base), "--json")
        assert (status, err) == (0, "")
        found.append(json.loads(out))
    assert len(found[0]["trajectories"]) == 6
    assert found[0] == found[1] == found[2]


def test_a_hub_data_set_is_named_as_in_train(
    sekft: Sekft, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def cached(name: str, _split: str = "train") -> tuple[Path, ...]:
        asked.append(name)
        return (write_lines(tmp_path / "cached.jsonl", [session(1)]),)

    monkeypatch.setattr(hub, "hub_files", cached)
    for words, name in (
        (("--hub", "owner/set"), "owner/set"),
        (("--hub",), "tiararodney/posix-sdc"),
    ):
        status, out, _ = sekft("mask", "--base", str(tiny_base), "--json", *words)
        assert (status, asked.pop()) == (0, name)
        assert [one["id"] for one in json.loads(out)["trajectories"]] == ["session-001"]


def test_it_shows_the_very_rows_that_training_takes(
    sekft: Sekft, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are kept are not made again: what is looked at is what is trained on."""
    monkeypatch.setenv("SEKFT_ROWS", str(tmp_path / "rows"))
    words = ("--data", str(write_sessions(tmp_path / "raw", 3)), "--base", str(tiny_base), "--json")
    made = sekft("mask", *words)
    assert sekft("train", "--inspect", *words)[0] == 0

    def again(*_: object) -> None:
        raise AssertionError("a row is made again")

    monkeypatch.setattr(build, "_render", again)
    assert sekft("mask", *words) == made
    assert len(json.loads(made[1])["trajectories"]) == 3


def test_what_is_published_is_taken_whole_as_in_train(
    sekft: Sekft, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A published file of one session is no raw recording, whatever its name ends in."""
    file = tmp_path / "one.json"
    file.write_text(json.dumps(session(1) | {"keep": False}))
    monkeypatch.setattr(hub, "hub_files", lambda *_: (file,))
    status, out, _ = sekft("mask", "--base", str(tiny_base), "--json", "--hub", "owner/set")
    shown = json.loads(out)
    assert (status, [one["id"] for one in shown["trajectories"]]) == (0, ["session-001"])
    assert shown["dropped"] == []
    assert len(load_hub("owner/set").trajectories) == 1


def test_one_trajectory_is_exported_as_a_page_or_a_picture(
    sekft: Sekft, tiny_base: Path, tmp_path: Path
) -> None:
    folder = write_sessions(tmp_path / "raw", 3)
    bad = session(1) | {"id": "bad", "keep": False}
    (folder / "bad.json").write_text(json.dumps(bad))
    words = ("mask", "--data", str(folder), "--base", str(tiny_base))
    for name, identity, holds in (
        ("one.html", "session-001", "wc"),
        ("one.svg", "session-001", "exit"),
        ("bad.html", "bad", "keep"),
    ):
        status, out, err = sekft(*words, "--id", identity, "--export", name)
        assert (status, out, err) == (0, f"{identity} -> {name}\n", "")
        written = (tmp_path / name).read_text()
        assert written.startswith("<")
        assert holds in written
        assert identity in written
    for more, said in (
        (("--export", "one.svg"), "name it with --id"),
        (("--id", "session-001", "--export", "one.png"), "name it .html or .svg"),
        (("--id", "session-001", "--export", "one.svg", "--view", "loss"), "no view 'loss'"),
        (("--id", "session-001", "--export", "no/such/one.svg"), "cannot be written"),
        (("--id", "session-001", "--export", "one.svg", "--json"), "--export goes with neither"),
        (("--id", "session-001", "--view", "ids"), "--view needs --export"),
    ):
        status, out, err = sekft(*words, *more)
        assert (status, bool(out)) == (2, "--json" in more)
        assert said in err


def test_a_workspace_names_its_own_data_and_base(
    sekft: Sekft, tiny_base: Path, tmp_path: Path
) -> None:
    place = Workspace(tmp_path / "workspace").create()
    write_sessions(place.trajectories, 3)
    (place.bases / "tiny").symlink_to(tiny_base)
    status, out, _ = sekft("mask", "--workspace", str(place.root), "--json")
    assert status == 0
    assert len(json.loads(out)["trajectories"]) == 3


def test_a_limit_shows_the_first_ones(sekft: Sekft, tiny_base: Path, tmp_path: Path) -> None:
    data = str(write_sessions(tmp_path / "raw", 6))
    words = ("mask", "--data", data, "--base", str(tiny_base), "--limit", "2")
    status, out, _ = sekft(*words)
    assert status == 0
    assert re.findall(r"^session-\d+", out, re.MULTILINE) == ["session-000", "session-001"]
    assert len(json.loads(sekft(*words, "--json")[1])["trajectories"]) == 2


def test_statistics_count_tokens_and_what_was_dropped(
    sekft: Sekft, tiny_base: Path, tmp_path: Path
) -> None:
    raws = [session(number) for number in range(6)]
    turns = raws[3]["turns"]
    assert isinstance(turns, list)
    turns[1]["content"] = "  melts into the header"
    folder = tmp_path / "raw"
    folder.mkdir()
    for number, raw in enumerate(raws):
        raw["keep"] = number != 5
        (folder / f"{number}.json").write_text(json.dumps(raw))
    words = ("mask", "--data", str(folder), "--base", str(tiny_base))
    masks = json.loads(sekft(*words, "--json")[1])
    status, out, _ = sekft(*words, "--stats", "--json")
    assert status == 0
    stats = json.loads(out)
    assert (stats["trajectories"], stats["kept"]) == (6, 4)
    assert stats["dropped"] == {"boundary_merge": 1, "not_kept": 1}
    assert stats["tokens"] == sum(len(one["ids"]) for one in masks["trajectories"])
    trained = sum(label >= 0 for one in masks["trajectories"] for label in one["labels"])
    assert stats["trained_tokens"] == trained
    status, out, _ = sekft(*words, "--stats")
    assert re.search(rf"^trained tokens +{trained}$", out, re.MULTILINE)
    assert re.search(r"^boundary_merge +1$", out, re.MULTILINE)
    status, out, _ = sekft(*words)
    summary = f"4 trajectories, {stats['tokens']} tokens, {trained} trained"
    assert summary in " ".join(out.split())
    assert "1 boundary_merge" in out


def test_the_certificate_is_readable(row: Row) -> None:
    out = io.StringIO()
    print_row(row, Console(file=out, width=80, no_color=True))
    lines = out.getvalue().splitlines()
    certificate = lines[lines.index("certificate") + 1 :]
    assert len(certificate) == len(row.certificate.lines) == 7
    assert all(re.match(r"  ✓ [a-z ]{18}\S.+", line) for line in certificate)
    failed = msgspec.structs.replace(row.certificate, decodes=False)
    print_row(msgspec.structs.replace(row, certificate=failed), Console(file=out, width=80))
    assert "✗ decodes" in out.getvalue()


def test_lines_are_printed_as_they_come(row: Row) -> None:
    out = io.StringIO()
    shown_before: list[int] = []

    def rows() -> Iterator[Row | Dropped]:
        for number in range(500):
            shown_before.append(out.getvalue().count("\n"))
            yield msgspec.structs.replace(row, id=f"session-{number:03d}")
            if number % 100 == 0:
                yield Dropped(f"bad-{number}", "too_long", "3000 tokens")

    print_listing(rows(), [], Console(file=out, width=80))
    assert shown_before[400] >= 400
    lines = out.getvalue().splitlines()
    columns = {line.rindex("ok") for line in lines if line.startswith("session-")}
    assert len(columns) == 1, "the columns stay where they are"
    assert [line for line in lines if line.startswith("  bad-")] == [
        f"  bad-{number}  too_long: 3000 tokens" for number in range(0, 500, 100)
    ]
    assert lines[-1].startswith("500 trajectories, ")
    assert lines[-1].endswith("; dropped: 5 too_long")


def test_a_long_list_is_not_kept_in_memory(row: Row) -> None:
    class Nowhere(io.StringIO):
        def write(self, text: str) -> int:
            return len(text)

    def rows() -> Iterator[Row | Dropped]:
        for number in range(12_000):
            if number % 2:
                yield msgspec.structs.replace(row, id=f"session-{number}")
            else:
                yield Dropped(f"session-{number}", "too_long", "word " * 100)

    tracemalloc.start()
    print_listing(rows(), [], Console(file=Nowhere(), width=80))
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert used < 2_000_000, "the lines of what was dropped alone are three megabytes"


def test_bad_usage_is_one_line_and_status_2(sekft: Sekft, tiny_base: Path, tmp_path: Path) -> None:
    twice = write_lines(tmp_path / "twice.jsonl", [session(1), session(2), session(1)])
    torn = tmp_path / "torn.jsonl"
    torn.write_text(json.dumps(session(1)) + '\n{"turns": [}\n')
    base = ("--base", str(tiny_base))
    bad: tuple[tuple[tuple[str, ...], str], ...] = (
        (base, "no trajectories named"),
        (("--data", "/no/such/data", *base), "/no/such/data: no such file or folder"),
        (("--data", str(twice)), "no base named"),
        (("--data", str(twice), "--strict", *base), "twice.jsonl:3"),
        (("--data", str(torn), "--strict", *base), "torn.jsonl:2: broken JSON"),
        (("--data", str(torn), "--hub", "x/y", *base), "use --data or --hub"),
        (("--data", str(twice), "--base", "/no/such/base"), "no such base"),
    )
    for number, (words, said) in enumerate(bad):
        for more in ((), ("--json",), ("--stats",)) if number in (3, 4) else ((),):
            status, out, err = sekft("mask", *words, *more)
            assert status == 2, words
            assert bool(out) == ("--json" in more), "stdout has the error's document, or nothing"
            assert err.count("\n") == 1
            assert said in err


def test_a_bad_line_is_listed_with_its_place_and_stops_nothing(
    sekft: Sekft, tiny_base: Path, tmp_path: Path
) -> None:
    file = tmp_path / "d.jsonl"
    file.write_text("".join(json.dumps(session(n)) + "\n" for n in (1, 2, 1)) + '{"turns": [}\n')
    status, out, err = sekft("mask", "--data", str(file), "--base", str(tiny_base))
    assert (status, err) == (0, "")
    assert "duplicate_id: " in out
    assert f"{file}:3: the id 'session-001' stands in {file}:1 already" in out
    assert f"d:4  broken_json: {file}:4: broken JSON" in out
    assert "dropped: 1 duplicate_id, 1 broken_json" in out.splitlines()[-1]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Four sessions: two archetypes, one over the limit of 400 tokens, one without a command."""
    raws: list[Any] = [
        session(n)
        | {"archetype": ("count", "tidy")[n % 2], "provider": "warden", "announcement": "motd"}
        for n in range(4)
    ]
    raws[1]["turns"][0]["content"] = "word and word\n" * 300
    raws[2]["turns"] = [{"role": "user", "content": "Nothing to do.\n$"}]
    return write_lines(tmp_path / "mixed.jsonl", raws)


@pytest.mark.parametrize(
    ("words", "rows", "dropped"),
    [
        (("--filter", "arch:count"), ["session-000"], ["session-002"]),
        (("--filter", "turns:1"), [], ["session-002"]),
        (("--filter", "dropped:no"), ["session-000", "session-003"], []),
        (("--filter", "dropped:no", "--limit", "1"), ["session-000"], []),
        (("--filter", "reason:too_long"), [], ["session-001"]),
        (("--filter", "tokens>400"), [], ["session-001"]),
        (("--filter", "tokens<400 arch:tidy"), ["session-003"], []),
        (("--search", "WORD and"), [], ["session-001"]),
        (("--search", "nothing to", "--filter", "-arch:tidy"), [], ["session-002"]),
        (("--search", "session-003"), ["session-003"], []),
    ],
)
def test_only_what_passes_a_filter_or_holds_a_text(
    sekft: Sekft,
    tiny_base: Path,
    mixed: Path,
    words: tuple[str, ...],
    rows: list[str],
    dropped: list[str],
) -> None:
    here = ("mask", "--data", str(mixed), "--base", str(tiny_base), "--max-length", "400")
    status, out, err = sekft(*here, *words, "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert [one["id"] for one in found["trajectories"]] == rows
    assert [one["id"] for one in found["dropped"]] == dropped


def test_each_mask_says_what_kind_of_session_it_is_and_which_line_failed(
    sekft: Sekft, tiny_base: Path, mixed: Path
) -> None:
    words = ("mask", "--data", str(mixed), "--base", str(tiny_base), "--max-length", "400")
    found = json.loads(sekft(*words, "--json")[1])
    one = found["trajectories"][0]
    assert list(one)[:2] == ["id", "archetype"]
    told = {name: one[name] for name in ("provider", "announcement", "outcome", "turns")}
    raw: Any = session(0)
    turns = len(raw["turns"])
    expected = {"provider": "warden", "announcement": "motd", "outcome": "exit", "turns": turns}
    assert told == expected
    assert {name: one[name] for name in ("keep", "clean", "verified")} == {
        "keep": raw["keep"], "clean": raw["meta"]["clean"], "verified": raw["verified"],
    }  # fmt: skip
    assert [(each["id"], each["archetype"], each["line"]) for each in found["dropped"]] == [
        ("session-001", "tidy", "within_limit"),
        ("session-002", "count", ""),
    ]


def test_a_filter_that_nothing_passes_or_that_is_wrong_is_told(
    sekft: Sekft, tiny_base: Path, mixed: Path
) -> None:
    words = ("mask", "--data", str(mixed), "--base", str(tiny_base))
    status, out, err = sekft(*words, "--filter", "outcome:cap")
    assert (status, err) == (0, "")
    assert out.startswith("nothing passes outcome:cap (4 in ")
    for more, said in (
        (("--filter", "archtype:x"), "no field 'archtype', but archetype"),
        (("--filter", "keep:maybe"), "keep is yes or no, not 'maybe'"),
        (("--filter", "keep:yes", "--id", "session-000"), "go with none of --id"),
        (("--search", "x", "--id", "session-000", "--export", "x.html"), "go with none of --id"),
    ):
        status, out, err = sekft(*words, *more)
        assert (status, out) == (2, "")
        assert said in err


def test_what_is_said_of_one_is_said_as_of_one(sekft: Sekft, tiny_base: Path, mixed: Path) -> None:
    words = ("mask", "--data", str(mixed), "--base", str(tiny_base), "--max-length", "400")
    status, out, _ = sekft(*words, "--id", "session-001")
    assert status == 0
    assert out.startswith("dropped: 1\n  session-001  too_long: ")
    out = sekft(*words, "--filter", "arch:tidy")[1]
    assert re.search(r"^1 trajectory, \d+ tokens, \d+ trained", out, re.MULTILINE)
    assert "\n\ndropped: 1\n" in out
