"""``sekft shell``: a model lands at the prompt of a world, and a person watches.

It is a take-over that begins with the model: the person may pause it, take the keyboard and hand
it back. What is judged is recorded as an episode, in a run of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from sekft_engine.core.documents import encode
from sekft_engine.core.errors import BadInput
from sekft_engine.core.files import write_whole
from sekft_engine.data.dialect import DEFAULT_DIALECT
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.workspace import Workspace, no_base_named
from sekft_engine.episodes.choose import choose_scenarios
from sekft_engine.episodes.episode import FinishedEpisode, episode_key, trial_name
from sekft_engine.episodes.store import holds_bundles, touched, write_episode
from sekft_engine.operators.subjects import BASE
from sekft_engine.records import jobs
from sekft_engine.records.adapter_names import name_of_folder
from sekft_engine.records.adapters import adapter_digest
from sekft_engine.records.results import ShellResult
from sekft_engine.records.runs import Run, adapter_folder, create_run, refuse_place, run_of
from sekft_engine.sources import load_scenarios
from sekft_engine.takeover.draft_files import drafts_folder
from sekft_engine.takeover.folder_world import scenario_of_folder
from sekft_engine.takeover.keep import Keeper
from sekft_engine.takeover.model_turns import Server
from sekft_engine.takeover.origin import Origin, origin_of_scenario
from sekft_engine.takeover.takeover import TakeOver
from sekft_engine.takeover.view import EngineClient

#: The kind of the runs that sessions are recorded in.
KIND = "shell"
#: Who types, while a server has not said which model it holds.
SERVER = "server"
#: The bundle of the world in a run's folder.
WORLD = "world.json"


class Shell(msgspec.Struct, frozen=True, kw_only=True):
    """Who lands where."""

    adapter: Annotated[
        str,
        Meta(
            description="The adapter that types: its folder, or its run [default: the bare base]."
        ),
    ] = ""
    scenario: Annotated[
        str, Meta(description="The world's scenario [default: one that --seed chooses].")
    ] = ""
    scenarios: Annotated[
        str, Meta(description="Where bundles are [default: the workspace's held-out ones].")
    ] = ""
    world: Annotated[
        Path | None,
        Meta(
            description="Instead of a scenario, a world with a copy of this folder's text files; "
            "nothing judges it.",
            extra={"folder": True},
        ),
    ] = None
    endpoint: Annotated[
        str, Meta(description="A model of this OpenAI-compatible server types.")
    ] = ""
    model: Annotated[str, Meta(description="With --endpoint: which [default: its first].")] = ""
    unchecked: Annotated[
        bool,
        Meta(description="Accept a server that does not feed its model what training fed."),
    ] = False
    base: Annotated[
        str, Meta(description="The base that types and certifies [default: the workspace's].")
    ] = ""
    load_4bit: jobs.Load4bit = None
    device: jobs.Device = "auto"
    seed: Annotated[int, Meta(description="Chooses the scenario, and fixes sampling.")] = 0
    temperature: Annotated[float, Meta(ge=0, description="Sampling temperature; 0 = greedy.")] = 0.0
    turn_tokens: Annotated[int, Meta(ge=1, description="Most tokens in one command.")] = 64
    step_cap: Annotated[int, Meta(ge=1, description="Most commands in the session.")] = 12
    sandbox: Annotated[str, Meta(description="The sandbox that runs the world.")] = "auto"
    userland: jobs.Userland = "auto"
    out: Annotated[
        str,
        Meta(
            description="Record the session in this folder [default: a run in the workspace].",
            extra={"folder": True},
        ),
    ] = ""
    api_key_env: str | None = None


class ShellRun:
    """The run that a session is recorded in. Its folder is made with the first judged session, and
    one that is judged again, after an undo, takes the place of the one before.

    Args:
        root: the workspace's runs; None = there is no workspace.
        out: another folder; empty = the next one under ``root``. With neither nothing is recorded.
        subject: who types.
        scenario: the world's; it is kept in the run.
        about: for the run's manifest.

    Raises:
        BadInput: ``out`` holds something.
    """

    def __init__(
        self,
        root: Path | None,
        out: str,
        subject: str,
        scenario: Scenario,
        about: dict[str, Any],
    ) -> None:
        self._root, self._out, self._subject, self._about = root, out, subject, about
        self._scenario = scenario
        self._run: Run | None = None
        #: Of the session that was recorded last; None = none was.
        self.result: ShellResult | None = None
        if out:
            refuse_place(root, out)

    def write(self, finished: FinishedEpisode) -> str:
        """Record a judged session; returns its file, empty where there is no place for it."""
        if self._run is None:
            if self._root is None and not self._out:
                return ""
            self._run = create_run(self._root, KIND, about=self._about, out=self._out)
            self._run.episodes.mkdir(exist_ok=True)
            world = self._run.folder / WORLD
            write_whole(world, encode(self._scenario.to_json()))
            self._run.write(about=self._about | {"scenarios": str(world)})
        subject, finished = _named(self._subject, finished)
        path = write_episode(self._run.episodes, subject, finished)
        self.result = result_of(finished, self._run.id, str(path))
        self._run.write(status="done", result=self.result)
        return str(path)

    def close(self) -> None:
        """End the run."""
        if self._run is not None:
            self._run.close()


class Watched(NamedTuple):
    """A session that is ready to begin.

    Attributes:
        session: the take-over; it has not been started.
        record: the run that it is recorded in.
        adapter: the folder of the adapter that types; empty = the base, or a server's model.
        subject: the name of who types.
    """

    session: TakeOver
    record: ShellRun
    adapter: str
    subject: str


def prepare(
    asked: Shell,
    workspace: Workspace | None,
    engine: EngineClient,
    changed: Callable[[TakeOver], None] = lambda _session: None,
) -> Watched:
    """Make the session that ``asked`` describes; what is wrong with it is refused here.

    Args:
        engine: does the work of the model.
        changed: called after every change of the session's view, on any thread.

    Raises:
        BadInput: there is no such world, adapter or base, or no place to record in.
    """
    base = asked.base or (workspace.base if workspace is not None else "")
    if asked.endpoint and asked.adapter:
        raise BadInput(
            "a server's model types, or an adapter on a base here",
            where="--adapter",
            mend="with --endpoint name the model: --model",
        )
    if not asked.endpoint and not base:
        raise no_base_named(workspace)
    adapter = _adapter(asked.adapter, workspace)
    digest = adapter_digest(Path(adapter)) if adapter else ""
    origin = _origin(asked, workspace)
    subject = name_of_folder(Path(adapter)) if adapter else BASE
    subject = asked.model or (asked.endpoint and SERVER) or subject
    about = {
        "scenario": origin.scenario.id,
        "subjects": {subject: digest},
        "base": base,
        "endpoint": asked.endpoint,
        "seed": asked.seed,
        "temperature": asked.temperature,
        "step_cap": asked.step_cap,
        "turn_tokens": asked.turn_tokens,
        "dialect": msgspec.to_builtins(origin.dialect),
    }
    record = ShellRun(
        workspace.runs if workspace is not None else None,
        asked.out,
        subject,
        origin.scenario,
        {name: fact for name, fact in about.items() if fact not in ("", None)},
    )
    server = None
    if asked.endpoint:
        server = Server(
            endpoint=asked.endpoint,
            model=asked.model,
            api_key_env=asked.api_key_env,
            unchecked=asked.unchecked,
        )
    session = TakeOver(
        lambda: origin,
        keeper=Keeper(base, workspace),
        engine=engine,
        base=base,
        load_4bit=asked.load_4bit,
        device=asked.device,
        changed=lambda: changed(session),
        step_cap=asked.step_cap,
        sandbox=asked.sandbox,
        userland=asked.userland,
        drafts=drafts_folder(workspace),
        server=server,
        record=record.write,
        subject=subject,
        about={"adapter_digest": digest, "seed": asked.seed, "temperature": asked.temperature},
    )
    return Watched(session=session, record=record, adapter=adapter, subject=subject)


def _named(subject: str, finished: FinishedEpisode) -> tuple[str, FinishedEpisode]:
    """A session under the name of who typed: a server says which model that is."""
    models = finished.trajectory.meta.get("takeover", {}).get("models", [])
    if subject != SERVER or len(models) != 1:
        return subject, finished
    name, trajectory = str(models[0]["subject"]), finished.trajectory
    trajectory = msgspec.structs.replace(
        trajectory,
        id=episode_key(name, trial_name(trajectory.scenario, 0)),
        meta=trajectory.meta | {"subject": name},
    )
    return name, msgspec.structs.replace(finished, trajectory=trajectory)


def result_of(finished: FinishedEpisode, run: str = "", path: str = "") -> ShellResult:
    """The document of a session."""
    trajectory, verdict = finished.trajectory, finished.verdict
    return ShellResult(
        run=run,
        path=path,
        scenario=trajectory.scenario,
        subject=str(trajectory.meta.get("subject") or ""),
        touched=touched(finished),
        steps=verdict.steps,
        outcome=verdict.outcome,
        expected=verdict.expected,
        clean=verdict.clean,
        verified=verdict.verified,
        invalid=verdict.invalid,
        seconds=finished.seconds,
    )


def _adapter(spec: str, workspace: Workspace | None) -> str:
    """The folder of an adapter by its folder or its run; empty = none is wanted.

    Raises:
        BadInput: there is none.
    """
    if not spec:
        return ""
    folder = Path(spec).expanduser()
    if not folder.exists() and workspace is not None:
        run = run_of(spec, workspace.runs)
        if not run.adapter:
            raise BadInput("this run has no adapter", where=run.id, mend="sekft runs list")
        folder = Path(run.adapter)
    return str(adapter_folder(folder).absolute())


def _origin(asked: Shell, workspace: Workspace | None) -> Origin:
    """The untouched world to land in."""
    about = {"temperature": asked.temperature, "turn_tokens": asked.turn_tokens}
    if asked.world is not None:
        if asked.scenario:
            raise BadInput("both --world and --scenario are given", mend="leave one of them out")
        dialect = workspace.dialect if workspace is not None else DEFAULT_DIALECT
        origin = Origin(scenario=scenario_of_folder(asked.world), heldout=True, dialect=dialect)
    else:
        name = asked.scenario or _chosen(asked, workspace)
        origin = origin_of_scenario(name, workspace, scenarios=asked.scenarios)
    return msgspec.structs.replace(origin, about=about)


def _chosen(asked: Shell, workspace: Workspace | None) -> str:
    """The scenario that the seed chooses."""
    place = Path(asked.scenarios).expanduser() if asked.scenarios else None
    if place is None and workspace is not None:
        place = workspace.holdout_scenarios
    if place is None or not place.exists() or not holds_bundles(place):
        raise BadInput(
            "no scenarios",
            where=str(place or "--scenario"),
            mend="name a folder with --scenarios or --world, or make some: sekft factory make",
        )
    return choose_scenarios(load_scenarios(place), 1, asked.seed)[0].id
