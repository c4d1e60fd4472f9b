"""What a world costs beside the least that a sandbox and a shell cost on this machine.

start: :func:`open_world` up to the first prompt, against one bare ``bwrap`` with the same
    namespaces, up to the first word of its shell. A world is two of these, one in the other, since
    session and checker must not see each other's files.
builtin, program: a command turn (`echo x`, `ls`), against the same line typed at a bare shell on a
    pseudo-terminal, outside any sandbox, up to its next prompt.
end: :meth:`World.close`, against SIGKILL to a bare bwrap until it is gone.
verdict: :meth:`World.check`, a fresh sandbox in the world; there is nothing bare beside it.

World and floor are measured in turns, so that a busy machine slows both.
"""

from __future__ import annotations

import os
import pty
import statistics
import subprocess
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.shared.given import held_out
from benchmarks.shared.report import arguments, run_main, tell
from sekft_engine.data.scenario import Scenario
from sekft_engine.worlds import open_world
from sekft_engine.worlds.bubblewrap.launcher import find_bubblewrap

Times = dict[str, list[float]]
COMMANDS = {"builtin": "echo x", "program": "ls"}
#: Commands of each kind in one world: the first has to wake everything up.
_EACH = 5
_PROMPT = b"ready$"
_BARE = (
    *("--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr"),
    *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
    *("--symlink", "usr/bin", "/bin", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),
    *("--", "/bin/sh", "-c", "echo up; exec sleep 600"),
)


def timed(times: Times, what: str, do: Callable[[], Any]) -> Any:
    """Run ``do`` and note its milliseconds under ``what``."""
    began = time.perf_counter()
    result = do()
    times.setdefault(what, []).append(1000 * (time.perf_counter() - began))
    return result


def world(scenario: Scenario, times: Times) -> None:
    """One world from start to end."""
    here = timed(times, "start", lambda: open_world(scenario))
    try:
        for what, command in _EACH * [*COMMANDS.items()]:
            timed(times, what, partial(here.run, command))
        timed(times, "verdict", here.check)
    finally:
        timed(times, "end", here.close)


def bare_sandbox(bwrap: str, times: Times) -> None:
    """One bwrap from its start to its end."""

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen([bwrap, *_BARE], stdout=subprocess.PIPE)
        if process.stdout is None or process.stdout.readline() != b"up\n":
            raise RuntimeError("the bare sandbox said nothing")
        return process

    def end(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.communicate()

    process = timed(times, "start", start)
    timed(times, "end", lambda: end(process))


def bare_shell(times: Times) -> None:
    """The same commands at a shell on a pseudo-terminal."""
    master, slave = pty.openpty()
    shell = subprocess.Popen(
        ["/bin/sh", "-i"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={"PATH": "/usr/bin:/bin", "PS1": _PROMPT.decode()},
        start_new_session=True,
    )
    os.close(slave)

    def type_line(line: str) -> None:
        os.write(master, line.encode() + b"\n")
        wait_for_prompt()

    def wait_for_prompt() -> None:
        heard = b""
        while not heard.endswith(_PROMPT):
            heard += os.read(master, 65536)

    try:
        wait_for_prompt()
        for what, command in _EACH * [*COMMANDS.items()]:
            timed(times, what, partial(type_line, command))
    finally:
        shell.kill()
        shell.wait()
        os.close(master)


def measure(n: int) -> dict[str, Any]:
    """Medians in milliseconds, and their ratios."""
    scenarios = held_out(8)
    bwrap = find_bubblewrap().path
    world(scenarios[0], {})  # what is found out once is found out now
    worlds: Times = {}
    floors: Times = {}
    for number in range(n):
        world(scenarios[number % len(scenarios)], worlds)
        bare_sandbox(bwrap, floors)
        bare_shell(floors)
    ours = {what: round(statistics.median(times), 2) for what, times in worlds.items()}
    floor = {what: round(statistics.median(times), 2) for what, times in floors.items()}
    ratios = {f"ratio_{what}": round(ours[what] / floor[what], 2) for what in floor}
    return {"n": n, "world_ms": ours, "floor_ms": floor, **ratios}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--n", type=int, default=40, help="worlds")
    options = parser.parse_args()
    tell(measure(options.n), show, as_json=options.json)


def show(result: dict[str, Any]) -> None:
    print(f"medians of {result['n']} worlds, in milliseconds")
    print(f"{'':10}{'world':>9}{'floor':>9}{'ratio':>8}")
    for what in ("start", *COMMANDS, "verdict", "end"):
        floor, ratio = result["floor_ms"].get(what, ""), result.get(f"ratio_{what}", "")
        print(f"{what:10}{result['world_ms'][what]:>9.2f}{floor:>9}{ratio:>8}")


if __name__ == "__main__":
    run_main(main)
