"""Resume an eval: which run that is, what was asked for, and what its models were called."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from sekft_engine.bases import current_digest
from sekft_engine.core.errors import BadInput
from sekft_engine.data.workspace import Workspace
from sekft_engine.operators.endpoints import identity
from sekft_engine.operators.subjects import BASE
from sekft_engine.records import jobs
from sekft_engine.records.jobs import Evaluate
from sekft_engine.records.jobs.paths import absolute
from sekft_engine.records.runs import MANIFEST, RunInfo, list_runs, read_run

#: Options that a run records only where they are not these: older runs had none of them.
DEFAULTS: Mapping[str, Any] = {
    "seeds": 1,
    "until_decided": False,
    "exact": False,
    "context": 0,
    "controls": [],
}

#: The adapters that could not act, by name with their digests, in what a run is about.
REFUSED = "refused"

#: Fields of the job that say how it is resumed, and not what is evaluated.
_NOT_ASKED = frozenset({"id", "out", "resume"})


def completed(job: Evaluate, given: Collection[str], workspace: Workspace | None) -> Evaluate:
    """Complete ``job`` from the run that it resumes.

    Args:
        job: without ``out`` it resumes the newest eval of the workspace that did not come to its
            end and agrees with what is given.
        given: names of the fields that were set explicitly; the others come from the run.

    Raises:
        BadInput: the folder holds another kind of run.
    """
    info = _resumable(job, given, workspace)
    if info is None:
        return job
    recorded = _recorded(info)
    left = set(job.__struct_fields__) - _NOT_ASKED - set(given)
    changes = {name: value for name, value in recorded.items() if name in left}
    return msgspec.structs.replace(job, out=info.path, **changes)


def _resumable(
    job: Evaluate, given: Collection[str], workspace: Workspace | None
) -> RunInfo | None:
    if (folder := named_run(job)) is not None:
        return _eval_in(folder)
    if job.out or workspace is None:
        return None
    asked = msgspec.structs.asdict(absolute(job))
    wanted = {name: asked[name] for name in given if name not in _NOT_ASKED}
    agreeing = (
        info for info in _unfinished(workspace) if wanted.items() <= _recorded(info).items()
    )
    return next(agreeing, None)


def _unfinished(workspace: Workspace) -> Iterator[RunInfo]:
    """The evals of the workspace that did not come to their end, the newest first."""
    for info in reversed(list_runs(workspace.runs)):
        if info.kind == "eval" and info.status not in ("done", "running"):
            yield info


def _recorded(info: RunInfo) -> dict[str, Any]:
    """The fields of the job that began the run; of an older run, those that can be inferred."""
    try:
        job = msgspec.convert(info.job, jobs.AnyJob)
    except msgspec.ValidationError:
        job = None
    if isinstance(job, Evaluate):
        return msgspec.structs.asdict(job)
    about = info.about
    subjects = about.get("subjects", {})
    # A recorded userland is what one was found to be, and not a name by which it is asked for.
    left = set(Evaluate.__struct_fields__) - {"userland"}
    found = {name: value for name, value in about.items() if name in left}
    found["with_base"] = BASE in subjects
    if "quantised" in about:
        found["load_4bit"] = about["quantised"]
    if "endpoints" in about:
        found["models"] = subjects
    for name in ("controls", "endpoints", "models"):
        found[name] = tuple(found.get(name, ()))
    return found


def named_run(job: Evaluate) -> Path | None:
    """The run in the folder that the job names; None where there is none."""
    folder = Path(job.out).expanduser().absolute() if job.out else None
    return folder if folder is not None and (folder / MANIFEST).is_file() else None


def earlier_eval(
    job: Evaluate, workspace: Workspace | None, asked: Mapping[str, Any]
) -> Path | None:
    """The run that ``job`` resumes: in its folder, else the newest one of the same eval that did
    not come to its end; None = there is none, or it resumes nothing.

    Args:
        asked: what identifies the eval.

    Raises:
        BadInput: the folder holds another eval.
    """
    if not job.resume:
        return None
    if job.out:
        folder = named_run(job)
        if folder is not None:
            refuse_other_eval(folder, asked)
        return folder
    unfinished = _unfinished(workspace) if workspace is not None else ()
    same = (info for info in unfinished if _identity(info.about) == _identity(asked))
    return next((Path(info.path) for info in same), None)


def recorded_names(folder: Path) -> dict[str, str]:
    """What the run in ``folder`` calls each adapter, by the digest of its content."""
    about = read_run(folder).about
    return {digest: name for name, digest in _models(about) if digest}


def refuse_other_eval(folder: Path, asked: Mapping[str, Any]) -> None:
    """Raise :class:`BadInput` where the run in ``folder`` was not the eval that is asked for."""
    about = _eval_in(folder).about
    before = {**DEFAULTS, **_identity(about)}
    if (digest := asked.get("base_digest")) and (recorded := before.get("base_digest")):
        before["base_digest"] = current_digest(recorded, Path(asked["base"]), digest)
    for name, value in {**DEFAULTS, **_identity(asked)}.items():
        if before.get(name) == value:
            continue
        if name in ("subjects", REFUSED):
            refuse_other_models(folder, about, _models(asked))
        _refuse(
            folder, f"its {name.replace('_', ' ')} {'differ' if name.endswith('s') else 'differs'}"
        )


def refuse_other_models(
    folder: Path, about: Mapping[str, Any], asked: Iterable[tuple[str, str]]
) -> None:
    """Raise :class:`BadInput` where the run was not an eval of these models; the error names those
    that differ. An adapter is the same where its content is, whatever it is called.

    Args:
        folder: of the run.
        about: what the run is about.
        asked: the name of each model, and the digest of an adapter.
    """
    now, before = list(asked), _models(about)
    had, have = ({digest or name for name, digest in models} for models in (before, now))
    gone = [name for name, digest in before if (digest or name) not in have]
    new = [name for name, digest in now if (digest or name) not in had]
    if not gone and not new:
        return
    changed = [name for name in gone if name in new]
    gone, new = ([name for name in names if name not in changed] for names in (gone, new))
    differences = [f"{name} has changed since" for name in changed]
    differences += [f"{', '.join(gone)} left out"] if gone else []
    differences += [f"{', '.join(new)} added"] if new else []
    _refuse(folder, f"its models differ ({'; '.join(differences)})")


def _refuse(folder: Path, why: str) -> NoReturn:
    raise BadInput(
        f"this run was another eval: {why}",
        where=str(folder),
        mend="ask for the same eval, or begin a new one with another --out",
    )


def _eval_in(folder: Path) -> RunInfo:
    info = read_run(folder)
    if info.kind != "eval":
        raise BadInput(
            f"a run of {info.kind}, not an eval", where=str(folder), mend="choose another --out"
        )
    return info


def _models(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and digest of each model, whether it could act or not."""
    return [*about.get("subjects", {}).items(), *about.get(REFUSED, {}).items()]


def _identity(about: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that must agree for an eval to be resumed. What an adapter is called is none of
    them: that may be another name where the adapter is on the base already, or has moved."""
    facts = identity(about)
    for group in ("subjects", REFUSED):
        if group in facts:
            facts[group] = sorted(digest or name for name, digest in facts[group].items())
    return facts
