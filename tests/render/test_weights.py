"""Commands that are context only: rendered and certified as all others, never trained."""

from __future__ import annotations

import io
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

from sekft_engine.cli.show.mask import print_row
from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.maskview.document import Document
from sekft_engine.maskview.facts import certificate
from sekft_engine.maskview.report import inspect_report, row_report
from sekft_engine.render import Dropped, Row, build_row, build_rows
from sekft_engine.render.bulk.cache import cached_rows, cached_sizes
from sekft_engine.render.rows.audit import audit
from sekft_engine.render.rows.row import RowSize
from sekft_engine.sources import load_trajectories, write_jsonl
from sekft_engine.training.trainer.data import train_row
from tests.render.conftest import Base


def session(*flags: bool, name: str = "s") -> Trajectory:
    """A command for each flag, which says whether it is trained."""
    turns = [Turn(role="user", content="motd\n$")]
    for number, train in enumerate(flags):
        turns += [
            Turn(role="assistant", content=f"cat {number}", train=train),
            Turn(role="user", content=f"{number}: no such file\n$"),
        ]
    return Trajectory(id=name, turns=tuple(turns))


def built(trajectory: Trajectory, base: Base) -> Row:
    row = build_row(trajectory, base.ours)
    assert isinstance(row, Row)
    return row


def test_only_the_other_commands_are_trained(smol: Base) -> None:
    mixed, plain = built(session(False, True, False), smol), built(session(True, True, True), smol)
    assert np.array_equal(mixed.ids, plain.ids)
    assert mixed.spans == plain.spans[1:2]
    assert mixed.untrained == (plain.spans[0], plain.spans[2])
    assert mixed.commands == plain.spans
    assert np.flatnonzero(mixed.trained).tolist() == list(
        range(mixed.spans[0].start, mixed.spans[0].end)
    )
    assert mixed.trained_tokens == mixed.spans[0].end - mixed.spans[0].start
    assert mixed.certificate.ok
    assert mixed.certificate.untrained_commands == 2
    assert audit(mixed, smol.ours) == mixed.certificate


def test_what_follows_the_last_trained_command_is_not_computed(smol: Base) -> None:
    row = built(session(True, False), smol)
    assert len(train_row(row)) == row.spans[0].end


def test_a_session_of_which_nothing_is_trained_is_dropped(smol: Base) -> None:
    row = build_row(session(False, False), smol.ours)
    assert isinstance(row, Dropped)
    assert row.reason == "nothing_trained"


def test_two_commands_that_are_one_turn_need_one_weight(smol: Base) -> None:
    first = Turn(role="user", content="$")
    commands = (Turn(role="assistant", content="ls", train=False), *session(True).turns[1:2])
    row = build_row(Trajectory(id="s", turns=(first, *commands)), smol.ours)
    assert isinstance(row, Dropped)
    assert (row.reason, "turn 2" in row.detail) == ("mixed_weights", True)
    both = tuple(msgspec.structs.replace(turn, train=False) for turn in commands)
    second = Turn(role="assistant", content="exit")
    row = built(Trajectory(id="s", turns=(first, *both, first, second)), smol)
    assert (len(row.spans), len(row.untrained)) == (1, 1)


def test_the_cache_and_other_processes_know_the_weights(smol: Base, tmp_path: Path) -> None:
    flags = [(True, True), (False, True), (True, False), (False, False), (True, True)]
    many = [session(*each, name=f"s{number}") for number, each in enumerate(flags)]
    expected = [build_row(each, smol.ours) for each in many]

    def told(rows: list[Row | Dropped]) -> list[object]:
        return [
            row.reason if isinstance(row, Dropped) else (row.spans, row.untrained, row.certificate)
            for row in rows
        ]

    sizes = [RowSize.of(row) if isinstance(row, Row) else row.reason for row in expected]
    for order in (many, many[::-1], many):
        found = {size.id: size for size in cached_sizes(order, smol.ours, folder=tmp_path)}
        assert [_size(found[each.id]) for each in many] == sizes
        rows = list(cached_rows(order, smol.ours, folder=tmp_path))
        assert told(sorted(rows, key=lambda row: row.id)) == told(expected)
    assert told(list(build_rows(many, smol.ours, processes=2))) == told(expected)


def _size(size: RowSize | Dropped) -> RowSize | str:
    return size.reason if isinstance(size, Dropped) else size


def test_the_views_say_which_commands_are_not_to_be_trained(smol: Base) -> None:
    row = built(session(False, True), smol)
    out = io.StringIO()
    print_row(row, Console(file=out, width=100, no_color=True))
    shown = out.getvalue()
    assert "⟪cat 0‹<|im_end|>›⟫" in shown
    assert "⟦cat 1‹<|im_end|>›⟧" in shown
    assert "⟪not to be trained⟫" in shown
    document = Document.from_row(row)
    assert document.turn_info(1).note == "not to be trained"
    assert document.turn_info(1).trained == 0
    (decodes,) = (each for each in certificate(document) if each.name == "decodes")
    assert "1 not to be trained" in decodes.counted
    assert row_report(row)["untrained"] == [[row.untrained[0].start, row.untrained[0].end]]
    assert row_report(row)["certificate"]["untrained_commands"] == 1


@pytest.mark.parametrize("flag", ['"train": false', '"weight": 0'])
def test_weights_are_read_counted_and_written(flag: str, smol: Base, tmp_path: Path) -> None:
    turns = json.dumps(session(True, True).to_json()["turns"])
    turns = turns.replace('"content": "cat 0"', f'"content": "cat 0", {flag}')
    file = tmp_path / "d.jsonl"
    file.write_text(f'{{"id": "s", "turns": {turns}}}\n')
    loaded = load_trajectories(file)
    assert loaded.notes == {}
    report = inspect_report(loaded, smol.ours)
    assert (report.kept, report.untrained_commands) == (1, 1)
    write_jsonl(tmp_path / "again.jsonl", loaded.trajectories)
    assert load_trajectories(tmp_path / "again.jsonl").trajectories == loaded.trajectories
