"""Work whose directive names the program to run."""

from __future__ import annotations

import base64

from sekft_engine.factory.job import Desk, Job, content, holds


def run(desk: Desk) -> Job:
    source, target = desk.path(), desk.target()
    rows = desk.text(3, 5)
    program, wanted = desk.rng.choice(
        [
            ("tac", rows[::-1]),
            ("nl", tuple(f"{number:6}\t{row}" for number, row in enumerate(rows, 1))),
            ("base64", (base64.b64encode(content(rows).encode()).decode(),)),
            ("fmt", (" ".join(rows),)),
            ("paste -s", ("\t".join(rows),)),
            ("sort", tuple(sorted(rows))),
            ("uniq", rows),
        ]
    )
    text = desk.pick(
        (
            f"Run {program} on {source} and keep the output in {target}",
            f"Send {source} through {program} into {target}",
            f"Use {program} on {source}, its output belongs into {target}",
            f"Save what {program} makes of {source} as {target}",
            f"Write the {program} output for {source} to {target}",
        )
    )
    return Job(
        text=text,
        look=source,
        acts=(f"{program} {source} > {target}",),
        files={source: content(rows)},
        checks=(holds(target, wanted), holds(source, rows)),
        made=(target,),
    )
