"""``python -m tests.training.crash_trials``: hit training runs at random and count what was lost.

In each trial a run is killed, signalled, refused by the disk, asked by someone who never listens,
or given a clock that jumps, up to three times at random moments. It is resumed each time, and
compared with a run that was left alone: adapter, optimiser, random generators, order of the data
and journal must be the same to the bit. That run had the machine to itself; the trials share it
with ``--busy`` processes, and all compute in several threads. Trial n is the same whichever trials
are run before it, so that a hundred can be done in pieces: ``--within 120`` begins no more after so
many seconds, and ``--seed`` names the first one of the next piece.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.models import make_tiny_base, smollm2_folder
from tests.training import crash
from tests.training.sessions import write_sessions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--within", type=float, default=float("inf"), help="seconds")
    parser.add_argument("--fault", choices=crash.FAULTS, action="append")
    parser.add_argument("--busy", type=int, default=3, help="processes that compute beside it")
    parser.add_argument("--base", type=Path, help="a small base [default: a tiny one, made here]")
    parser.add_argument("--folder", type=Path, help="where to work [default: a temporary folder]")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    faults = tuple(options.fault or crash.FAULTS)
    _start_no_threads()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        place = Path(folder)
        base = options.base or make_tiny_base(place / "base", smollm2_folder())
        report = trials(
            place, base, faults, options.trials, options.seed, options.within, options.busy
        )
    if options.json:
        print(json.dumps(report))
    else:
        print(
            "\n".join(
                f"{name:16}{one['trials']:4} trials {one['hits']:4} hits {one['equal']:4} equal"
                for name, one in report["by_fault"].items()
            )
        )
        print(
            f"{report['trials']} trials, {report['hits']} hits: "
            f"{report['equal']} ended in the same bits, in {report['seconds']:.0f} s"
        )
    sys.exit(report["equal"] != report["trials"])


def _start_no_threads() -> None:
    """Threads do not survive a fork, so this process has none and each child starts its own."""
    import torch

    torch.set_num_threads(1)


def trials(
    place: Path,
    base: Path,
    faults: tuple[crash.Fault, ...],
    count: int,
    seed: int,
    within: float,
    busy: int,
) -> dict[str, Any]:
    """Do ``count`` trials, or as many as begin ``within`` seconds, the faults in turn, beside
    ``busy`` processes."""
    import peft  # noqa: F401
    import transformers  # noqa: F401

    data = write_sessions(place / "data", 16)
    began = time.monotonic()
    crash.finish(base, data, place / "whole")
    expected = crash.outcome(place / "whole")
    with crash.busy_processes(busy):
        # The second one knows how long a run takes once everything has been read from the disk.
        second = time.monotonic()
        crash.finish(base, data, place / "again")
        longest = time.monotonic() - second
        if crash.outcome(place / "again") != expected:
            raise SystemExit("two runs that were left alone differ")
        if "full disk" in faults and not crash.can_fill_disks():
            print("full disk is left out: this user may not mount one", file=sys.stderr)
            faults = tuple(fault for fault in faults if fault != "full disk")
        found = {fault: Counter(trials=0, hits=0, equal=0) for fault in faults}
        for number in range(seed, seed + count):
            if time.monotonic() - began > within:
                break
            fault = faults[number % len(faults)]
            run = place / f"run-{number}"
            hits = crash.trial(base, data, run, fault, number, longest)
            same = crash.outcome(run) == expected
            found[fault].update(trials=1, hits=hits, equal=int(same))
            if same:
                shutil.rmtree(run)
            else:
                print(f"trial {number} ({fault}) ended otherwise: {run}", file=sys.stderr)
    total = sum(found.values(), Counter())
    return {
        "trials": total["trials"],
        "hits": total["hits"],
        "equal": total["equal"],
        "by_fault": {fault: dict(counts) for fault, counts in found.items() if counts["trials"]},
        "seconds": round(time.monotonic() - began, 1),
    }


if __name__ == "__main__":
    main()
