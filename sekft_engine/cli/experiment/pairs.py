"""``sekft pairs``: preference pairs of sessions in the same worlds, in TRL's format."""

from __future__ import annotations

from pathlib import Path

import click

from sekft_engine.cli.options import json_option, workspace_option
from sekft_engine.cli.runs.shared import print_text, runs_root
from sekft_engine.cli.show.document import print_json
from sekft_engine.core.errors import BadInput


@click.command("pairs")
@click.argument("identity", metavar="RUN")
@click.argument("target", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--data",
    default="",
    help="Recorded sessions of these worlds, which are right, too: a folder or file.",
)
@json_option
@workspace_option
def command(identity: str, target: Path, data: str, as_json: bool, workspace: Path | None) -> int:
    """Write preference pairs to FILE, a .jsonl in TRL's conversational format.

    RUN is an eval with several sessions in a world (--seeds, or an improvement's sampling), or an
    improvement: then all its rounds. A pair is the first command in which a verified and a failed
    session of one world differ, after turns that both share.
    """
    from sekft_engine.episodes.store import episodes_of
    from sekft_engine.improvement.pairs import counts, pairs_of, write_pairs
    from sekft_engine.improvement.sampled import sampled_runs
    from sekft_engine.records.runs import find_run
    from sekft_engine.sources import load_trajectories

    info = find_run(runs_root(workspace, identity), identity)
    runs = sampled_runs(info)
    episodes = [
        each
        for run in runs
        for listed in episodes_of(Path(run.path) / "episodes").values()
        for each in listed
    ]
    if not episodes:
        raise BadInput(
            "no episodes in this run", where=info.path, mend="name an eval, or an improvement"
        )
    pairs = pairs_of(episodes, load_trajectories(data).trajectories if data else ())
    if not pairs:
        raise BadInput(
            "no world has both a verified and a failed session that differ in a command",
            where=info.path,
            mend="name recorded sessions of these worlds with --data, or sample more",
        )
    path = target.expanduser().absolute()
    write_pairs(path, pairs)
    if as_json:
        found = {"run": info.id, "pairs": len(pairs), "by_archetype": dict(counts(pairs))}
        print_json(found | {"file": str(path)})
    else:
        print_text(f"{len(pairs)} pairs of {len(episodes)} sessions -> {path}")
    return 0
