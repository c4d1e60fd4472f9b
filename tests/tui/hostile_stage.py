"""A workbench on a workspace in which every name and every text is hostile, for a real terminal."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events
from sekft_engine.records.events import Event
from tests.tui.conftest import scenario, trajectory
from tests.tui.hostile import ALL, BYTES_NAME, NAMES, TEXTS
from tests.tui.scripted import ScriptedEngine, training, verdict


def hostile_workspace(root: Path, base: Path) -> Workspace:
    """Sessions, worlds, runs and episodes whose every text is hostile."""
    made = Workspace(root).create()
    (made.bases / NAMES[0]).symlink_to(base)
    for number, text in enumerate(TEXTS):
        _write(made.trajectories, number, _session(text, number))
    typed = ALL.replace("\0", "")
    world = scenario(90) | {"id": "[u]evil brackets[/u]", "directives": typed}
    world |= {"announcement": {"channel": "motd", "text": typed}, "archetype": TEXTS[0]}
    world |= {"fixtures": [{"path": "said", "content": typed}]}
    (made.holdout_scenarios / "world.json").write_text(json.dumps(world))
    _write(made.trajectories, 90, {"id": ALL, "turns": ALL})
    (Path(os.fsdecode(bytes(made.trajectories) + b"/" + BYTES_NAME + b".json"))).write_text("{")
    for number, name in enumerate(NAMES):
        _run(made, f"{number:03}{name}", number)
    return made


def _write(folder: Path, number: int, raw: dict[str, Any]) -> None:
    name = NAMES[number % len(NAMES)]
    (folder / f"{number:02}{name}.json").write_text(json.dumps(raw))


def _session(text: str, number: int) -> dict[str, Any]:
    raw = trajectory(number, text)
    raw |= {"id": text, "provider": text, "announcement": text}
    raw["turns"][1]["content"] = text.strip() or "ls"
    raw["turns"][2]["content"] = ALL
    raw["turns"][4]["content"] = "\n".join(TEXTS)
    return raw


def _run(made: Workspace, name: str, number: int) -> None:
    """A run of each kind in turn; every third cannot be read."""
    folder = made.runs / name
    folder.mkdir()
    text = TEXTS[number % len(TEXTS)]
    kind = ("train", "eval", "sweep", "shell")[number % 4]
    if number % 7 == 5:
        (folder / "run.json").write_text('{"run": "' + name + '"')
        return
    raw = {
        "schema": 1, "id": text, "kind": kind, "name": text, "created": text,
        "status": ("failed", "done", "stopped", text)[number % 4],
        "error": text + ALL if number % 4 == 0 else "",
        "about": {"recipe": {text: text, "rank": text}, text: [text]},
        "facts": {"base": {"path": text, "device": text}, "data": {"from": ALL, "path": text},
                  "versions": {text: text}, "render": {text: text}},
        "result": {"points": [], "finished": 1, "best": text} if kind == "sweep" else {},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(raw))
    script = list(_trained() if kind == "train" else _evaluated())
    lines = [events.encode(event) for event in script]
    (folder / "events.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    if kind in ("eval", "shell"):
        (folder / "episodes").mkdir()
        episode = _session(text, number) | {"scenario": text, "outcome": text}
        episode["meta"] = {"subject": text, "clean": True, "expected": text, "invalid": ALL}
        episode["meta"] |= {"checker": {"output": ALL, "status": 1}, "failure": text}
        (folder / "episodes" / f"{name[:60]}.json").write_text(json.dumps(episode))


def _trained() -> Iterable[Event]:
    job = "train-1"
    for event in training(12):
        match event:
            case events.RunCreated():
                event = msgspec.structs.replace(event, run=ALL, path=f"/runs/{ALL}")
            case events.BaseLoaded():
                event = msgspec.structs.replace(event, base=ALL, dtype=TEXTS[0], device=TEXTS[2])
            case events.RowsReady():
                event = msgspec.structs.replace(event, dropped=dict.fromkeys(TEXTS, 1))
            case events.AdapterSaved():
                event = msgspec.structs.replace(event, name=TEXTS[3], path=f"/{ALL}")
            case events.StepDone():
                yield events.StepBegan(job=job, step=event.step, batch=[
                    events.BatchRow(id=text, tokens=60, edges=[20, 24, 55, 60]) for text in TEXTS
                ])  # fmt: skip
                event = msgspec.structs.replace(event, rows=list(TEXTS))
            case events.JobDone():
                continue
        yield event
    for text in TEXTS:
        yield events.SignSeen(job=job, step=9, sign=text, value=9, usual=1)
        yield events.Log(job=job, t=1.0, level="warning", text=text)
        yield events.Log(job=job, t=1.0, level=text, text=ALL)
        yield events.Progress(job=job, label=text, done=1, total=3, detail=text)
    yield events.AdapterAttached(job=job, name=TEXTS[0], digest="0", path=ALL)


def _evaluated() -> Iterable[Event]:
    job = "eval-1"
    subjects = ["base", TEXTS[3], ALL]
    yield events.JobStarted(job=job, kind="eval", t=1.0, label=ALL)
    yield events.RunCreated(job=job, run=TEXTS[0], path=f"/runs/{ALL}", kind="eval")
    yield events.EvalStarted(
        job=job, subjects=subjects, scenarios=list(TEXTS), archetypes=list(TEXTS)
    )
    for number, text in enumerate(TEXTS):
        for subject in subjects:
            yield events.EpisodeStarted(job=job, subject=subject, scenario=text)
            for turn, content in enumerate((ALL, text, "\n".join(TEXTS))):
                role = ("user", "assistant")[turn % 2]
                yield events.TurnDone(
                    job=job, subject=subject, scenario=text, number=turn, role=role,
                    content=content, at=float(turn),
                )  # fmt: skip
            if number < 12:
                done = verdict(subject, text, "invalid" if number % 2 else "good", job)
                more = {"outcome": text, "expected": text, "invalid": ALL if number % 2 else ""}
                yield msgspec.structs.replace(done, archetype=text, **more)


class HostileEngine(ScriptedEngine):
    """Plays a hostile run, eval and queue as soon as it is asked for a job."""

    def submit(self, job: Any) -> str:
        name = super().submit(job)
        kind = type(job).__name__.lower()
        if kind == "train":
            self.say(*_trained())
            waiting = [events.Queued(id=f"w{n}", kind=t, label=t) for n, t in enumerate(TEXTS)]
            self.say(events.QueueChanged(
                job="", running=events.Queued(id="train-1", kind="train", label=ALL),
                waiting=waiting,
            ))  # fmt: skip
        elif kind == "evaluate":
            self.say(*_evaluated())
            self.say(events.JobFailed(
                job=name, kind="eval", t=time.time(), error=TEXTS[3] + ALL, trace=ALL
            ))  # fmt: skip
        return name


def main() -> None:
    import traceback

    from textual.strip import Strip

    from sekft_tui.app import Workbench
    from sekft_tui.text import Parts
    from sekft_tui.widgets.line_view import LineView

    strip = LineView.strip

    def checked(self: LineView, parts: Parts, width: int, under: str = "") -> Strip:
        """Notes what a pane gave unclean: the view cleans it, but its columns no longer align."""
        for text, _ in parts:
            if not text.isprintable():
                with Path("unclean").open("a") as file:
                    file.write(f"{type(self).__name__} {self.id} {text!r}\n")
        return strip(self, parts, width, under)

    LineView.strip = checked  # type: ignore[method-assign]
    workspace = Workspace(sys.argv[1])
    app = Workbench(HostileEngine(), workspace, remark="".join(TEXTS))
    app.run()
    if app.crash is not None:
        Path("crash").write_text("".join(traceback.format_exception(app.crash)))


if __name__ == "__main__":
    main()
