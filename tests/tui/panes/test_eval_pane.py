"""The eval pane tells what the command tells: its set-up, its intervals, its tests, its figures."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.data.workspace import Workspace
from sekft_engine.episodes.store import as_finished, write_episode
from sekft_engine.evaluation.statistics.intervals import (
    mcnemar,
    wilson,
    wilson_clustered,
)
from sekft_engine.evaluation.statistics.paired import evidence, sign_flip
from sekft_engine.records import events, jobs
from sekft_engine.records.runs import create_run
from sekft_engine.worlds import backends
from sekft_engine.worlds.trees import userlands
from sekft_tui.app import Workbench
from sekft_tui.model.evaluation import EvalView
from sekft_tui.model.reducer import replayed
from sekft_tui.panes.eval.setup import SANDBOXES, USERLANDS, EvalSetup, Subject
from sekft_tui.widgets.verdict_grid import VerdictGrid
from tests.tui.screen import until, until_gone, until_shown
from tests.tui.scripted import ScriptedEngine, evaluation, verdict
from tests.tui.stored import stored_episode, stored_run

Make = Callable[[], Workbench]


def view_of(
    outcomes: dict[str, str], *, seeds: int = 1, worlds: int = 0, until_decided: bool = False
) -> EvalView:
    """An eval in which the episodes ended one after the other: ``g``ood, ``c``ap, ``i``nvalid,
    ``.`` = not yet."""
    trials = max(worlds * seeds, *map(len, outcomes.values()))
    names = [
        f"tidy-{n // seeds}" + (f"@{n % seeds + 1}" if n % seeds else "") for n in range(trials)
    ]
    hows = {"g": "good", "c": "cap", "i": "invalid"}
    script: list[events.Event] = [
        events.JobStarted(job="eval-1", kind="eval"),
        events.EvalStarted(
            job="eval-1", subjects=list(outcomes), scenarios=names, archetypes=["tidy"] * trials,
            seeds=seeds, until_decided=until_decided,
        ),
        *(
            verdict(subject, name, hows[how])
            for subject, word in outcomes.items()
            for name, how in zip(names, word, strict=False)
            if how != "."
        ),
    ]  # fmt: skip
    return replayed(script).eval


def test_several_draws_in_a_world_are_no_several_worlds() -> None:
    """Sixteen draws in one world tell next to nothing of other worlds."""
    view = view_of({"base": "g" * 15 + "c"}, seeds=16)
    assert view.tally("base").interval("clean_termination") == wilson_clustered([15], [16])
    assert wilson_clustered([15], [16])[0] < 0.2 < wilson(15, 16)[0]
    view = view_of({"base": "ccc" * 4, "tuned": "ggg" * 4}, seeds=3)
    pairs = view.pairs("base", "tuned")
    assert (pairs.pairs, pairs.only_a, pairs.only_b) == (4, 0, 4)
    assert pairs.p == pytest.approx(sign_flip([3, 3, 3, 3]))
    assert pairs.p > mcnemar(0, 12)


def test_while_an_eval_runs_p_is_one_that_may_be_looked_at() -> None:
    done = view_of({"base": "c" * 8, "tuned": "g" * 8}).pairs("base", "tuned")
    assert (done.test, done.p) == ("exact", mcnemar(0, 8))
    running = view_of({"base": "c" * 8, "tuned": "g" * 6}, worlds=8).pairs("base", "tuned")
    assert (running.test, running.pairs) == ("any time", 6)
    assert running.p == pytest.approx(1 / evidence(0, 6))
    decided = view_of({"base": "c" * 8, "tuned": "g" * 8}, until_decided=True)
    assert decided.pairs("base", "tuned").test == "any time"


async def test_rates_are_told_with_n_intervals_and_the_difference_to_the_first_model(
    make_app: Make, engine: ScriptedEngine
) -> None:
    async with make_app().run_test(size=(160, 48)) as pilot:
        await pilot.press("3", "s")
        engine.say(*evaluation({"base": ["cap"] * 8, "tuned": ["good"] * 8}, 8))
        shown = await until_shown(pilot, "rate [95 %]", "against base", "n=8", "+8  p=")
        assert re.search(r"tuned +n=8 .*8/8 +100 % \[\d+,100\]", shown), shown


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    ("first", "title"),
    [("base", "against base"), ("001-train", "vs 001-train"), ("001-train-seed-1", "vs the first")],
)
async def test_the_title_of_the_differences_is_never_cut(
    make_app: Make, engine: ScriptedEngine, first: str, title: str, width: int
) -> None:
    second = "001-train-seed-2"
    async with make_app().run_test(size=(width, 40)) as pilot:
        await pilot.press("3", "s")
        engine.say(*evaluation({first: ["cap"] * 8, second: ["good"] * 8}, 8))
        shown = await until_shown(pilot, "rate [95 %]", "n=8", "+8  p=")
        (head,) = [line for line in shown.splitlines() if "rate [95 %]" in line]
        assert head.rstrip().endswith(f"  {title}")
        names = [line.split("n=8")[0].split()[-1] for line in shown.splitlines() if "n=8 " in line]
        assert len(set(names)) == 2, "names are cut where they are alike"


def test_worlds_that_ended_early_do_not_count_before_those_that_stand_before_them() -> None:
    view = view_of({"base": "cccccc", "tuned": "gi.ggg"})
    pairs = view.pairs("base", "tuned")
    assert (pairs.pairs, pairs.only_b) == (1, 1), "the first counts, the second is invalid"
    half = view_of({"base": "cccc", "tuned": "ggg."}, seeds=2).pairs("base", "tuned")
    assert (half.pairs, half.only_b) == (1, 1), "a world with a draw left is still open"


def test_everything_the_command_can_be_told_stands_in_the_set_up() -> None:
    setup = EvalSetup()
    setup.set_choices([Subject("001-train", "/runs/001-train/adapter")], scenarios=48)
    for name, value in (
        ("n", "24"), ("temperature", "0.7"), ("seeds", "4"), ("until_decided", "yes"),
        ("userland", "debian"), ("sandbox", "podman"), ("seed", "3"), ("controls", "yes"),
    ):  # fmt: skip
        if name not in ("until_decided", "userland", "sandbox", "controls"):
            assert setup.check(name, value) == ""
        setup.change(name, value)
    assert setup.problem() == ""
    job = setup.job("base", Path("/scenarios"))
    assert (job.n, job.seed, job.seeds, job.temperature) == (24, 3, 4, 0.7)
    assert (job.until_decided, job.userland, job.sandbox) == (True, "debian", "podman")
    assert job.controls == ("oracle", "always-exit", "always-panic", "random")
    fields = {field.name: field for field in setup.fields(Path("/scenarios"))}
    assert "n=24" in fields["n"].help
    assert "takes at least 7 worlds" in fields["n"].help
    assert "4 draws" in fields["n"].help


def test_a_set_up_that_would_show_nothing_says_why() -> None:
    setup = EvalSetup()
    setup.set_choices([], scenarios=48)
    setup.change("seeds", "3")
    assert "need a temperature" in setup.problem()
    setup.change("temperature", "1")
    setup.change("until_decided", "yes")
    assert "one model alone" in setup.problem()
    setup.change("base", "")
    assert "at least one model" in setup.problem()
    for name, value in (
        ("temperature", "-1"), ("temperature", "nan"), ("temperature", "warm"), ("seeds", "0"),
        ("n", "49"), ("step_cap", "0"), ("seed", "²"),
    ):  # fmt: skip
        assert setup.check(name, value), (name, value)


def test_the_set_up_offers_what_worlds_there_are() -> None:
    assert userlands.NAMES == USERLANDS
    assert ("auto", *backends.BACKENDS) == SANDBOXES


@pytest.fixture
def run_folder(workspace: Workspace) -> Path:
    """A finished eval of two subjects, two draws in each of two worlds."""
    run = create_run(workspace.runs, "eval", about={})
    run.episodes.mkdir()
    for subject, outcome in (("base", "cap"), ("tuned", "exit")):
        for world in ("held-000", "held-001"):
            for draw in range(2):
                trajectory = Trajectory(
                    id=f"{subject}--{world}",
                    scenario=world,
                    archetype="touch" if world == "held-000" else "link",
                    announcement="motd",
                    provider="warden",
                    turns=(Turn(role="user", content="$ "), Turn(role="assistant", content="exit")),
                    outcome="exit" if outcome == "exit" else "cap",
                    steps=1,
                    meta={"clean": True, "expected": "exit", "subject": subject, "draw": draw},
                )
                write_episode(run.episodes, subject, as_finished(trajectory))
    decision = {"state": "decided", "better": "tuned", "evidence": 30.0, "p": 1 / 30}
    subjects = [{"name": "base"}, {"name": "tuned"}]
    run.write(status="done", result={"subjects": subjects, "decisions": {"tuned": decision}})
    run.close()
    return run.folder


async def test_a_key_opens_all_figures_of_the_eval_that_is_shown(
    make_app: Make, engine: ScriptedEngine, run_folder: Path
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3", "i")
        await until_shown(pilot, "no eval is shown")
        engine.say(
            events.JobStarted(job="eval-1", kind="eval"),
            events.RunCreated(
                job="eval-1", run=run_folder.name, path=str(run_folder), kind="eval"
            ),
            events.EvalStarted(
                job="eval-1", subjects=["base", "tuned"], scenarios=["held-000"],
                archetypes=["touch"],
            ),
        )  # fmt: skip
        await until_shown(pilot, "eval 0/2")
        await pilot.press("i")
        await until_shown(
            pilot, run_folder.name, "rates [95 %]", "0/4 [0,66]", "4/4 [34,100]",
            "@1 1.00  @2 1.00", "decided: tuned is better", "not done",
        )  # fmt: skip
        await pilot.press("G")
        await until_shown(pilot, "by terminal")  # and nothing that no world says of itself
        await pilot.press("escape")
        await until_gone(pilot, "by terminal")


async def test_the_set_up_is_what_is_started(make_app: Make, engine: ScriptedEngine) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await until_shown(pilot, "2 held out", "[x] base")
        await pilot.press(*["j"] * 7, "enter", *"00.5", "enter")
        await pilot.press("j", "enter", "4", "enter", "j", "enter")
        await pilot.press("j", "enter", "enter")
        await pilot.press("j", "enter", "ctrl+u", *"cuda:1", "enter", "j", "space")
        await until_shown(pilot, "[x] stop when decided", "podman")
        await pilot.press("s")
        await until_shown(pilot, "one model alone decides nothing")
        await pilot.press("space", "s")
        await until(pilot, lambda: bool(engine.jobs), "started")
        job = engine.jobs[0]
        assert isinstance(job, jobs.Evaluate)
        assert msgspec.structs.replace(job, id="", base="", scenarios="") == jobs.Evaluate(
            id="", base="", scenarios="", n=2, temperature=0.5, seeds=4, userland="host",
            sandbox="podman", device="cuda:1",
        )  # fmt: skip


async def test_a_step_cap_that_the_reference_exceeds_is_asked_about_before_the_start(
    make_app: Make, engine: ScriptedEngine
) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await until_shown(pilot, "2 held out", "[x] base")
        await pilot.press(*["j"] * 4, "enter", "ctrl+u", "1", "enter")
        await until_shown(pilot, "the step cap of 1 is below the reference solution")
        await pilot.press("s")
        await until_shown(
            pilot, "start this eval?", "The step cap of 1 is below the reference", "of 2 of 2"
        )
        assert not engine.jobs
        for size in ((40, 10), (40, 24), (80, 24)):
            await pilot.resize_terminal(*size)
            shown = await until_shown(pilot, "y  start", "n  do not start")
            said = " ".join(" ".join(re.findall(r"│(.*?)│", shown)).split())
            assert "The step cap of 1 is below the reference" in said, "wrapped anew"
        await pilot.press("y")
        await until(pilot, lambda: bool(engine.jobs), "started")


async def test_worlds_and_controls_can_be_told_apart_on_80_columns(
    make_app: Make, engine: ScriptedEngine
) -> None:
    controls = ["oracle", "always-exit", "always-panic", "random"]
    worlds = [f"{kind}-000{n}" for kind in ("compositions", "primitives") for n in (1, 2)]
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("3", "s")
        engine.say(
            events.JobStarted(job="eval-1", kind="eval", t=1.0),
            events.EvalStarted(
                job="eval-1", subjects=["base", *controls], controls=controls, scenarios=worlds,
                archetypes=["x"] * len(worlds),
            ),
            verdict("oracle", worlds[0], "good"),
        )  # fmt: skip
        shown = await until_shown(pilot, *worlds, "all exit", "all panic", "✓ exit")
        assert "always-" not in shown, "cut or whole"
        engine.say(
            events.EvalStarted(
                job="eval-1", subjects=["base", "mine", *controls], controls=controls,
                scenarios=worlds, archetypes=["x"] * len(worlds),
            ),
        )  # fmt: skip
        await until_shown(pilot, "all exit", "all panic", "ns-0001", "ns-0002", "primitives", "✓")


async def test_a_terminal_made_small_keeps_what_had_the_focus(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press("3")
        await until_shown(pilot, "2 held out", "[x] base")
        await pilot.press("s")
        engine.say(*evaluation({"base": ["good", "cap"]}, 2))
        await until_shown(pilot, "2 of 2", "start the eval")
        await pilot.resize_terminal(80, 24)
        await until_gone(pilot, "start the eval")
        await pilot.press("i")
        await until_shown(pilot, "no episode has ended yet")
        await pilot.press("escape", "escape")
        await until_shown(pilot, "start the eval")


CONTROLS = ("oracle", "always-exit", "always-panic", "random")


def with_controls(worlds: int = 16) -> list[events.Event]:
    """The journal of an eval of a base, two adapters and all controls, which stand first."""
    subjects = [*CONTROLS, "base", "001-train", "002-train-with-a-title"]
    script = list(evaluation({name: ["good"] * worlds for name in subjects}, worlds))
    return [
        msgspec.structs.replace(event, controls=list(CONTROLS))
        if isinstance(event, events.EvalStarted)
        else event
        for event in script
    ]


@pytest.mark.parametrize("size", [(60, 24), (80, 24), (160, 48)], ids=["60", "80", "160"])
async def test_controls_stand_apart_from_models(
    make_app: Make, engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    async with make_app().run_test(size=size) as pilot:
        await pilot.press("3")
        await until_shown(pilot, "2 held out")
        engine.say(*with_controls())
        await until_shown(pilot, "eval 112" if size[0] > 60 else "112")
        if size[0] < 110:
            await pilot.press("o")
        shown = await until_shown(pilot, "112 of 112 episodes", "controls, without a model ──")
        models, controls = shown.split("controls, without a model")
        table = models[models.index("rate [95 %]") :]
        beginnings = [line.split("│")[-1].split()[0] for line in table.splitlines()[1:-1]]
        assert [name.rstrip("…") for name in beginnings[:2]] == ["base", "001-train"]
        assert "always" not in table
        assert controls.index("oracle") < controls.index("random")
        heads = next(line for line in shown.splitlines() if "scenario " in line)
        before, after = heads.split("scenario")[1].split("│")
        assert before.split()[0] == "base"
        assert "oracle"[:3] in after
        lines = [line for line in shown.splitlines() if "n=16" in line]
        assert len(lines) == 7
        assert all("16/16" in line and "[81,100]" in line for line in lines), "nothing is cut off"


async def test_the_next_world_in_which_models_differ_is_not_one_in_which_controls_do(
    make_app: Make, engine: ScriptedEngine
) -> None:
    how = {
        "base": ["good", "good", "cap"],
        "tuned": ["good", "good", "good"],
        "always-exit": ["good", "wrong", "wrong"],
    }
    script = [
        msgspec.structs.replace(event, controls=["always-exit"])
        if isinstance(event, events.EvalStarted)
        else event
        for event in evaluation(how, 3)
    ]
    async with make_app().run_test(size=(160, 48)) as pilot:
        await pilot.press("3")
        await until_shown(pilot, "2 held out")
        engine.say(*script)
        await until_shown(pilot, "9 of 9 episodes")
        await pilot.press("tab", "]")
        await until(pilot, lambda: pilot.app.query_one(VerdictGrid).cursor == 2, "the third world")


@pytest.mark.parametrize("size", [(60, 24), (80, 24), (160, 48)], ids=["60", "80", "160"])
async def test_no_figure_is_cut_off_at_the_right_edge(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace, size: tuple[int, int]
) -> None:
    script = with_controls()
    run = stored_run(workspace, "0002-eval", script, kind="eval")
    for subject in ("base", "001-train", "002-train-with-a-title", *CONTROLS):
        for number in range(16):
            stored_episode(run, subject, f"held-{number:03}", ("touch done", "$"), ("exit", ""))
    async with make_app().run_test(size=size) as pilot:
        await pilot.press("3")
        await until_shown(pilot, "2 held out")
        engine.say(
            *(
                msgspec.structs.replace(event, path=str(run))
                if isinstance(event, events.RunCreated)
                else event
                for event in script
            )
        )
        await until_shown(pilot, "eval 112" if size[0] > 60 else "112")
        await pilot.press("i")
        shown = await until_shown(pilot, "rates [95 %]", "itself", "controls, without a model")
        if size[0] == 160:  # where there is room, the columns of all tables stand below each other
            heads = [
                line
                for line in shown.splitlines()
                if "clean termination" in line or "solved" in line
            ]
            assert heads[0].index("clean termination") == heads[1].index("solved")
        lines = shown.splitlines()
        first = next(n for n, line in enumerate(lines) if "base  " in line and "16/16" in line)
        row = lines[first] if size[0] == 160 else lines[first] + lines[first + 1]
        assert row.count("16/16") == row.count("[81,100]") == 4
        assert shown.index("002-train") < shown.index("without a model") < shown.index("oracle")
        await pilot.press("G")
        shown = await until_shown(pilot, "random")
        last = next(line for line in reversed(shown.splitlines()) if "[81,100]" in line)
        assert last.count("[81,100]") == 4
