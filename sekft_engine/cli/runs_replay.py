"""``sekft runs replay`` and ``diff``: what an episode did, and what it left in its world."""

from __future__ import annotations

from pathlib import Path

import click

from sekft_engine.cli.options import json_option, print_json, workspace_option
from sekft_engine.cli.runs_shared import runs_root, tell
from sekft_engine.errors import BadInput
from sekft_engine.runs import find_run


@click.command("replay")
@click.argument("identity", metavar="ID")
@click.argument("episode")
@click.option("--beside", metavar="SUBJECT", help="Another subject in the same world.")
@json_option
@workspace_option
def replay(
    identity: str, episode: str, beside: str | None, as_json: bool, workspace: Path | None
) -> int:
    """Show an EPISODE of an eval as a transcript, with its verdict and what the checker said.

    EPISODE is its id, as --json shows it, or a part that no other has. --beside shows where the
    episode of another subject in the same world parts from it. Turns are counted from 1, as
    `sekft takeover --turn` takes them; in --json, part_turn is that number.
    """
    from sekft_engine.cli import transcript
    from sekft_engine.evaluate.store import find_episode, read_episode

    info = find_run(runs_root(workspace, identity), identity)
    shown = [read_episode(find_episode(Path(info.path) / "episodes", episode))]
    part_at = None
    if beside:
        shown.append(transcript.beside(info, shown[0], beside))
        part_at = transcript.parting_of(*shown)
    if as_json:
        part_turn = part_at + 1 if part_at is not None else None
        told = {"part_at": part_at, "part_turn": part_turn}
        print_json(told | {"episodes": [transcript.facts(one) for one in shown]})
    else:
        transcript.tell_episodes(shown, part_at)
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
    from sekft_engine.evaluate.reference import state_difference
    from sekft_engine.evaluate.store import find_episode, read_episode

    info = find_run(runs_root(workspace, identity), identity)
    trajectory = read_episode(find_episode(Path(info.path) / "episodes", episode)).trajectory
    difference = state_difference(info, trajectory)
    if as_json:
        named = {"episode": trajectory.id, "scenario": trajectory.scenario}
        print_json(named | difference.to_json())
    elif difference.unknown:
        raise BadInput(f"no difference can be told: {difference.unknown}", where=trajectory.id)
    else:
        for line in difference.told():
            tell(line)
    return 2 if difference.unknown else 0
