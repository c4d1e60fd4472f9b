"""``sekft factory make``: same seed, same bytes; and training never sees the holdout."""

from __future__ import annotations

import errno
import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from sekft_engine.core.errors import BadInput, JobFailed, Unavailable
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.episodes.clean import is_prose
from sekft_engine.factory import FactoryReport, make, making
from sekft_engine.factory.archetypes import HELD_OUT, TRAINING
from sekft_engine.factory.compose import compose, specs
from sekft_engine.factory.words import for_holdout
from sekft_engine.sources import load_scenarios, load_trajectories

TRAIN, HOLDOUT = 36, 9


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One real run of the factory."""
    out = tmp_path_factory.mktemp("made")
    make(out, train=TRAIN, holdout=HOLDOUT, seed=3)
    return out


@pytest.fixture(scope="module")
def bundles() -> list[Scenario]:
    """Many bundles, not run."""
    return [compose(spec) for split in ("train", "holdout") for spec in specs(split, 288, 1)]


def trajectories(folder: Path) -> Iterator[Trajectory]:
    yield from load_trajectories(folder / "trajectories").trajectories


def test_it_writes_what_it_says(made: Path) -> None:
    assert len(load_scenarios(made / "scenarios/train")) == TRAIN
    assert len(load_scenarios(made / "scenarios/holdout")) == HOLDOUT
    loaded = load_trajectories(made / "trajectories")
    assert len(loaded.trajectories) == TRAIN
    assert not loaded.skipped
    assert {path.name for path in made.iterdir()} == {"scenarios", "trajectories"}


def test_the_same_seed_gives_the_same_bytes_however_many_workers(
    made: Path, tmp_path: Path
) -> None:
    make(tmp_path, train=TRAIN, holdout=HOLDOUT, seed=3, workers=5)
    assert tree(tmp_path) == tree(made)


def test_a_longer_run_begins_with_a_shorter_one_and_another_seed_differs(made: Path) -> None:
    longer = [compose(spec) for spec in specs("train", TRAIN * 2, 3)][:TRAIN]
    assert list(load_scenarios(made / "scenarios/train")) == longer
    other = [compose(spec) for spec in specs("train", TRAIN, 4)]
    assert not {each.directives for each in other} & {each.directives for each in longer}


def test_every_session_is_kept_and_ends_by_the_right_terminal(made: Path) -> None:
    terminals = {each.id: each.terminal for each in load_scenarios(made / "scenarios/train")}
    for trajectory in trajectories(made):
        assert trajectory.keep
        assert trajectory.verified
        assert trajectory.clean
        assert trajectory.outcome == terminals[trajectory.scenario]
        last = trajectory.commands[-1]
        assert last == "exit" if trajectory.outcome == "exit" else last.startswith("panic ")


def test_sessions_follow_the_routine(made: Path) -> None:
    """Announcement, the provider's own words, its directives, a look, the work, the end."""
    by_id = {each.id: each for each in load_scenarios(made / "scenarios/train")}
    for trajectory in trajectories(made):
        scenario = by_id[trajectory.scenario]
        name = scenario.provider.name
        said = [turn.content for turn in trajectory.turns if not turn.is_command]
        learn = next(n for n, c in enumerate(trajectory.commands) if name in c.split())
        assert any(name in text for text in said[: learn + 1]), "announced before it is used"
        fetch = learn + 1
        verb = trajectory.commands[fetch].removeprefix(f"{name} ")
        assert verb in said[fetch].split(), "the verb stands in the help"
        if scenario.terminal == "exit":
            if scenario.directives not in said[fetch + 1]:
                fetch += 1  # the first verb gave something else; the next one is in the help too
                verb = trajectory.commands[fetch].removeprefix(f"{name} ")
                assert verb in said[fetch - 1].split()
            assert scenario.directives in said[fetch + 1]
            assert trajectory.commands[fetch + 1].startswith("ls ")


def test_sessions_hold_no_times_and_nothing_of_this_machine(made: Path) -> None:
    for trajectory in trajectories(made):
        for turn in trajectory.turns:
            assert turn.t is None
            assert str(made) not in turn.content
            assert "\n" not in turn.content or not turn.is_command
            assert len(turn.content) < 700


def test_commands_are_never_prose(bundles: list[Scenario]) -> None:
    for bundle in bundles:
        for command in bundle.reference_solution:
            assert not is_prose(command, known={bundle.provider.name}), command


def test_training_never_shows_a_kind_or_a_name_of_the_holdout(bundles: list[Scenario]) -> None:
    assert len(TRAINING) >= 8
    assert len(HELD_OUT) >= 3
    assert not TRAINING.keys() & HELD_OUT.keys()
    for bundle in bundles:
        holdout = bundle.id.startswith("holdout")
        assert (bundle.archetype in HELD_OUT) == holdout
        assert for_holdout(bundle.provider.name) == holdout
        for fixture in bundle.fixtures:
            for part in fixture.path.strip("/").split("/"):
                assert for_holdout(part.split(".")[0]) == holdout, fixture.path
    trained = {
        command.split()[0]
        for bundle in bundles
        if bundle.id.startswith("train")
        for command in bundle.reference_solution
    }
    assert not {"chmod", "ln", "md5sum", "sha1sum", "sha256sum"} & trained


@pytest.mark.parametrize("count", [9, 16, 48, 160])
def test_every_prefix_is_balanced(count: int) -> None:
    chosen = specs("train", 240, 0)[:count]
    for field, kinds in (("archetype", len(TRAINING)), ("channel", 4), ("depth", 3)):
        seen = Counter(getattr(spec, field) for spec in chosen)
        assert max(seen.values()) - min([*seen.values(), *[0] * (kinds - len(seen))]) <= 1
    panics = sum(spec.terminal == "panic" for spec in chosen)
    assert 0.15 <= panics / count <= 0.3


def test_the_data_is_varied(bundles: list[Scenario]) -> None:
    train = [each for each in bundles if each.id.startswith("train")]
    assert len({each.provider.name for each in train}) > 0.8 * len(train)
    assert len({each.directives for each in train}) > 0.98 * len(train)
    assert {each.announcement.channel for each in train} == {"motd", "banner", "env", "file"}
    assert {each.doc_depth for each in train} == {"help", "man", "usage"}
    assert {each.difficulty for each in train} == {"1", "2", "3"}
    assert len({each.announcement.text.replace(each.provider.name, "") for each in train}) >= 20


def test_a_folder_that_holds_files_is_left_alone(made: Path) -> None:
    before = tree(made)
    with pytest.raises(BadInput, match="already holds files"):
        make(made, train=1, holdout=0, seed=0)
    assert tree(made) == before


def test_nothing_is_half_written_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.write_bytes
    written: list[Path] = []

    def fails(self: Path, data: bytes) -> int:
        written.append(self)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", fails)
    out = tmp_path / "out"
    with pytest.raises(Unavailable, match="disk is full"):
        make(out, train=4, holdout=1, seed=0)
    assert not [path for path in out.rglob("*") if path.is_file()]
    assert not list(out.rglob(".*"))


def test_a_bundle_that_fails_its_gate_stops_the_making(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = compose(specs("train", 1, 0)[0])
    monkeypatch.setattr(
        making, "compose", lambda _: msgspec.structs.replace(broken, checker="exit 0")
    )
    with pytest.raises(JobFailed, match="passes on the untouched world"):
        make(tmp_path / "out", train=1, holdout=0, seed=0)
    assert not (tmp_path / "out").exists()


def test_progress_and_counts_are_reported(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    report: FactoryReport = make(
        tmp_path, train=3, holdout=1, seed=0, progress=lambda *step: seen.append(step)
    )
    assert seen == [("scenarios", done, 4) for done in (1, 2, 3, 4)]
    assert sum(report.by_archetype.values()) == 4
    assert sum(report.by_terminal.values()) == 4


@pytest.mark.slow
def test_a_hundred_bundles_pass_their_gate(tmp_path: Path) -> None:
    report = make(tmp_path, train=100, holdout=24, seed=11)
    assert (report.train, report.holdout, report.trajectories) == (100, 24, 100)
