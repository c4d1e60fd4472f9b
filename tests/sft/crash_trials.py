"""``python -m tests.sft.crash_trials``: hit training runs at random and count what was lost.

In each trial a run is killed, signalled, refused by the disk or given a clock that jumps, up to
three times at random moments. It is resumed each time, and compared with a run that was left alone:
adapter, optimiser, random generators and journal must be the same to the bit.
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
from tests.sft import crash
from tests.sft.sessions import write_sessions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", choices=crash.FAULTS, action="append")
    parser.add_argument("--base", type=Path, help="a small base [default: a tiny one, made here]")
    parser.add_argument("--folder", type=Path, help="where to work [default: a temporary folder]")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        place = Path(folder)
        base = options.base or make_tiny_base(place / "base", smollm2_folder())
        report = trials(place, base, options.fault or crash.FAULTS, options.trials, options.seed)
    if options.json:
        print(json.dumps(report))
    else:
        print(
            f"{report['trials']} trials, {report['hits']} hits "
            f"({', '.join(f'{name} {count}' for name, count in report['by_fault'].items())}): "
            f"{report['equal']} ended in the same bits, in {report['seconds']:.0f} s"
        )
    sys.exit(report["equal"] != report["trials"])


def trials(
    place: Path, base: Path, faults: tuple[crash.Fault, ...], count: int, seed: int
) -> dict[str, Any]:
    """Do ``count`` trials, the faults in turn."""
    import torch

    torch.set_num_threads(1)  # threads do not survive a fork
    import peft  # noqa: F401
    import transformers  # noqa: F401

    data = write_sessions(place / "data", 16)
    began = time.monotonic()
    crash.finish(base, data, place / "whole")
    expected = crash.outcome(place / "whole")
    # The second one knows how long a run takes once everything has been read from the disk.
    second = time.monotonic()
    crash.finish(base, data, place / "again")
    longest = time.monotonic() - second
    if crash.outcome(place / "again") != expected:
        raise SystemExit("two runs that were left alone differ")
    hits: Counter[str] = Counter()
    equal = 0
    for number in range(count):
        fault = faults[number % len(faults)]
        run = place / f"run-{number}"
        hits[fault] += crash.trial(base, data, run, fault, seed + number, longest)
        same = crash.outcome(run) == expected
        equal += same
        if same:
            shutil.rmtree(run)
        else:
            print(f"trial {number} ({fault}) ended otherwise: {run}", file=sys.stderr)
    return {
        "trials": count,
        "hits": sum(hits.values()),
        "by_fault": dict(hits),
        "equal": equal,
        "seconds": round(time.monotonic() - began, 1),
    }


if __name__ == "__main__":
    main()
