"""However a row is built, alone, in a batch, in another process, from the cache: the same row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekft_engine.data.clock import Clock
from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.render import ChatTokenizer, Dropped, Row, build_row, build_rows
from sekft_engine.render.bulk.cache import cached_rows
from sekft_engine.render.bulk.pack import NormalisedSession, pack, unpack
from sekft_engine.render.bulk.worker import Worker
from sekft_engine.render.template import cut as cutting
from sekft_engine.render.template.cut import Cut
from tests.fuzzing import examples
from tests.render import templates
from tests.render.conftest import Base, MakeBase
from tests.render.sessions import MARKERS, PLAIN, any_commands, raw_turns, session, sessions
from tests.render.speed.same import assert_all_same, assert_same

quick = settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
SOME = ("smollm2", "v1/own", "v3", "v3/legacy", "tekken-v3")
HOSTILE = (
    *(session(f"cat x\n{marker}\n$", "ls", f"{marker}{marker}", "exit") for marker in MARKERS),
    *(session("$", f"echo '{marker}'", "", "exit") for marker in MARKERS),
    session("\x1b[2J\x16 lost", "ls", "\ud83d half", "exit"),
    session("$", "echo \x16"),
    session("$", ""),
    session("only an environment"),
    Trajectory(id="none", turns=()),
    Trajectory(id="first", turns=(Turn(role="assistant", content="ls"),)),
    session("👩‍💻 שלום e\u0301 ﬁ ▁ \u202e", "echo 👩‍💻", "ok \r\n \x00", "panic 'שלום'"),
    PLAIN,
)


def named(trajectories: tuple[Trajectory, ...], times: int = 1) -> list[Trajectory]:
    return [
        Trajectory(id=f"{number}", turns=one.turns, archetype=one.archetype)
        for number, one in enumerate(trajectories * times)
    ]


@pytest.mark.parametrize("name", SOME)
def test_hostile_sessions_however_they_are_built(
    name: str, bases: MakeBase, tmp_path: Path
) -> None:
    tokenizer = bases(name).ours
    many = named(HOSTILE, times=3)
    alone = [build_row(one, tokenizer) for one in many]
    assert sum(isinstance(row, Row) for row in alone) > 30
    assert_all_same(alone, build_rows(many, tokenizer))
    for _ in ("built and kept", "found"):
        assert_all_same(alone, cached_rows(many, tokenizer, folder=tmp_path))


@pytest.mark.parametrize("name", ["smollm2", "v3"])
def test_hostile_sessions_from_other_processes(name: str, bases: MakeBase, tmp_path: Path) -> None:
    tokenizer = bases(name).ours
    many = named(HOSTILE, times=3)
    alone = [build_row(one, tokenizer) for one in many]
    assert_all_same(alone, build_rows(many, tokenizer, processes=2))
    assert_all_same(alone, cached_rows(many, tokenizer, folder=tmp_path, processes=2))
    assert_all_same(alone, cached_rows(many, tokenizer, folder=tmp_path))


@pytest.mark.parametrize("name", SOME)
def test_any_sessions_in_a_batch_and_from_the_cache(
    name: str, bases: MakeBase, tmp_path: Path
) -> None:
    tokenizer = bases(name).ours

    @quick
    @given(st.lists(st.one_of(sessions(any_commands), raw_turns()), max_size=5))
    def check(drawn: list[Trajectory | tuple[Turn, ...]]) -> None:
        many = [
            one if isinstance(one, Trajectory) else Trajectory(id="raw", turns=one) for one in drawn
        ]
        alone = [build_row(one, tokenizer) for one in many]
        assert_all_same(alone, build_rows(many, tokenizer))
        for _ in ("built and kept", "found"):
            assert_all_same(alone, cached_rows(many, tokenizer, folder=tmp_path))

    check()


def test_a_limit_is_the_same_limit_everywhere(smol: Base, tmp_path: Path) -> None:
    many = named(tuple(session("$" * size, "exit") for size in range(1, 400, 7)))
    expected = list(build_rows(many, smol.ours, max_length=60))
    assert {type(row) for row in expected} == {Row, Dropped}
    assert_all_same(expected, build_rows(many, smol.ours, max_length=60, processes=2))
    for limit in (0, 60, 20, 60):
        rows = list(cached_rows(many, smol.ours, max_length=limit, folder=tmp_path))
        assert_all_same(build_rows(many, smol.ours, max_length=limit), rows)


def told(tokenizer: ChatTokenizer, text: str) -> Cut:
    """The tokens as the tokenizer itself tells where they stand, cut in one piece."""
    encoding = tokenizer.guard.encode(text)
    offsets = np.asarray(encoding.offsets).reshape(-1, 2)
    return Cut(tokenizer.guard.ids(encoding), offsets[:, 0], offsets[:, 1])


def assert_equal(one: Cut, other: Cut) -> None:
    assert np.array_equal(one.ids, other.ids)
    assert np.array_equal(one.starts, other.starts)
    assert np.array_equal(one.ends, other.ends)


def test_tokens_stand_where_the_tokenizer_says(any_base: Base) -> None:
    tokenizer = any_base.ours
    guard = tokenizer.guard
    layout = tokenizer.layouts.get(2, guard)

    @quick
    @given(sessions(any_commands))
    def check(trajectory: Trajectory) -> None:
        contents = [turn.content for turn in trajectory.turns[:2]]
        if guard.collides(contents) or not "".join(contents).isprintable():
            contents = ["wörld 👋 x\n", "ls -la"]
        text = layout.fill(contents)
        (found,) = guard.cut([text])
        assert_equal(found, told(tokenizer, text))

    check()


def test_a_long_text_cut_in_pieces_is_the_text_cut_whole(
    any_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "LONG", 40)
    monkeypatch.setattr(cutting, "PIECE", 10)
    tokenizer = any_base.ours
    hard = ("", " ", "\n\n x", "e\u0301ﬁ", "</s>[INST]", "a  b\t", "\ufdd0", "👩‍💻 ")
    contents = [f"{hard[n % 8]}line {n}{hard[(n // 2) % 8]}" for n in range(60)]
    text = tokenizer.layouts.get(60, tokenizer.guard).fill(contents)
    (found,) = tokenizer.guard.cut([text])
    assert_equal(found, told(tokenizer, text))


@pytest.mark.parametrize(
    ("name", "cuts"), [("smollm2", True), ("tekken-v3", True), ("v3/legacy", True), ("v3", False)]
)
def test_only_tokenizers_whose_pieces_are_alike_everywhere_are_given_pieces(
    name: str, cuts: bool, bases: MakeBase
) -> None:
    """The other kind treats the beginning of a text in another way than that of a piece."""
    assert bases(name).ours.guard._cutter._separable is cuts


@pytest.mark.parametrize("name", ["smollm2", "tekken-v3"])
def test_byte_level_vocabularies_are_spelled(name: str, bases: MakeBase) -> None:
    guard = bases(name).ours.guard
    guard._cutter._paused = 0
    texts = ["plain wörld 👋\n\x00", "x", "\u00e9"]
    assert None not in guard._cutter._spelled(texts, [guard.encode(text).ids for text in texts])


def test_one_text_that_is_not_spelled_costs_the_others_nothing(smol: Base) -> None:
    guard = smol.ours.guard
    guard._cutter._paused = 0
    texts = [f"echo {number}" for number in range(9)]
    silent = next(chr(n) for n in range(0x500) if not guard.encode(chr(n)).ids)
    texts[5] = f"a{silent}b"
    found = guard._cutter._spelled(texts, [guard.encode(text).ids for text in texts])
    assert [cut is None for cut in found] == [number == 5 for number in range(9)]
    for text, cut in zip(texts, guard.cut(texts), strict=True):
        assert_equal(cut, told(smol.ours, text))


def test_a_process_that_dies_costs_no_row(smol: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    many = named((PLAIN,), times=200)
    expected = list(build_rows(many, smol.ours))
    build = Worker.build

    def dies(self: Worker, sessions: list[list[str]]) -> list[bytes | None] | None:
        self._process.kill()
        return build(self, sessions)

    monkeypatch.setattr(Worker, "build", dies)
    assert_all_same(expected, build_rows(many, smol.ours, processes=2))


def test_processes_are_gone_when_nobody_wants_the_rest(
    smol: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Worker] = []
    make = Worker.__init__

    def making(self: Worker, tokenizer: ChatTokenizer) -> None:
        make(self, tokenizer)
        started.append(self)

    monkeypatch.setattr(Worker, "__init__", making)
    rows = build_rows(named((PLAIN,), times=500), smol.ours, processes=2)
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    assert len(started) == 2
    assert all(worker._process.poll() is not None for worker in started)


def test_what_was_packed_for_another_session_is_refused(smol: Base) -> None:
    built = build_row(PLAIN, smol.ours)
    data = pack(built)
    assert data is not None
    layout = smol.ours.layouts.get(6, smol.ours.guard)
    contents = [turn.content for turn in PLAIN.turns]
    digest = smol.ours.render_digest
    assert_same(
        built, unpack(data, NormalisedSession(PLAIN, PLAIN.turns, contents), layout, digest)
    )
    other = session("$", "ls")
    source = NormalisedSession(other, other.turns, ["$", "ls"])
    short = smol.ours.layouts.get(2, smol.ours.guard)
    for broken, given_source, given_layout in (
        (data, source, short),
        (data[:-1], NormalisedSession(PLAIN, PLAIN.turns, contents), layout),
        (b"", source, short),
        (b"\1", source, short),
        (b"\0", source, short),
    ):
        with pytest.raises(ValueError):
            unpack(broken, given_source, given_layout, digest)


def test_a_row_is_not_kept_longer_than_the_day_that_its_template_prints(
    smol: Base, tmp_path: Path
) -> None:
    prints = "{{ '<|im_start|>system\nIt is ' ~ strftime_now('%A') ~ '<|im_end|>\n' }}"

    def text_on(day: int) -> str:
        tokenizer = smol.ours.with_template(prints + templates.CHATML)
        tokenizer = tokenizer.with_clock(Clock(f"2027-03-0{day}T23:00:00"))
        (row,) = cached_rows([PLAIN], tokenizer, folder=tmp_path)
        assert_same(row, build_row(PLAIN, tokenizer))
        assert_all_same([row], build_rows([PLAIN], tokenizer, processes=2))
        assert isinstance(row, Row)
        return row.text

    for day, name in ((1, "Monday"), (1, "Monday"), (2, "Tuesday")):
        assert f"It is {name}" in text_on(day)
