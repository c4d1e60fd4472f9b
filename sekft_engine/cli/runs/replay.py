"""``sekft runs replay`` and ``diff``: what an episode did, and what it left in its world."""

from __future__ import annotations

from pathlib import Path

import click

from sekft_engine.cli.options import json_option, workspace_option
from sekft_engine.cli.runs.shared import print_text, runs_root
from sekft_engine.cli.show.document import print_json
from sekft_engine.core.errors import BadInput
from sekft_engine.records.runs import find_run


@click.command("replay")
@click.argument("identity", metavar="ID")
@click.argument("episode")
@click.option("--beside", metavar="MODEL", help="Compare with this model in the same world.")
@json_option
@workspace_option
def replay(
    identity: str, episode: str, beside: str | None, as_json: bool, workspace: Path | None
) -> int:
    """Show an EPISODE of an eval as a transcript, with its verdict and what the checker said.

    EPISODE is an id, as --json shows it, or a part of one that is unique. --beside shows where the
    episode of another model in the same world diverges from it. Turns are counted from 1, as
    `sekft takeover --turn` takes them; in --json, part_turn is that number.
    """
    from sekft_engine.cli.show import transcript
    from sekft_engine.episodes.store import find_episode, read_episode

    info = find_run(runs_root(workspace, identity), identity)
    shown = [read_episode(find_episode(Path(info.path) / "episodes", episode))]
    part_at = None
    if beside:
        shown.append(transcript.beside(info, shown[0], beside))
        part_at = transcript.parting_of(*shown)
    if as_json:
        part_turn = part_at + 1 if part_at is not None else None
        parting = {"part_at": part_at, "part_turn": part_turn}
        print_json(parting | {"episodes": [transcript.facts(episode) for episode in shown]})
    else:
        transcript.print_episodes(shown, part_at)
    return 0


@click.command("diff")
@click.argument("identity", metavar="ID")
@click.argument("episode")
@json_option
@workspace_option
def diff(identity: str, episode: str, as_json: bool, workspace: Path | None) -> int:
    """Show how the world that an EPISODE left differs from what the reference solution leaves.

    + stands only in the episode's world, - only in the reference's, ~ differs. The reference
    solution is typed into a world of its own the first time, and what it left is kept with the run.
    """
    from sekft_engine.episodes.reference import state_difference
    from sekft_engine.episodes.store import find_episode, read_episode

    info = find_run(runs_root(workspace, identity), identity)
    trajectory = read_episode(find_episode(Path(info.path) / "episodes", episode)).trajectory
    difference = state_difference(info, trajectory)
    if as_json:
        named = {"episode": trajectory.id, "scenario": trajectory.scenario}
        print_json(named | difference.to_json())
    elif difference.unknown:
        raise BadInput(f"no difference can be told: {difference.unknown}", where=trajectory.id)
    else:
        for line in difference.lines():
            print_text(line)
    return 2 if difference.unknown else 0
