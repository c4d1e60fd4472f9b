"""A kept row outlives neither its contents nor anything else that it was made from, and no state
of the disk makes a wrong row or an error."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sekft_engine.data.trajectory import Trajectory
from sekft_engine.render import ChatTokenizer, Dropped, Row, build_rows
from sekft_engine.render.bulk import cache as caching
from sekft_engine.render.bulk import row_files, rows
from sekft_engine.render.bulk.cache import cached_rows, rows_folder
from sekft_engine.render.rows import build as building
from sekft_engine.render.rows.audit import audit
from sekft_engine.render.template import tokenizer as tokenizing
from tests.render import templates
from tests.render.conftest import Base, MakeBase
from tests.render.sessions import PLAIN, session
from tests.render.speed.same import assert_all_same

MANY = [
    session("motd\n$", f"echo {number}", f"{number}\n$", "exit", name=f"s{number}")
    for number in range(40)
] + [session("$", "  ls", name="merged"), session("\ud83d", "ls", name="half")]


class Built(list[Trajectory]):
    """The trajectories that were not found."""


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Built:
    out = Built()
    build = building.build_here

    def counting(trajectories: Sequence[Trajectory], tokenizer: ChatTokenizer) -> object:
        def seen() -> Iterator[Trajectory]:
            for one in trajectories:
                out.append(one)
                yield one

        return build(seen(), tokenizer)

    monkeypatch.setattr(rows, "build_here", counting)
    return out


def get(
    tokenizer: ChatTokenizer, folder: Path, many: Sequence[Trajectory] = MANY, limit: int = 0
) -> list[Row | Dropped]:
    return list(cached_rows(many, tokenizer, folder=folder, max_length=limit))


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.rows"))


def test_the_second_time_nothing_is_built(smol: Base, tmp_path: Path, built: Built) -> None:
    first = get(smol.ours, tmp_path)
    assert len(built) == len(MANY)
    built.clear()
    assert_all_same(first, get(smol.ours, tmp_path))
    # What is refused before it is rendered is not worth keeping.
    assert [one.id for one in built] == ["half"]
    assert len(files(tmp_path)) == 1


def test_a_stale_row_is_never_used(
    smol: Base, bases: MakeBase, tmp_path: Path, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failure mode 21: template, tokenizer, normaliser, guard, packing, contents."""
    get(smol.ours, tmp_path)
    spec = smol.ours.spec | {"normalizer": {"type": "Lowercase"}}
    token = dict(smol.ours.spec["added_tokens"][5]) | {"content": "<file_separator>"}
    added = [*smol.ours.spec["added_tokens"][:5], token, *smol.ours.spec["added_tokens"][6:]]
    tokens = smol.ours.tokens
    source = smol.ours.template.source
    others = [
        smol.ours.with_template(source + " "),
        smol.ours.with_template(source.replace("named SmolLM", "named something else")),
        smol.ours.with_template(templates.CHATML),
        ChatTokenizer(spec, source, tokens),
        ChatTokenizer(smol.ours.spec | {"added_tokens": added}, source, tokens),
        ChatTokenizer(smol.ours.spec, source, tokens | {"bos_token": "<|endoftext|>"}),
        bases("v3").ours,
    ]
    for name in ("NORMALISER_VERSION", "GUARD_VERSION"):
        with monkeypatch.context() as patch:
            patch.setattr(tokenizing, name, "another")
            others.append(smol.ours.with_template(source))
    for other in others:
        built.clear()
        found = get(other, tmp_path)
        assert len(built) == len(MANY)
        assert all(
            row.render_digest == other.render_digest for row in found if isinstance(row, Row)
        )
        assert_all_same(build_rows(MANY, other), found)
    with monkeypatch.context() as patch:
        patch.setattr(caching, "PACK_VERSION", 10_000)
        built.clear()
        get(smol.ours, tmp_path)
        assert len(built) == len(MANY)
    built.clear()
    changed = [session("motd\n$", f"echo {n} ", f"{n}\n$", "exit", name=f"s{n}") for n in range(40)]
    assert_all_same(build_rows(changed, smol.ours), get(smol.ours, tmp_path, changed))
    assert len(built) == 2 * len(changed)
    built.clear()
    get(smol.ours, tmp_path)
    assert [one.id for one in built] == ["half"]


def test_contents_are_told_apart_where_they_join_to_the_same_text(
    smol: Base, tmp_path: Path
) -> None:
    twins = [session("a", "bc", "d", "exit"), session("a", "b", "cd", "exit")]
    for _ in range(2):
        assert_all_same(build_rows(twins, smol.ours), get(smol.ours, tmp_path, twins))


def test_one_row_serves_all_sessions_that_say_the_same(
    smol: Base, tmp_path: Path, built: Built
) -> None:
    get(smol.ours, tmp_path, [PLAIN])
    built.clear()
    other = Trajectory(id="another", turns=PLAIN.turns, archetype="net", meta={"clean": True})
    (row,) = get(smol.ours, tmp_path, [other])
    assert isinstance(row, Row)
    assert (row.id, row.archetype) == ("another", "net")
    assert not built


def test_the_limit_is_applied_to_what_is_found(smol: Base, tmp_path: Path, built: Built) -> None:
    (row,) = get(smol.ours, tmp_path, [PLAIN])
    assert isinstance(row, Row)
    built.clear()
    assert isinstance(get(smol.ours, tmp_path, [PLAIN], limit=len(row))[0], Row)
    (dropped,) = get(smol.ours, tmp_path, [PLAIN], limit=len(row) - 1)
    assert isinstance(dropped, Dropped)
    assert dropped.reason == "too_long"
    assert not built


def test_a_kept_row_passes_the_audit(smol: Base, tmp_path: Path) -> None:
    get(smol.ours, tmp_path)
    for row in get(smol.ours, tmp_path):
        if isinstance(row, Row):
            assert audit(row, smol.ours) == row.certificate


@pytest.mark.parametrize("start", range(7))
def test_damage_anywhere_makes_rows_be_built_anew(start: int, smol: Base, tmp_path: Path) -> None:
    """Each byte of the file in turn, by the seven ways to start."""
    few = MANY[:3]
    expected = get(smol.ours, tmp_path, few)
    (path,) = files(tmp_path)
    sound = path.read_bytes()
    for at in range(start, len(sound), 7):
        damaged = bytearray(sound)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        assert_all_same(expected, _read_only(smol.ours, tmp_path, few))
    for length in range(start, len(sound), 7):
        path.write_bytes(sound[:length])
        assert_all_same(expected, _read_only(smol.ours, tmp_path, few))


def _read_only(
    tokenizer: ChatTokenizer, folder: Path, many: Sequence[Trajectory]
) -> list[Row | Dropped]:
    """Rows through the cache, which is left as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_files.RowFiles, "flush", lambda self: None)
        return get(tokenizer, folder, many)


def test_what_is_no_cache_file_is_let_be(smol: Base, tmp_path: Path) -> None:
    expected = get(smol.ours, tmp_path)
    folder = files(tmp_path)[0].parent
    (folder / "empty.rows").write_bytes(b"")
    (folder / "other.rows").write_bytes(os.urandom(5000))
    (folder / "folder.rows").mkdir()
    (folder / "nowhere.rows").symlink_to("nowhere")
    (folder / "half.part").write_bytes(b"half")
    assert_all_same(expected, get(smol.ours, tmp_path))


def test_a_file_that_goes_away_while_it_is_used(smol: Base, tmp_path: Path) -> None:
    expected = get(smol.ours, tmp_path)
    found = cached_rows(MANY, smol.ours, folder=tmp_path)
    some = [next(found) for _ in range(3)]
    for path in files(tmp_path):
        path.unlink()
    assert_all_same(expected, [*some, *found])


def test_a_folder_that_cannot_be_made_is_no_cache(smol: Base, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    for folder in (file, file / "below", Path("/proc/nothing"), Path("/dev/null/x")):
        assert_all_same(build_rows(MANY, smol.ours), get(smol.ours, folder))
    assert file.read_text() == "not a folder"


def test_a_full_disk_is_no_cache(smol: Base, tmp_path: Path) -> None:
    """Not one byte more may be written: as ENOSPC, but for the number of the error."""
    expected = list(build_rows(MANY, smol.ours))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (0, 100, 4096):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            found = get(smol.ours, tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert_all_same(expected, found)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_two_at_once_and_one_that_was_killed(smol: Base, tmp_path: Path, built: Built) -> None:
    one = cached_rows(MANY[:30], smol.ours, folder=tmp_path)
    other = cached_rows(MANY[10:40], smol.ours, folder=tmp_path)
    both = [*zip(one, other, strict=True)]
    assert len(both) == 30
    assert len(files(tmp_path)) == 2
    built.clear()
    get(smol.ours, tmp_path, MANY[:40])
    assert not built


def test_rows_seen_one_by_one_do_not_fill_the_folder_with_files(
    smol: Base, tmp_path: Path, built: Built
) -> None:
    for one in MANY[:40]:
        get(smol.ours, tmp_path, [one])
    assert len(files(tmp_path)) <= 9
    built.clear()
    assert_all_same(build_rows(MANY[:40], smol.ours), get(smol.ours, tmp_path, MANY[:40]))
    assert len(built) == 40  # those of build_rows itself


def test_what_nobody_used_for_longest_goes_first(smol: Base, tmp_path: Path, built: Built) -> None:
    get(smol.ours, tmp_path, MANY[:10])
    (old,) = files(tmp_path)
    os.utime(old, (1, 1))
    other = smol.ours.with_template(templates.CHATML)
    limit = old.stat().st_size + 100
    list(cached_rows(MANY[:10], other, folder=tmp_path, limit=limit))
    assert len(files(tmp_path)) == 1
    assert not old.exists()
    built.clear()
    get(other, tmp_path, MANY[:10])
    assert not built


def test_where_rows_are_kept(monkeypatch: pytest.MonkeyPatch, smol: Base, tmp_path: Path) -> None:
    monkeypatch.setenv("SEKFT_ROWS", "off")
    assert rows_folder() is None
    assert_all_same(build_rows(MANY, smol.ours), cached_rows(MANY, smol.ours))
    monkeypatch.setenv("SEKFT_ROWS", str(tmp_path / "mine"))
    list(cached_rows(MANY, smol.ours))
    assert files(tmp_path / "mine")
    monkeypatch.delenv("SEKFT_ROWS")
    monkeypatch.setenv("SEKFT_CACHE", str(tmp_path))
    assert rows_folder() == tmp_path / "rows"
