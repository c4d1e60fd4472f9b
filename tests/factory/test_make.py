"""``sekft factory make``: same seed, same bytes; and training never sees the holdout."""

from __future__ import annotations

import errno
import hashlib
import itertools
import re
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
from sekft_engine.factory.archetypes import CORE, HELD_OUT, TRAINING, VALIDATION
from sekft_engine.factory.compose import compose
from sekft_engine.factory.splits import SPLITS, TWISTS, Split, pair_share, share_of_split, specs
from sekft_engine.factory.words import DOMAINS, WORDS, share_of
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
    """Many bundles of all splits, not run."""
    return [compose(spec) for split in SPLITS for spec in specs(split, 300, 1)]


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
    """Announcement, the provider's own words, its directives, the work, the end."""
    by_id = {each.id: each for each in load_scenarios(made / "scenarios/train")}
    for trajectory in trajectories(made):
        scenario = by_id[trajectory.scenario]
        name = scenario.provider.name
        said = [turn.content for turn in trajectory.turns if not turn.is_command]
        learn = next(n for n, c in enumerate(trajectory.commands) if name in c.split())
        assert any(name in text for text in said[: learn + 1]), "announced before it is used"
        if scenario.extra["obstacle"] != "sealed":
            assert any(scenario.directives in text for text in said)
        fetches = [c for c in trajectory.commands if re.fullmatch(rf"{name} (--)?[a-z]+", c)]
        assert fetches


def test_wrong_commands_are_recorded_with_their_error_and_not_trained(made: Path) -> None:
    mistakes = 0
    for trajectory in trajectories(made):
        commands = [turn for turn in trajectory.turns if turn.is_command]
        for turn, after in itertools.pairwise(commands):
            assert turn.train or after.content != turn.content, "the next command is another one"
        assert commands[-1].train
        mistakes += sum(not turn.train for turn in commands)
    assert mistakes >= TRAIN // 6


def test_a_miscopied_name_of_a_program_is_looked_up_and_not_given_up(
    bundles: list[Scenario],
) -> None:
    looked_up = 0
    for bundle in bundles:
        commands = bundle.reference_solution
        for number in bundle.mistakes:
            wrong, after = commands[number], commands[number + 1]
            if after != "ls /usr/local/bin":
                continue
            looked_up += 1
            right = commands[number + 2]
            assert not right.startswith("panic")
            differing = [
                (typed, name)
                for typed, name in zip(wrong.split(), right.split(), strict=True)
                if typed != name
            ]
            assert len(differing) == 1
            assert differing[0][1] in {Path(each.path).name for each in bundle.fixtures}
    assert looked_up


def test_no_command_that_is_trained_repeats_the_one_before(made: Path) -> None:
    for trajectory in trajectories(made):
        for one, two in itertools.pairwise(trajectory.commands):
            assert one != two, trajectory.id


def test_most_sessions_look_at_what_they_made(bundles: list[Scenario]) -> None:
    """After the last command that changes something there is one that shows it."""
    looks = ("cat ", "ls", "head ", "tail ", "wc ", "stat ", "cmp ", "grep ", "sh ", "tar -tf ")
    done = [each for each in bundles if each.id.startswith("train") and each.terminal == "exit"]
    looking = [
        each
        for each in done
        if each.reference_solution[-2].startswith(looks) and ">" not in each.reference_solution[-2]
    ]
    assert len(looking) > 0.35 * len(done)


def test_sessions_hold_no_times_and_nothing_of_this_machine(made: Path) -> None:
    for trajectory in trajectories(made):
        for turn in trajectory.turns:
            assert turn.t is None
            assert str(made) not in turn.content
            assert "\n" not in turn.content or not turn.is_command
            assert len(turn.content) < 1200


def test_commands_are_never_prose(bundles: list[Scenario]) -> None:
    for bundle in bundles:
        for command in bundle.reference_solution:
            assert not is_prose(command, known={bundle.provider.name}), command


def test_commands_name_programs_that_training_shows_to_no_split(bundles: list[Scenario]) -> None:
    trained = {
        word
        for bundle in bundles
        if bundle.id.startswith("train")
        for command in bundle.reference_solution
        for word in command.split()
    }
    assert not {"chmod", "ln", "md5sum", "sha1sum", "sha256sum", "gzip", "fold", "split"} & trained


def test_kinds_of_work_belong_to_their_splits(bundles: list[Scenario]) -> None:
    assert len(TRAINING) >= 40
    assert len(HELD_OUT) >= 6
    assert not TRAINING.keys() & HELD_OUT.keys()
    assert not TRAINING.keys() & VALIDATION.keys()
    for bundle in bundles:
        parts = [kind for part in bundle.extra["parts"] for kind in part.split("+")]
        split = bundle.extra["split"]
        if split == "primitives":
            assert set(parts) <= HELD_OUT.keys()
        elif split == "valid" and parts[0] in VALIDATION:
            assert set(parts) <= VALIDATION.keys()
        else:
            assert set(parts) <= TRAINING.keys()
            share = share_of_split(split)
            for first, second in itertools.pairwise(parts):
                assert pair_share(first, second) == share


def test_splits_share_no_word_and_no_name(bundles: list[Scenario]) -> None:
    assert len(DOMAINS) >= 10
    plain = set(WORDS)
    for bundle in bundles:
        share = share_of_split(bundle.extra["split"])
        name = re.split(r"\d|-|_", bundle.provider.name)[0]
        assert share_of(name) == share
        for fixture in bundle.fixtures:
            if fixture.path.startswith(("/usr/", "/srv", "/var")):
                continue
            for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", fixture.path):
                if word.lower() in plain:
                    assert share_of(word.lower()) == share, fixture.path


def test_what_blocks_a_world_cannot_be_told_from_its_first_sign(bundles: list[Scenario]) -> None:
    """Each first sign of a blocked world is in doable ones too."""
    blocked = [each for each in bundles if each.terminal == "panic"]
    doable = [each for each in bundles if each.terminal == "exit"]
    causes = {each.extra["obstacle"] for each in blocked}
    assert causes == {"missing", "lacking", "readonly", "absent", "contradiction", "sealed"}
    assert {each.extra["obstacle"] for each in doable} == set(TWISTS)
    finds = [
        each for each in doable if any(c.startswith("find . ") for c in each.reference_solution)
    ]
    lists = [each for each in doable if "ls /usr/local/bin" in each.reference_solution]
    makes = [
        each for each in doable if any(c.startswith("mkdir ") for c in each.reference_solution)
    ]
    closed = [each for each in doable if each.extra["obstacle"] == "closed"]
    assert min(map(len, (finds, lists, makes, closed))) >= 10


def test_invented_tools_are_asked_before_they_are_used(bundles: list[Scenario]) -> None:
    worlds = [
        each
        for each in bundles
        if "tool" in each.archetype and each.terminal == "exit" and len(each.extra["parts"]) == 1
    ]
    assert len(worlds) >= 40
    for bundle in worlds:
        solution = bundle.reference_solution
        assert any(c.endswith(" --help") or c.startswith("man ") for c in solution[1:])


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("count", [12, 48, 160])
def test_every_prefix_is_balanced(split: Split, count: int) -> None:
    chosen = specs(split, 240, 0)[:count]
    for seen in (Counter(spec.depth for spec in chosen), Counter(spec.channel for spec in chosen)):
        assert max(seen.values()) - min(seen.values()) <= 1
    assert {spec.channel for spec in chosen} == {"motd", "banner", "env", "file"}
    panics = sum(spec.terminal == "panic" for spec in chosen)
    low, high = (0.08, 0.2) if split == "train" else (0.15, 0.3)
    assert low <= panics / count <= high


def test_the_data_is_varied(bundles: list[Scenario]) -> None:
    for split in SPLITS:
        mine = [each for each in bundles if each.extra["split"] == split]
        assert len({each.provider.name for each in mine}) > 0.75 * len(mine)
        assert len({each.directives for each in mine}) > 0.98 * len(mine)
        assert {each.announcement.channel for each in mine} == {"motd", "banner", "env", "file"}
        assert {each.doc_depth for each in mine} == {"help", "man", "usage"}
    train = [each for each in bundles if each.extra["split"] == "train"]
    assert {each.difficulty for each in train} >= {"1", "2", "3", "4"}


def test_a_small_budget_takes_the_most_usual_kinds() -> None:
    for split in SPLITS:
        kinds = {
            kind
            for spec in specs(split, 300, 0, core=True)
            for part in spec.archetypes
            for kind in part.split("+")
        }
        assert kinds & TRAINING.keys() <= {*CORE}
        assert len(kinds & TRAINING.keys()) >= 20 or split == "primitives"


def test_splits_are_written_by_name(tmp_path: Path) -> None:
    wanted: dict[Split, int] = {"valid": 2, "primitives": 1}
    report = make(tmp_path, train=0, holdout=0, seed=0, splits=wanted)
    assert report.splits == wanted
    assert len(load_scenarios(tmp_path / "scenarios/valid")) == 2
    assert len(load_scenarios(tmp_path / "scenarios/primitives")) == 1


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
