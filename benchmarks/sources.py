"""Index a large .jsonl of trajectories, against reading it the usual ways, in the same run.

    python benchmarks/sources.py [--lines 200000] [--short] [--table] [--json]

Each way runs in a process of its own on the same generated file (removed afterwards): ``index``
opens and indexes it; ``again`` opens it a second time; ``search`` looks through all of it for what
is not there; ``json`` is ``json.loads`` of each line into a list; ``datasets`` is
``datasets.load_dataset("json")``. ``read`` reads each trajectory strictly, one after another, as
training does, and ``msgspec`` is ``msgspec.json.decode`` of each line into a list. Memory is what
the process grew by at its peak. ``--short`` takes sessions of two commands.

``--table`` compares the saved index with an sqlite3 table of the same columns instead, see
:mod:`benchmarks.shared.session_tables`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.shared.report import arguments, run_main, tell
from benchmarks.shared.session_tables import compare, show

_OUTPUT = (
    "total 48\n",
    "drwxr-xr-x  2 root root  4096 Jan  1 00:00 .\n",
    "-rw-r--r--  1 root root   812 Jan  1 00:00 notes.txt\n",
    "quill: unknown topic, try 'quill --help'\n",
    "\x1b[1mUSAGE\x1b[0m\n  quill count FILE\n",
    "café: 3 entrées\n",
)
_COMMANDS = ("ls -la", "quill --help", "cat notes.txt", "quill count notes.txt > out", "exit")


def generate(file: Path, lines: int, commands: int = 8) -> None:
    """Sessions of eight commands, about 3 KB each, or of fewer."""
    chance = random.Random(5)
    turns = []
    for _ in range(500):
        session = []
        for _ in range(commands):
            shown = "".join(chance.choices(_OUTPUT, k=commands - 1)) + "$ "
            session.append({"role": "user", "content": shown})
            session.append({"role": "assistant", "content": chance.choice(_COMMANDS)})
        turns.append(json.dumps(session))
    with file.open("w", encoding="utf-8") as out:
        for n in range(lines):
            out.write(
                f'{{"id": "count-{n:07}", "scenario": "s{n // 8:06}", "archetype": "count", '
                f'"provider": "quill", "announcement": "motd", "turns": {turns[n % 500]}, '
                f'"steps": {commands}, "outcome": "exit", "verified": true, "keep": true, '
                '"meta": {"clean": true, "seconds": 1.5}}\n'
            )


def index(file: Path) -> dict[str, Any]:
    from sekft_engine.sources import open_index

    begun = time.perf_counter()
    found = open_index(file)
    opened = time.perf_counter() - begun
    first = None
    while found.advance(0.05):
        first = first or time.perf_counter() - begun
    return {"rows": len(found), "open_s": opened, "bytes_per_row": found.nbytes / len(found)}


def search(file: Path) -> dict[str, Any]:
    from sekft_engine.sources import open_index

    found = open_index(file).read_all()
    begun = time.perf_counter()
    hits = list(found.search("nowhere to be found"))
    return {"rows": len(found), "hits": len(hits), "seconds": time.perf_counter() - begun}


def plain(file: Path) -> dict[str, Any]:
    with file.open("rb") as lines:
        rows = [json.loads(line) for line in lines]
    return {"rows": len(rows)}


def read(file: Path) -> dict[str, Any]:
    from sekft_engine.sources.read.source import DataSource
    from sekft_engine.sources.read.trajectories import Counting, Reading

    counting = Counting(Reading(DataSource(file), keep_only=True))
    return {"rows": sum(1 for _ in counting), "dropped": counting.dropped.total()}


def decode(file: Path) -> dict[str, Any]:
    import msgspec

    with file.open("rb") as lines:
        rows = [msgspec.json.decode(line) for line in lines]
    return {"rows": len(rows)}


def library(file: Path) -> dict[str, Any]:
    import datasets

    datasets.disable_progress_bars()
    cache = file.parent / "cache"
    rows = datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=str(cache))
    return {"rows": len(rows)}


WAYS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "index": index,
    "again": index,
    "search": search,
    "json": plain,
    "datasets": library,
    "read": read,
    "msgspec": decode,
}


def measure(way: str, file: Path) -> dict[str, Any]:
    """Seconds and memory of one way, in this process."""
    if way == "datasets":
        import datasets  # noqa: F401 - what is imported is not what is measured
    else:
        import sekft_engine.sources  # noqa: F401
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    told = WAYS[way](file)
    seconds = told.pop("seconds", time.perf_counter() - begun)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return told | {"seconds": seconds, "peak_mb": grown / 1024}


def run(lines: int, commands: int = 8) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="sekft-sources-"))
    try:
        file = folder / "big.jsonl"
        generate(file, lines, commands)
        old = time.time() - 3600  # nobody is writing it any more
        os.utime(file, (old, old))
        size = file.stat().st_size
        env = os.environ | {"SEKFT_CACHE": str(folder / "sekft"), "HF_HUB_OFFLINE": "1"}
        ways: dict[str, Any] = {}
        for way in WAYS:
            command = [sys.executable, __file__, "--way", way, "--file", str(file)]
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
            if done.returncode:
                ways[way] = {"error": done.stderr.strip().splitlines()[-1]}
                continue
            ways[way] = json.loads(done.stdout)
            ways[way]["mb_per_s"] = size / 1e6 / ways[way]["seconds"]
    finally:
        shutil.rmtree(folder)
    found: dict[str, Any] = {"lines": lines, "bytes": size, "ways": ways}
    for peer in ("json", "datasets"):
        if "error" not in ways[peer]:
            found[f"ratio_{peer}"] = ways[peer]["seconds"] / ways["index"]["seconds"]
            found[f"ratio_{peer}_again"] = ways[peer]["seconds"] / ways["again"]["seconds"]
            found[f"memory_{peer}"] = ways[peer]["peak_mb"] / max(1.0, ways["index"]["peak_mb"])
    for peer in ("msgspec", "datasets"):
        if "error" not in ways[peer]:
            found[f"ratio_read_{peer}"] = ways[peer]["seconds"] / ways["read"]["seconds"]
            found[f"memory_read_{peer}"] = ways[peer]["peak_mb"] / max(1.0, ways["read"]["peak_mb"])
    return found


def table(found: dict[str, Any]) -> str:
    out = [
        f"{found['lines']:,} trajectories, {found['bytes'] / 1e6:,.0f} MB",
        f"{'':10}{'seconds':>9}{'MB/s':>9}{'peak MB':>9}{'B/row':>8}",
    ]
    for way, told in found["ways"].items():
        if "error" in told:
            out.append(f"{way:10} {told['error']}")
            continue
        per_row = f"{told['bytes_per_row']:.0f}" if "bytes_per_row" in told else ""
        speed = f"{told['seconds']:>9.2f}{told['mb_per_s']:>9.0f}"
        out.append(f"{way:10}{speed}{told['peak_mb']:>9.0f}{per_row:>8}")
    out += [
        f"against {peer}: {found[f'ratio_{peer}']:.2f}x as fast, the second time "
        f"{found[f'ratio_{peer}_again']:.0f}x; 1/{found[f'memory_{peer}']:.0f} of its memory"
        for peer in ("json", "datasets")
        if f"ratio_{peer}" in found
    ]
    out += [
        f"reading strictly against {peer}: {found[f'ratio_read_{peer}']:.2f}x as fast; "
        f"1/{found[f'memory_read_{peer}']:.0f} of its memory"
        for peer in ("msgspec", "datasets")
        if f"ratio_read_{peer}" in found
    ]
    return "\n".join(out)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--short", action="store_true", help="sessions of two commands")
    parser.add_argument("--table", action="store_true", help="compare with an sqlite3 table")
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measure(options.way, options.file)))
        return
    if options.table:
        tell(compare(options.lines, generate), show, as_json=options.json)
        return
    commands = 2 if options.short else 8
    tell(run(options.lines, commands), lambda found: print(table(found)), as_json=options.json)


if __name__ == "__main__":
    run_main(main)
